-- name: messages_of(controller_id, stream, campaign, after, n)
-- Rehearsed messages of a campaign, oldest first.
SELECT message_id, accepted_at, kind, size FROM messages
WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign AND message_id > :after
  AND mode = 'rehearse'
ORDER BY message_id LIMIT :n;

-- name: copies_of(controller_id, message_id)
SELECT copy_no, recipient_key, rcpt, verdict, reason_code FROM copies
WHERE controller_id = :controller_id AND message_id = :message_id AND state = 'rehearsed' ORDER BY copy_no;

-- name: release_copy(controller_id, message_id, copy_no, state, verdict, reason_code, cite, as_of, basis, packs, trace, due_at, ended_at)^
-- A put-by copy goes to the queue, or is kept out.
UPDATE copies SET state = :state, verdict = :verdict, reason_code = :reason_code, cite = :cite, as_of = :as_of,
  basis = :basis, packs = :packs, trace = :trace, due_at = :due_at, ended_at = :ended_at,
  rcpt = CASE WHEN :state = 'queued' THEN rcpt END
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'rehearsed'
RETURNING route;

-- name: release_message(controller_id, message_id, mode, at)!
UPDATE messages SET mode = :mode, released_at = :at
WHERE controller_id = :controller_id AND message_id = :message_id AND mode = 'rehearse';
