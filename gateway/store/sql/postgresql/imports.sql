-- name: subjects_of_import(controller_id, mark)
SELECT DISTINCT subject FROM ledger
WHERE controller_id = :controller_id AND subject IN (KEYS) AND fields(public) ->> 'import' = :mark;
