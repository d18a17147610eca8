-- name: entries_about(controller_id, subject)
-- One person's entries whole, by the index ledger_subject. Texts as bytes, as they are hashed.
SELECT CAST(controller_id AS BLOB), entry_id, at, CAST(kind AS BLOB), subject, CAST(public AS BLOB), private,
  commitment, seq, previous, hash
FROM ledger WHERE controller_id = :controller_id AND subject = :subject ORDER BY entry_id;

-- name: wording_entries(controller_id, names)
-- Entries that say which wording a name stands for, by the index ledger_kept. names: a JSON list.
SELECT CAST(controller_id AS BLOB), entry_id, at, CAST(kind AS BLOB), subject, CAST(public AS BLOB), private,
  commitment, seq, previous, hash
FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'wording'
  AND json_valid(public) AND json_extract(public, '$.name') IN (SELECT value FROM json_each(:names))
ORDER BY entry_id;

-- name: passages_of(controller_id, recipient_key, after_id, after_no, n)
-- A person's copies in order, by the index copies_person.
SELECT c.message_id, c.copy_no, c.recipient_key, m.accepted_at, m.stream, m.campaign, m.mode, m.kind, m.subject,
  m.subject_key, m.size, m.digest, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of, c.basis, c.packs,
  c.trace, c.ended_at, c.reply
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.recipient_key = :recipient_key
  AND (c.message_id, c.copy_no) > (:after_id, :after_no)
ORDER BY c.message_id, c.copy_no LIMIT :n;

-- name: passages_in(controller_id, stream, campaign, after_id, after_no, n)
-- A campaign's copies in order, by the index messages_campaign. Ordered and cut off by m: by c, SQLite would sort all
-- copies of the campaign for each page. The plus keeps it from looking for copies of all later messages.
SELECT c.message_id, c.copy_no, c.recipient_key, m.accepted_at, m.stream, m.campaign, m.mode, m.kind, m.subject,
  m.subject_key, m.size, m.digest, c.state, c.verdict, c.reason_code, c.accept_code, c.cite, c.as_of, c.basis, c.packs,
  c.trace, c.ended_at, c.reply
FROM messages m INDEXED BY messages_campaign
CROSS JOIN copies c ON c.controller_id = m.controller_id AND c.message_id = +m.message_id
WHERE m.controller_id = :controller_id AND m.stream = :stream AND m.campaign = :campaign
  AND m.message_id >= :after_id AND (m.message_id > :after_id OR c.copy_no > :after_no)
ORDER BY m.message_id, c.copy_no LIMIT :n;
