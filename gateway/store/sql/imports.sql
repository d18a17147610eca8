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
