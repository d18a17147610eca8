-- name: hash_list_entries(controller_id, after, n)
SELECT entry_id, at, public FROM ledger
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'hash_list'
  AND entry_id > :after AND jsonb_typeof(fields(public)) = 'object'
ORDER BY entry_id LIMIT :n;

-- name: hashes_counted(controller_id)^
SELECT (SELECT count(*) FROM hash_suppressions WHERE controller_id = :controller_id), (
  SELECT coalesce(sum(jsonb_array_length(fields(public) -> 'keys')), 0) FROM ledger
  WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list')
    AND kind = 'hash_list' AND jsonb_typeof(fields(public) -> 'keys') = 'array'
);
