-- name: entries_of_many()
-- Entries about several people, by the index ledger_subject; whoever asks sorts them, since the database would sort them
-- with all they hold. WANTED stands for rows of number, controller and subject. INDEXED BY: for many rows the planner
-- would rather index the whole ledger anew.
WITH wanted (place, owner, wanted_subject) AS (VALUES WANTED)
SELECT place, entry_id, at, kind, public, private, commitment
FROM wanted CROSS JOIN ledger INDEXED BY ledger_subject ON controller_id = owner AND subject = wanted_subject;

-- name: decided(controller_id, message_id, copy_no)^
-- The decision on one copy.
SELECT c.message_id, c.copy_no, c.recipient_key, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of,
  c.basis, c.packs, c.trace, m.stream, m.campaign, m.mode, m.accepted_at, m.kind, m.subject, m.subject_key
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.message_id = :message_id AND c.copy_no = :copy_no;

-- name: decided_of_message(controller_id, message_id, after, n)
-- The decisions on a message's copies, a page of them.
SELECT c.message_id, c.copy_no, c.recipient_key, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of,
  c.basis, c.packs, c.trace, m.stream, m.campaign, m.mode, m.accepted_at, m.kind, m.subject, m.subject_key
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.message_id = :message_id AND c.copy_no > :after
ORDER BY c.copy_no LIMIT :n;

-- name: decided_about(controller_id, recipient_key, since_id, n)
-- The newest decisions about a person, by the index copies_person. since_id: ids of messages begin with their time.
SELECT c.message_id, c.copy_no, c.recipient_key, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of,
  c.basis, c.packs, c.trace, m.stream, m.campaign, m.mode, m.accepted_at, m.kind, m.subject, m.subject_key
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.recipient_key = :recipient_key AND c.message_id >= :since_id
ORDER BY c.message_id DESC, c.copy_no DESC LIMIT :n;

-- name: decided_after(controller_id, after_id, after_no, upto, n)
-- A controller's decisions in the order of the primary key, a page of them.
SELECT c.message_id, c.copy_no, c.recipient_key, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of,
  c.basis, c.packs, c.trace, m.stream, m.campaign, m.mode, m.accepted_at, m.kind, m.subject, m.subject_key
FROM copies c CROSS JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND (c.message_id, c.copy_no) > (:after_id, :after_no) AND c.message_id < :upto
ORDER BY c.message_id, c.copy_no LIMIT :n;
