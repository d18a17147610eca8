-- name: keep(name, sealed, fetched, ends)!
INSERT INTO sts_policies (name, sealed, fetched_at, ends_at) VALUES (:name, :sealed, :fetched, :ends)
ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, fetched_at = excluded.fetched_at, ends_at = excluded.ends_at;

-- name: recall(name, now)^
SELECT sealed, fetched_at, ends_at FROM sts_policies WHERE name = :name AND ends_at > :now;

-- name: forget_ended(now)!
DELETE FROM sts_policies WHERE ends_at <= :now;

-- name: forget_oldest(newer)!
-- Those that were fetched before one than which so many are newer.
DELETE FROM sts_policies
WHERE fetched_at < (SELECT fetched_at FROM sts_policies ORDER BY fetched_at DESC LIMIT 1 OFFSET :newer);
