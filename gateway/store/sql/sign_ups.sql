-- name: add_sign_up(controller_id, request_id, recipient_key, state, at, trace)!
INSERT INTO sign_ups (controller_id, request_id, recipient_key, state, at, trace)
VALUES (:controller_id, :request_id, :recipient_key, :state, :at, :trace);

-- name: sign_up(controller_id, request_id)^
SELECT recipient_key, state, at, trace FROM sign_ups WHERE controller_id = :controller_id AND request_id = :request_id;

-- name: confirm(controller_id, request_id)!
UPDATE sign_ups SET state = 'done'
WHERE controller_id = :controller_id AND request_id = :request_id AND state = 'asked';

-- name: expired(before, n)
-- Sign-ups that wait for longer than they may, by the index sign_ups_age.
SELECT controller_id, request_id, recipient_key FROM sign_ups WHERE state = 'asked' AND at < :before
ORDER BY at LIMIT :n;

-- name: drop(controller_id, request_id)!
DELETE FROM sign_ups WHERE controller_id = :controller_id AND request_id = :request_id;

-- name: all_of(controller_id, recipient_key)
SELECT request_id FROM sign_ups WHERE controller_id = :controller_id AND recipient_key = :recipient_key
ORDER BY request_id;

-- name: others_of(controller_id, recipient_key)^
SELECT 1 FROM sign_ups WHERE controller_id = :controller_id AND recipient_key = :recipient_key LIMIT 1;

-- name: old(before, n)
SELECT controller_id, request_id FROM sign_ups WHERE state = 'done' AND at < :before ORDER BY at LIMIT :n;

-- name: kinds_of(controller_id, subject)
-- What sort of entries there are about one person.
SELECT DISTINCT kind FROM ledger WHERE controller_id = :controller_id AND subject = :subject;

-- name: listed(controller_id, recipient_key)^
-- Whether the list has something of theirs, an erasure's own row aside.
SELECT 1 FROM suppressions
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND reason <> 'erasure' AND source <> '' LIMIT 1;

-- name: count(controller_id, name)^
SELECT ends_at, n FROM sign_up_counts WHERE controller_id = :controller_id AND name = :name;

-- name: put_count(controller_id, name, ends_at, n)!
INSERT INTO sign_up_counts (controller_id, name, ends_at, n) VALUES (:controller_id, :name, :ends_at, :n)
ON CONFLICT (controller_id, name) DO UPDATE SET ends_at = excluded.ends_at, n = excluded.n;

-- name: drop_count(controller_id, name)!
DELETE FROM sign_up_counts WHERE controller_id = :controller_id AND name = :name;

-- name: drop_counts(now)!
DELETE FROM sign_up_counts WHERE ends_at <= :now;

-- name: said(controller_id, name)^
SELECT digest, consent_id FROM said_once WHERE controller_id = :controller_id AND name = :name;

-- name: say(controller_id, name, digest, consent_id, at)!
INSERT INTO said_once (controller_id, name, digest, consent_id, at)
VALUES (:controller_id, :name, :digest, :consent_id, :at);

-- name: drop_said(before)!
DELETE FROM said_once WHERE at < :before;
