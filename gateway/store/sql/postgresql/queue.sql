-- name: claim(route, turn, now, n, worker)
-- Those another node is taking just now are left to it.
WITH taken AS MATERIALIZED (
  SELECT c.controller_id, c.message_id, c.copy_no FROM copies c
  WHERE c.state = 'queued' AND c.route = :route AND c.turn = :turn AND c.due_at <= :now
  ORDER BY c.due_at LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE copies SET state = 'claimed', worker = :worker FROM taken
WHERE copies.controller_id = taken.controller_id AND copies.message_id = taken.message_id
  AND copies.copy_no = taken.copy_no
RETURNING due_at, copies.controller_id, copies.message_id, copies.copy_no, recipient_key, rcpt, attempts, verdict,
  reason_code, as_of, reply,
  (SELECT m.accepted_at FROM messages m
   WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id),
  (SELECT m.size FROM messages m WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: claim_overdue(route, now, n, worker)
WITH taken AS MATERIALIZED (
  SELECT c.controller_id, c.message_id, c.copy_no FROM copies c
  WHERE c.state = 'queued' AND c.route = :route AND c.alarm_at IS NOT NULL AND c.alarm_at <= :now
  ORDER BY c.alarm_at LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE copies SET state = 'claimed', worker = :worker FROM taken
WHERE copies.controller_id = taken.controller_id AND copies.message_id = taken.message_id
  AND copies.copy_no = taken.copy_no
RETURNING due_at, copies.controller_id, copies.message_id, copies.copy_no, recipient_key, rcpt, attempts, verdict,
  reason_code, as_of, reply,
  (SELECT m.accepted_at FROM messages m
   WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id),
  (SELECT m.size FROM messages m WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);
