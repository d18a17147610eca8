-- name: algorithms(controller_id)
-- The algorithms of a controller's lists of hashes; none where it has no list, and then nobody computes a hash.
SELECT algorithm FROM hash_algorithms WHERE controller_id = :controller_id;

-- name: add_algorithm(controller_id, algorithm)!
INSERT INTO hash_algorithms (controller_id, algorithm) VALUES (:controller_id, :algorithm)
ON CONFLICT (controller_id, algorithm) DO NOTHING;

-- name: add_hash(controller_id, hash_key, at)!
INSERT INTO hash_suppressions (controller_id, hash_key, at) VALUES (:controller_id, :hash_key, :at)
ON CONFLICT (controller_id, hash_key) DO NOTHING;

-- name: hashes_of_many(controller_id)
-- Of several hashes, those on the list. KEYS stands for as many places as there are.
SELECT hash_key, at FROM hash_suppressions WHERE controller_id = :controller_id AND hash_key IN (KEYS);
