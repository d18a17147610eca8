-- name: standing(controller_id, recipient_key)^
-- The projection of one person.
SELECT version, facts FROM standing WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: put_standing(controller_id, recipient_key, facts)!
-- A new or next version of the projection.
INSERT INTO standing (controller_id, recipient_key, version, facts) VALUES (:controller_id, :recipient_key, 1, :facts)
ON CONFLICT (controller_id, recipient_key) DO UPDATE SET version = standing.version + 1, facts = excluded.facts;

-- name: suppressions(controller_id, recipient_key)
-- All suppressions of one person in one scope of keys, lifted ones included.
SELECT suppression_id, scope, purpose, reason, source, at, lifted_at, lifted_for FROM suppressions
WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: add_suppression(controller_id, recipient_key, suppression_id, scope, purpose, reason, source, at, lifted_at)!
INSERT INTO suppressions (controller_id, recipient_key, suppression_id, scope, purpose, reason, source, at, lifted_at)
VALUES (:controller_id, :recipient_key, :suppression_id, :scope, :purpose, :reason, :source, :at, :lifted_at);

-- name: lift_suppression(controller_id, recipient_key, suppression_id, lifted_at)!
UPDATE suppressions SET lifted_at = :lifted_at
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND suppression_id = :suppression_id
  AND (lifted_at IS NULL OR lifted_at > :lifted_at);

-- name: lift_for(controller_id, recipient_key, suppression_id, lifted_for)!
-- Lifted for some purposes; for all others it stands.
UPDATE suppressions SET lifted_for = :lifted_for
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND suppression_id = :suppression_id;

-- name: list_suppressions(controller_id, after_key, after_id, n)
-- A page of one controller's suppressions, in key order.
SELECT recipient_key, suppression_id, scope, purpose, reason, source, at, lifted_at, lifted_for FROM suppressions
WHERE controller_id = :controller_id AND (recipient_key, suppression_id) > (:after_key, :after_id)
ORDER BY recipient_key, suppression_id LIMIT :n;

-- name: profile(controller_id, recipient_key)^
SELECT profile, first_seen FROM people WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: put_profile(controller_id, recipient_key, profile, first_seen)!
-- A new or next profile; when the person was first seen stays.
INSERT INTO people (controller_id, recipient_key, profile, first_seen)
VALUES (:controller_id, :recipient_key, :profile, :first_seen)
ON CONFLICT (controller_id, recipient_key) DO UPDATE SET profile = excluded.profile;

-- name: put_profiles()!
-- put_profile for many.
INSERT INTO people (controller_id, recipient_key, profile, first_seen) VALUES (?, ?, ?, ?)
ON CONFLICT (controller_id, recipient_key) DO UPDATE SET profile = excluded.profile;

-- name: put_standings()!
-- put_standing for many.
INSERT INTO standing (controller_id, recipient_key, version, facts) VALUES (?, ?, 1, ?)
ON CONFLICT (controller_id, recipient_key) DO UPDATE SET version = standing.version + 1, facts = excluded.facts;

-- name: add_entry(controller_id, entry_id, at, kind, subject, public, private, commitment)!
INSERT INTO ledger (controller_id, entry_id, at, kind, subject, public, private, commitment)
VALUES (:controller_id, :entry_id, :at, :kind, :subject, :public, :private, :commitment);

-- name: erased(controller_id, recipient_key)^
SELECT 1 FROM suppressions WHERE controller_id = :controller_id AND recipient_key = :recipient_key
  AND reason = 'erasure' AND lifted_at IS NULL AND lifted_for IS NULL LIMIT 1;

-- name: erased_of_many(controller_id)
-- The same of several people.
SELECT recipient_key FROM suppressions WHERE controller_id = :controller_id AND recipient_key IN (KEYS)
  AND reason = 'erasure' AND lifted_at IS NULL AND lifted_for IS NULL;

-- name: entries_of(controller_id, subject)
-- One person's entries in order of writing.
SELECT entry_id, at, kind, public, private, commitment FROM ledger
WHERE controller_id = :controller_id AND subject = :subject ORDER BY entry_id;

-- name: known_of_many()
-- What decisions read of several people: standings, who has a row, suppressions. WANTED stands for rows of controller
-- and recipient key. Joined, not IN: the planner reads whole tables for several INs beside each other.
WITH wanted (owner, wanted_key) AS (VALUES WANTED)
SELECT 'standing', recipient_key, version, facts, CAST(NULL AS INTEGER), NULL, NULL, NULL, NULL, NULL, NULL
FROM wanted CROSS JOIN standing ON controller_id = owner AND recipient_key = wanted_key
UNION ALL
SELECT 'profile', recipient_key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM wanted CROSS JOIN people ON controller_id = owner AND recipient_key = wanted_key
UNION ALL
SELECT 'suppression', recipient_key, at, NULL, lifted_at, scope, purpose, reason, controller_id, lifted_for, source
FROM wanted CROSS JOIN suppressions ON controller_id = owner AND recipient_key = wanted_key;

-- name: any_suppression(controller_id)^
SELECT 1 FROM suppressions WHERE controller_id = :controller_id LIMIT 1;

-- name: suppressions_of_many(controller_id)
-- All suppressions of several people; KEYS stands for as many places as there are keys.
SELECT recipient_key, suppression_id, scope, purpose, reason, source, at, lifted_at, lifted_for FROM suppressions
WHERE controller_id = :controller_id AND recipient_key IN (KEYS);

-- name: standings_of_many(controller_id)
SELECT recipient_key, facts FROM standing WHERE controller_id = :controller_id AND recipient_key IN (KEYS);

-- name: profiles_of_many(controller_id)
SELECT recipient_key, profile FROM people WHERE controller_id = :controller_id AND recipient_key IN (KEYS);

-- name: suppressions_between(controller_id, first, last, n)
-- The same for all keys between two; n bounds what is read for the sake of few.
SELECT recipient_key, suppression_id, scope, purpose, reason, source, at, lifted_at, lifted_for FROM suppressions
WHERE controller_id = :controller_id AND recipient_key BETWEEN :first AND :last LIMIT :n;

-- name: standings_between(controller_id, first, last, n)
SELECT recipient_key, facts FROM standing
WHERE controller_id = :controller_id AND recipient_key BETWEEN :first AND :last LIMIT :n;

-- name: profiles_between(controller_id, first, last, n)
SELECT recipient_key, profile FROM people
WHERE controller_id = :controller_id AND recipient_key BETWEEN :first AND :last LIMIT :n;
