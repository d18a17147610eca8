-- name: algorithms(controller_id)
-- The algorithms of a controller's lists of hashes; none where it has no list, and then nobody computes a hash.
SELECT algorithm FROM hash_algorithms WHERE controller_id = :controller_id;

-- name: add_algorithm(controller_id, algorithm)!
INSERT INTO hash_algorithms (controller_id, algorithm) VALUES (:controller_id, :algorithm)
ON CONFLICT (controller_id, algorithm) DO NOTHING;

-- name: add_hash(controller_id, hash_key, at)!
-- One that is there counts from the earlier of the two instants.
INSERT INTO hash_suppressions (controller_id, hash_key, at) VALUES (:controller_id, :hash_key, :at)
ON CONFLICT (controller_id, hash_key) DO UPDATE SET at = min(hash_suppressions.at, excluded.at);

-- name: hashes_of_many(controller_id)
-- Of several hashes, those on the list. KEYS stands for as many places as there are.
SELECT hash_key, at FROM hash_suppressions WHERE controller_id = :controller_id AND hash_key IN (KEYS);

-- name: hash_list_entries(controller_id, after, n)
-- What was put on the list, by the index ledger_kept.
SELECT entry_id, at, public FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'hash_list'
  AND entry_id > :after AND json_valid(public) AND json_type(public) = 'object'
ORDER BY entry_id LIMIT :n;

-- name: hashes_counted(controller_id)^
-- How many hashes there are, and how many the entries name.
SELECT (SELECT COUNT(*) FROM hash_suppressions WHERE controller_id = :controller_id), (
  SELECT COALESCE(SUM(json_array_length(public, '$.keys')), 0) FROM ledger INDEXED BY ledger_kept
  WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list')
    AND kind = 'hash_list' AND json_valid(public)
);
