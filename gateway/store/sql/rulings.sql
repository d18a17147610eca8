-- name: last_ruling(controller_id)^
-- The newest entry about similar products: while it is the same, nothing was ruled.
SELECT entry_id FROM ledger INDEXED BY ledger_rulings
WHERE controller_id = :controller_id AND kind = 'ruling' ORDER BY entry_id DESC LIMIT 1;

-- name: rulings(controller_id)
-- All entries about similar products, in order of writing.
SELECT entry_id, at, public, private, commitment FROM ledger INDEXED BY ledger_rulings
WHERE controller_id = :controller_id AND kind = 'ruling' ORDER BY entry_id;

-- name: kept_out_as(controller_id, reason_code, since, look_at)
-- Of the last so many copies kept out, those with one reason: who, and what their message was about.
SELECT c.recipient_key, m.kind FROM (
  SELECT message_id, recipient_key, reason_code FROM copies
  WHERE controller_id = :controller_id AND verdict <> 'allow' AND as_of >= :since ORDER BY as_of DESC LIMIT :look_at
) c JOIN messages m ON m.controller_id = :controller_id AND m.message_id = c.message_id
WHERE c.reason_code = :reason_code;
