-- name: api_key(controller_id, key_id)^
SELECT key_id, name, digest, scopes, created_at, last_used_at, revoked_at FROM api_keys
WHERE controller_id = :controller_id AND key_id = :key_id;

-- name: api_keys(controller_id)
-- All keys of one controller, revoked ones included, oldest first.
SELECT key_id, name, digest, scopes, created_at, last_used_at, revoked_at FROM api_keys
WHERE controller_id = :controller_id ORDER BY created_at, key_id;

-- name: add_api_key(controller_id, key_id, name, digest, scopes, created_at)!
INSERT INTO api_keys (controller_id, key_id, name, digest, scopes, created_at)
VALUES (:controller_id, :key_id, :name, :digest, :scopes, :created_at);

-- name: revoke_api_key(controller_id, key_id, at)!
UPDATE api_keys SET revoked_at = :at
WHERE controller_id = :controller_id AND key_id = :key_id AND revoked_at IS NULL;

-- name: use_api_key(controller_id, key_id, at)!
UPDATE api_keys SET last_used_at = :at WHERE controller_id = :controller_id AND key_id = :key_id;
