-- name: add_message(controller_id, message_id, accepted_at, stream, campaign, mode, kind, size, digest, open, envelope, subject, subject_key, login, return_to)!
INSERT INTO messages (controller_id, message_id, accepted_at, stream, campaign, mode, kind, size, digest, open, envelope,
  subject, subject_key, login, return_to)
VALUES (:controller_id, :message_id, :accepted_at, :stream, :campaign, :mode, :kind, :size, :digest, :open, :envelope,
  :subject, :subject_key, :login, :return_to);

-- name: add_body(controller_id, message_id, hour, body)!
INSERT INTO bodies (controller_id, message_id, hour, body) VALUES (:controller_id, :message_id, :hour, :body);

-- name: add_long_body(controller_id, message_id, hour, pieces)!
-- See connection.Database.insert_long.
INSERT INTO bodies (controller_id, message_id, hour, body) VALUES (:controller_id, :message_id, :hour, :pieces);

-- name: add_copies(controller_id, message_id, copy_no, recipient_key, state, verdict, reason_code, cite, as_of, basis, packs, trace, rcpt, route, due_at, worker)*!
INSERT INTO copies (controller_id, message_id, copy_no, recipient_key, state, verdict, reason_code, accept_code, cite,
  as_of, basis, packs, trace, rcpt, route, due_at, worker)
VALUES (:controller_id, :message_id, :copy_no, :recipient_key, :state, :verdict, :reason_code, :reason_code, :cite,
  :as_of, :basis, :packs, :trace, :rcpt, :route, :due_at, :worker);

-- name: ask(controller_id, message_id, stream, skeleton, likeness, signs, expires_at)!
INSERT INTO questions (controller_id, message_id, stream, skeleton, likeness, signs, expires_at)
VALUES (:controller_id, :message_id, :stream, :skeleton, :likeness, :signs, :expires_at);

-- name: due(route, now, n)
-- The copies that wait longest, by the index copies_due.
SELECT controller_id, message_id, copy_no FROM copies
WHERE state = 'queued' AND route = :route AND due_at <= :now ORDER BY due_at LIMIT :n;

-- name: claim(controller_id, message_id, copy_no, worker)^
UPDATE copies SET state = 'claimed', worker = :worker
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'queued'
RETURNING recipient_key, rcpt, attempts, verdict, reason_code, basis;

-- name: set_aside(controller_id, message_id, copy_no)!
-- A copy that cannot be opened.
UPDATE copies SET state = 'held', worker = NULL, due_at = NULL, reply = 'cannot be opened'
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no;

-- name: next_due(route)^
-- When the next copy of a route is due; null when none waits.
SELECT min(due_at) FROM copies WHERE state = 'queued' AND route = :route;

-- name: digest(controller_id, message_id)^
SELECT digest FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: message(controller_id, message_id)^
SELECT accepted_at, stream, campaign, mode, kind, size, envelope, released_at FROM messages
WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: body(controller_id, message_id)^
SELECT hour, body FROM bodies WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: end_copy(controller_id, message_id, copy_no, state, verdict, reason_code, cite, as_of, basis, packs, trace, reply, ended_at, worker)!
-- A copy is final. Only who holds it may say so: a copy whose lease ran out belongs to another.
UPDATE copies SET state = :state, verdict = :verdict, reason_code = :reason_code, cite = :cite, as_of = :as_of,
  basis = :basis, packs = :packs, trace = :trace, reply = :reply, ended_at = :ended_at, attempts = attempts + 1,
  rcpt = CASE WHEN :state = 'captured' THEN rcpt END, worker = NULL, due_at = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'claimed'
  AND worker = :worker;

-- name: retry_copy(controller_id, message_id, copy_no, verdict, reason_code, cite, as_of, due_at, reply, worker)!
UPDATE copies SET state = 'queued', verdict = :verdict, reason_code = :reason_code, cite = :cite, as_of = :as_of,
  due_at = :due_at, reply = :reply, attempts = attempts + 1, worker = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'claimed'
  AND worker = :worker;

-- name: close_copies(controller_id, message_id, n)^
-- n copies of a message became final; how many are still open.
UPDATE messages SET open = open - :n WHERE controller_id = :controller_id AND message_id = :message_id
RETURNING open;

-- name: drop_body(controller_id, message_id)!
DELETE FROM bodies WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: drop_envelope(controller_id, message_id)!
UPDATE messages SET envelope = NULL WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: count(controller_id, stream, campaign, name, n)!
INSERT INTO tallies (controller_id, stream, campaign, name, n) VALUES (:controller_id, :stream, :campaign, :name, :n)
ON CONFLICT (controller_id, stream, campaign, name) DO UPDATE SET n = tallies.n + excluded.n;

-- name: renew(worker, lease_until)!
INSERT INTO workers (worker, lease_until) VALUES (:worker, :lease_until)
ON CONFLICT (worker) DO UPDATE SET lease_until = excluded.lease_until;

-- name: take_back(worker, now)!
-- What this worker held before it restarted, and what workers held whose lease ran out, waits again.
UPDATE copies SET state = 'queued', worker = NULL, due_at = :now
WHERE state = 'claimed' AND (worker = :worker OR worker IN (SELECT worker FROM workers WHERE lease_until < :now)
  OR worker NOT IN (SELECT worker FROM workers));

-- name: waiting(n)^
-- How many copies wait, counted up to n.
SELECT count(*) FROM (SELECT 1 FROM copies WHERE state = 'queued' LIMIT :n);

-- name: hours_of_bodies()
SELECT DISTINCT hour FROM bodies;

-- name: old_captures(before, n)
-- Captured copies whose time is over.
SELECT controller_id, message_id, copy_no FROM copies INDEXED BY copies_captured
WHERE state = 'captured' AND message_id < :before LIMIT :n;

-- name: drop_capture(controller_id, message_id, copy_no)!
UPDATE copies SET state = 'dropped', rcpt = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'captured';

-- name: old_rehearsals(before, n)
-- Rehearsed copies whose time is over.
SELECT c.controller_id, c.message_id, c.copy_no, m.stream, m.campaign
FROM copies c INDEXED BY copies_rehearsed
JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.state = 'rehearsed' AND c.message_id < :before LIMIT :n;

-- name: lapse(controller_id, message_id, copy_no, at)!
UPDATE copies SET state = 'lapsed', rcpt = NULL, ended_at = :at
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'rehearsed';
