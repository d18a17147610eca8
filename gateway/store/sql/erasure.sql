-- name: copies_of(controller_id, recipient_key)
-- Every copy for a person that is not in somebody's hands just now, by the index copies_person.
SELECT c.message_id, c.copy_no, c.state, c.verdict, c.reason_code, m.stream, m.campaign, c.route
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.recipient_key = :recipient_key AND c.state <> 'claimed';

-- name: end_copy(controller_id, message_id, copy_no, reason_code, cite, at)!
-- A copy that waits will not leave.
UPDATE copies SET state = 'blocked', verdict = 'block', reason_code = :reason_code, cite = :cite, as_of = :at,
  basis = NULL, trace = 'C1', rcpt = NULL, due_at = NULL, worker = NULL, ended_at = :at
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no;

-- name: drop_copy(controller_id, message_id, copy_no)!
UPDATE copies SET state = 'dropped', rcpt = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no;

-- name: anonymise_copy(controller_id, message_id, copy_no, stranger)!
-- What became of the copy stays; whose it was does not (RULES.md 6.4, 7.2).
UPDATE copies SET recipient_key = :stranger, rcpt = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no;

-- name: drop_subject(controller_id, message_id, recipient_key)!
UPDATE messages SET subject = NULL, subject_key = NULL, digest = NULL, return_to = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND subject_key = :recipient_key;

-- name: drop_person(controller_id, recipient_key)!
DELETE FROM people WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: drop_sign_ups(controller_id, recipient_key)!
DELETE FROM sign_ups WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: drop_returns(controller_id, recipient_key)!
DELETE FROM returns WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: asked_since(controller_id, recipient_key, at)^
-- Whether somebody signed up anew and has not confirmed yet.
SELECT 1 FROM sign_ups
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND state = 'asked' AND at > :at LIMIT 1;

-- name: drop_standing(controller_id, recipient_key)!
DELETE FROM standing WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: drop_attachments(controller_id, recipient_key)!
DELETE FROM attachments WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: stand_whole(controller_id, recipient_key)!
-- Whoever is erased has taken back what they agreed to since: nothing on the list is lifted for some purposes any more.
UPDATE suppressions SET lifted_for = NULL
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND lifted_for IS NOT NULL;

-- name: strip_suppression(controller_id, recipient_key, suppression_id, stranger, day, lifted_day)!
-- Keyed hash, scope, date and reason stay; the id and the instants, which the ledger names, do not.
UPDATE suppressions SET suppression_id = :stranger, source = '', at = :day, lifted_at = :lifted_day
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND suppression_id = :suppression_id;

-- name: erasures(controller_id)
-- Erasures in the ledger, by the index ledger_erasures.
SELECT at, public FROM ledger INDEXED BY ledger_erasures
WHERE kind = 'erasure' AND controller_id = :controller_id ORDER BY entry_id;

-- name: tombstone(controller_id, recipient_key, suppression_id)^
SELECT CASE WHEN lifted_at IS NOT NULL OR lifted_for IS NOT NULL THEN 1 END FROM suppressions WHERE controller_id = :controller_id AND recipient_key = :recipient_key
  AND suppression_id = :suppression_id AND reason = 'erasure';
