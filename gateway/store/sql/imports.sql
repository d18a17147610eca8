-- name: put_import(controller_id, import_id, at, kind, form, digest, by, stated, counts, undone_at)!
-- A new import, or what became of one. What it counted is not forgotten by an undoing that began before it ended.
INSERT INTO imports (controller_id, import_id, at, kind, form, digest, by, stated, counts, undone_at)
VALUES (:controller_id, :import_id, :at, :kind, :form, :digest, :by, :stated, :counts, :undone_at)
ON CONFLICT (controller_id, import_id) DO UPDATE SET counts = COALESCE(excluded.counts, imports.counts), undone_at = excluded.undone_at;

-- name: imports(controller_id)
-- A controller's imports, oldest first.
SELECT import_id, at, kind, form, digest, by, stated, counts, undone_at FROM imports
WHERE controller_id = :controller_id ORDER BY import_id;

-- name: subjects_of_import(controller_id, mark)
-- Of several people, those with an entry that an import brought. KEYS stands for as many places as there are.
SELECT DISTINCT subject FROM ledger
WHERE controller_id = :controller_id AND subject IN (KEYS) AND json_extract(public, '$.import') = :mark;

-- name: roster(controller_id, after, n)
-- A page of a controller's people who have a row with an address, in key order.
SELECT recipient_key, profile FROM people WHERE controller_id = :controller_id AND recipient_key > :after
ORDER BY recipient_key LIMIT :n;

-- name: nameless(controller_id)^
-- How many people stand on the list of suppressions without a row that holds their address.
SELECT COUNT(DISTINCT recipient_key) FROM suppressions WHERE controller_id = :controller_id AND NOT EXISTS (
  SELECT 1 FROM people WHERE people.controller_id = :controller_id AND people.recipient_key = suppressions.recipient_key
);

-- name: drop_newcomer(controller_id, import_id, recipient_key)!
-- The row with address and name of somebody an import had made known, where nothing else is about them.
DELETE FROM people WHERE controller_id = :controller_id AND recipient_key = :recipient_key
  AND first_seen = (SELECT at FROM imports WHERE controller_id = :controller_id AND import_id = :import_id)
  AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.controller_id = :controller_id AND s.recipient_key = :recipient_key)
  AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.controller_id = :controller_id AND c.recipient_key = :recipient_key);
