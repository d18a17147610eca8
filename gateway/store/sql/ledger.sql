-- name: next_ledger(after)^
-- The next controller with entries; null where there is none.
SELECT min(controller_id) FROM ledger WHERE controller_id > :after;

-- name: unsealed(controller_id, after, n)
-- Entries behind the end of the chain that wait for their place.
SELECT CAST(controller_id AS BLOB), entry_id, at, CAST(kind AS BLOB), subject, CAST(public AS BLOB), private,
  commitment, seq, previous, hash
FROM ledger WHERE controller_id = :controller_id AND hash IS NULL AND entry_id > :after ORDER BY entry_id LIMIT :n;

-- name: seal_entry(controller_id, entry_id, seq, previous, hash)!
UPDATE ledger SET seq = :seq, previous = :previous, hash = :hash
WHERE controller_id = :controller_id AND entry_id = :entry_id;

-- name: add_entries()!
-- Many entries, with their places in the chain, or without (NULL).
INSERT INTO ledger (controller_id, entry_id, seq, at, kind, subject, public, private, commitment, previous, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: entries(controller_id, after, upto, n)
-- Entries in the order of their ids, sealed or not. Texts as bytes: what was tampered with need not be UTF-8.
SELECT CAST(controller_id AS BLOB), entry_id, at, CAST(kind AS BLOB), subject, CAST(public AS BLOB), private,
  commitment, seq, previous, hash
FROM ledger WHERE controller_id = :controller_id AND entry_id > :after AND entry_id <= :upto ORDER BY entry_id LIMIT :n;

-- name: behind(controller_id, after, n)
-- Ids behind the end of a chain, their instants, and whether they claim a place in it.
SELECT entry_id, at, hash IS NOT NULL FROM ledger WHERE controller_id = :controller_id AND entry_id > :after
ORDER BY entry_id LIMIT :n;

-- name: last_entry(controller_id)^
SELECT entry_id FROM ledger WHERE controller_id = :controller_id ORDER BY entry_id DESC LIMIT 1;

-- name: next_controller(after)^
SELECT min(controller_id) FROM (
  SELECT min(controller_id) AS controller_id FROM ledger WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM tails WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM heads WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM standing WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM suppressions WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM wordings WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM wording_names WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM sources WHERE controller_id > :after
  UNION ALL SELECT min(controller_id) FROM attachments WHERE controller_id > :after
) AS found;

-- name: knows_everywhere()^
-- Whether anything stands under the empty name.
SELECT EXISTS (SELECT 1 FROM ledger WHERE controller_id = '') OR EXISTS (SELECT 1 FROM tails WHERE controller_id = '')
  OR EXISTS (SELECT 1 FROM suppressions WHERE controller_id = '');

-- name: rests_on_ledger(controller_id)^
-- Whether rows are there that only the ledger can have brought.
SELECT EXISTS (SELECT 1 FROM standing WHERE controller_id = :controller_id)
  OR EXISTS (SELECT 1 FROM suppressions WHERE controller_id = :controller_id);

-- name: tail(controller_id)^
SELECT seq, entry_id, hash, mac FROM tails WHERE controller_id = :controller_id;

-- name: began(controller_id)^
SELECT 1 FROM ledger WHERE controller_id = :controller_id AND hash IS NOT NULL LIMIT 1;

-- name: put_tail(controller_id, seq, entry_id, hash, mac)!
INSERT INTO tails (controller_id, seq, entry_id, hash, mac) VALUES (:controller_id, :seq, :entry_id, :hash, :mac)
ON CONFLICT (controller_id) DO UPDATE SET seq = excluded.seq, entry_id = excluded.entry_id, hash = excluded.hash,
  mac = excluded.mac;

-- name: heads(controller_id)
SELECT seq, hash, at, public_key, signature FROM heads WHERE controller_id = :controller_id ORDER BY seq, at;

-- name: last_head(controller_id)^
SELECT seq, at FROM heads WHERE controller_id = :controller_id ORDER BY seq DESC LIMIT 1;

-- name: add_head(controller_id, seq, hash, at, public_key, signature)!
INSERT INTO heads (controller_id, seq, hash, at, public_key, signature)
VALUES (:controller_id, :seq, :hash, :at, :public_key, :signature)
ON CONFLICT (controller_id, seq) DO NOTHING;

-- name: remembered(name)^
SELECT value FROM meta WHERE name = :name;

-- name: remember(name, value)!
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
