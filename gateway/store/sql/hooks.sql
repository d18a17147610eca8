-- name: hook(name)^
SELECT controller_id, hook_id, provider, name, sealed, created_at, last_at, revoked_at FROM hooks WHERE name = :name;

-- name: hooks(controller_id)
-- All of one controller, revoked ones included, oldest first.
SELECT controller_id, hook_id, provider, name, sealed, created_at, last_at, revoked_at FROM hooks
WHERE controller_id = :controller_id ORDER BY created_at, hook_id;

-- name: add_hook(controller_id, hook_id, provider, name, sealed, created_at)!
INSERT INTO hooks (controller_id, hook_id, provider, name, sealed, created_at)
VALUES (:controller_id, :hook_id, :provider, :name, :sealed, :created_at);

-- name: revoke_hook(controller_id, hook_id, at)!
UPDATE hooks SET revoked_at = :at
WHERE controller_id = :controller_id AND hook_id = :hook_id AND revoked_at IS NULL;

-- name: use_hook(controller_id, hook_id, at)!
UPDATE hooks SET last_at = :at WHERE controller_id = :controller_id AND hook_id = :hook_id;

-- name: spend(controller_id, hook_id, name, digest, at)!
INSERT INTO hook_tokens (controller_id, hook_id, name, digest, at) VALUES (:controller_id, :hook_id, :name, :digest, :at)
ON CONFLICT DO NOTHING;

-- name: spent_on(controller_id, hook_id, name)^
SELECT digest FROM hook_tokens WHERE controller_id = :controller_id AND hook_id = :hook_id AND name = :name;

-- name: drop_tokens(before, n)!
-- By the index hook_tokens_age.
DELETE FROM hook_tokens WHERE (controller_id, hook_id, name) IN (
  SELECT controller_id, hook_id, name FROM hook_tokens WHERE at < :before LIMIT :n);
