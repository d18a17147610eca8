-- name: due(route, now, n)
-- Those another node is taking just now are left to it.
SELECT controller_id, message_id, copy_no FROM copies
WHERE state = 'queued' AND route = :route AND due_at <= :now ORDER BY due_at LIMIT :n FOR UPDATE SKIP LOCKED;
