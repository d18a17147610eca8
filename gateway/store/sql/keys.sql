-- name: person_key(controller_id, recipient_key)^
SELECT wrapped FROM person_keys WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: person_keys_of_many(controller_id)
-- KEYS stands for as many places as there are keys.
SELECT recipient_key, wrapped FROM person_keys WHERE controller_id = :controller_id AND recipient_key IN (KEYS);

-- name: person_keys_between(controller_id, first, last, n)
SELECT recipient_key, wrapped FROM person_keys
WHERE controller_id = :controller_id AND recipient_key BETWEEN :first AND :last LIMIT :n;

-- name: person_keys_after(controller_id, after, n)
-- Without those that stand in for lost ones, which are longer.
SELECT recipient_key FROM person_keys WHERE controller_id = :controller_id AND recipient_key > :after
  AND length(recipient_key) <= 16
ORDER BY recipient_key LIMIT :n;

-- name: other_key(controller_id, recipient_key)^
SELECT 1 FROM person_keys WHERE NOT (controller_id = :controller_id AND recipient_key = :recipient_key) LIMIT 1;

-- name: add_person_key(controller_id, recipient_key, wrapped)!
INSERT INTO person_keys (controller_id, recipient_key, wrapped) VALUES (:controller_id, :recipient_key, :wrapped)
ON CONFLICT (controller_id, recipient_key) DO NOTHING;

-- name: add_person_keys()!
INSERT INTO person_keys (controller_id, recipient_key, wrapped) VALUES (?, ?, ?);

-- name: drop_person_key(controller_id, recipient_key)!
DELETE FROM person_keys WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: spool_key(hour)^
SELECT wrapped FROM spool_keys WHERE hour = :hour;

-- name: add_spool_key(hour, wrapped)!
INSERT INTO spool_keys (hour, wrapped) VALUES (:hour, :wrapped) ON CONFLICT (hour) DO NOTHING;

-- name: spool_hours()
SELECT hour FROM spool_keys ORDER BY hour;

-- name: drop_spool_key(hour)!
DELETE FROM spool_keys WHERE hour = :hour;
