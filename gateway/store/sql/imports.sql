-- name: put_import(controller_id, import_id, at, kind, form, digest, by, stated, counts, undone_at)!
-- A new import, or what became of one.
INSERT INTO imports (controller_id, import_id, at, kind, form, digest, by, stated, counts, undone_at)
VALUES (:controller_id, :import_id, :at, :kind, :form, :digest, :by, :stated, :counts, :undone_at)
ON CONFLICT (controller_id, import_id) DO UPDATE SET counts = excluded.counts, undone_at = excluded.undone_at;

-- name: imports(controller_id)
-- A controller's imports, oldest first.
SELECT import_id, at, kind, form, digest, by, stated, counts, undone_at FROM imports
WHERE controller_id = :controller_id ORDER BY import_id;

-- name: subjects_of_import(controller_id, mark)
-- Of several people, those with an entry that an import brought. SUBJECTS stands for as many places as there are.
SELECT DISTINCT subject FROM ledger
WHERE controller_id = :controller_id AND subject IN (SUBJECTS) AND json_extract(public, '$.import') = :mark;

-- name: roster(controller_id, after, n)
-- A page of a controller's people who have a row with an address, in key order.
SELECT recipient_key, profile FROM people WHERE controller_id = :controller_id AND recipient_key > :after
ORDER BY recipient_key LIMIT :n;

-- name: nameless(controller_id)^
-- How many people stand on the list of suppressions without a row that holds their address.
SELECT COUNT(DISTINCT recipient_key) FROM suppressions WHERE controller_id = :controller_id AND NOT EXISTS (
  SELECT 1 FROM people WHERE people.controller_id = :controller_id AND people.recipient_key = suppressions.recipient_key
);
