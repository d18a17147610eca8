-- name: held_mail(controller_id, n)
-- Messages that wait for an answer, the oldest first.
SELECT q.message_id, q.stream, q.skeleton, q.likeness, q.signs, q.expires_at, m.accepted_at, m.campaign, m.subject,
  m.subject_key, m.open
FROM questions q JOIN messages m ON m.controller_id = q.controller_id AND m.message_id = q.message_id
WHERE q.controller_id = :controller_id AND m.open > 0 ORDER BY q.message_id LIMIT :n;

-- name: expired_mail(now, n)
SELECT controller_id, message_id FROM questions INDEXED BY questions_expiry WHERE expires_at <= :now
ORDER BY expires_at LIMIT :n;

-- name: held_copies(controller_id, message_id)
SELECT copy_no, rcpt FROM copies
WHERE controller_id = :controller_id AND message_id = :message_id AND state = 'held' AND reply IS NULL ORDER BY copy_no;

-- name: answered(controller_id, message_id)!
DELETE FROM questions WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: let_go(controller_id, message_id, now)
UPDATE copies SET state = 'queued', due_at = :now
WHERE controller_id = :controller_id AND message_id = :message_id AND state = 'held' AND reply IS NULL
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: let_message_go(controller_id, message_id, now)!
UPDATE messages SET released_at = :now WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: end_held(controller_id, message_id, state, reply, now)
UPDATE copies SET state = :state, reply = :reply, ended_at = :now, rcpt = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND state = 'held' AND reply IS NULL
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: newest_answer()^
-- While it is the same, nobody has answered anything.
SELECT (
  SELECT entry_id FROM ledger INDEXED BY ledger_mail_rulings WHERE kind = 'mail_ruling' ORDER BY entry_id DESC LIMIT 1
);

-- name: mail_answers()
SELECT controller_id, entry_id, at, public FROM ledger INDEXED BY ledger_mail_rulings
WHERE kind = 'mail_ruling' ORDER BY controller_id, entry_id;

-- name: seen(controller_id, stream, skeleton, slot)^
SELECT people FROM seen_texts
WHERE controller_id = :controller_id AND stream = :stream AND skeleton = :skeleton AND slot = :slot;

-- name: put_seen(controller_id, stream, skeleton, slot, people)!
INSERT INTO seen_texts (controller_id, stream, skeleton, slot, people)
VALUES (:controller_id, :stream, :skeleton, :slot, :people)
ON CONFLICT (controller_id, stream, skeleton, slot) DO UPDATE SET people = excluded.people;

-- name: forget_seen(before)!
DELETE FROM seen_texts WHERE slot < :before;
