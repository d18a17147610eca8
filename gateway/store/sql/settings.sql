-- name: numbers()
SELECT controller_id, kind, name, number FROM numbers;

-- name: add_number(controller_id, kind, name)!
-- The next number; a number once given stays with its name for ever.
INSERT INTO numbers (controller_id, kind, name, number)
SELECT :controller_id, :kind, :name, coalesce(max(number), 0) + 1 FROM numbers
WHERE true
ON CONFLICT (controller_id, kind, name) DO NOTHING;

-- name: put_staff(name, password_hash, roles, controllers, changed_at)!
INSERT INTO staff (name, password_hash, roles, controllers, changed_at)
VALUES (:name, :password_hash, :roles, :controllers, :changed_at)
ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, roles = excluded.roles,
  controllers = excluded.controllers, changed_at = excluded.changed_at;

-- name: staff(name)^
SELECT name, password_hash, roles, controllers, signed_out_at FROM staff WHERE name = :name;

-- name: all_staff()
SELECT name, password_hash, roles, controllers, signed_out_at FROM staff ORDER BY name;

-- name: remove_staff(name)!
DELETE FROM staff WHERE name = :name;

-- name: sign_out(name, signed_out_at)!
-- Every session begun before is over, in every process.
UPDATE staff SET signed_out_at = :signed_out_at WHERE name = :name;
