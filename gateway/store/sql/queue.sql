-- name: add_messages(controller_id, message_id, accepted_at, stream, campaign, mode, kind, size, digest, open, envelope, subject, subject_key, login, return_to)*!
INSERT INTO messages (controller_id, message_id, accepted_at, stream, campaign, mode, kind, size, digest, open, envelope,
  subject, subject_key, login, return_to)
VALUES (:controller_id, :message_id, :accepted_at, :stream, :campaign, :mode, :kind, :size, :digest, :open, :envelope,
  :subject, :subject_key, :login, :return_to);

-- name: add_bodies(controller_id, message_id, hour, body)*!
INSERT INTO bodies (controller_id, message_id, hour, body) VALUES (:controller_id, :message_id, :hour, :body);

-- name: add_long_body(controller_id, message_id, hour, pieces)!
-- See connection.Database.insert_long.
INSERT INTO bodies (controller_id, message_id, hour, body) VALUES (:controller_id, :message_id, :hour, :pieces);

-- name: add_copies(controller_id, message_id, copy_no, recipient_key, state, verdict, reason_code, cite, as_of, basis, packs, trace, rcpt, route, due_at, worker, turn, alarm_at)*!
INSERT INTO copies (controller_id, message_id, copy_no, recipient_key, state, verdict, reason_code, accept_code, cite,
  as_of, basis, packs, trace, rcpt, route, due_at, worker, turn, alarm_at)
VALUES (:controller_id, :message_id, :copy_no, :recipient_key, :state, :verdict, :reason_code, :reason_code, :cite,
  :as_of, :basis, :packs, :trace, :rcpt, :route, :due_at, :worker, :turn, :alarm_at);

-- name: ask(controller_id, message_id, stream, skeleton, likeness, signs, expires_at)!
INSERT INTO questions (controller_id, message_id, stream, skeleton, likeness, signs, expires_at)
VALUES (:controller_id, :message_id, :stream, :skeleton, :likeness, :signs, :expires_at);

-- name: turns(route)
-- Who has copies waiting on a route, and since when the first of them is due: a look into the index copies_due per turn,
-- of which there are few, however many copies wait.
WITH RECURSIVE turns (turn) AS (
  SELECT min(turn) FROM copies WHERE state = 'queued' AND route = :route
  UNION ALL
  SELECT (SELECT min(c.turn) FROM copies c WHERE c.state = 'queued' AND c.route = :route AND c.turn > turns.turn)
  FROM turns WHERE turns.turn IS NOT NULL
)
SELECT turn, (SELECT min(d.due_at) FROM copies d WHERE d.state = 'queued' AND d.route = :route AND d.turn = turns.turn)
FROM turns WHERE turn IS NOT NULL;

-- name: claim(route, turn, now, n, worker)
-- The copies of a turn that are due longest become this worker's, by the index copies_due.
UPDATE copies SET state = 'claimed', worker = :worker
WHERE (controller_id, message_id, copy_no) IN (
  SELECT c.controller_id, c.message_id, c.copy_no FROM copies c
  WHERE c.state = 'queued' AND c.route = :route AND c.turn = :turn AND c.due_at <= :now
  ORDER BY c.due_at LIMIT :n)
RETURNING due_at, controller_id, message_id, copy_no, recipient_key, rcpt, attempts, verdict, reason_code, as_of, reply,
  (SELECT m.accepted_at FROM messages m
   WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id),
  (SELECT m.size FROM messages m WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: claim_overdue(route, now, n, worker)
-- Copies that have waited so long that time alone asks for something become this worker's, by the index copies_alarm.
UPDATE copies SET state = 'claimed', worker = :worker
WHERE (controller_id, message_id, copy_no) IN (
  SELECT c.controller_id, c.message_id, c.copy_no FROM copies c
  WHERE c.state = 'queued' AND c.route = :route AND c.alarm_at IS NOT NULL AND c.alarm_at <= :now
  ORDER BY c.alarm_at LIMIT :n)
RETURNING due_at, controller_id, message_id, copy_no, recipient_key, rcpt, attempts, verdict, reason_code, as_of, reply,
  (SELECT m.accepted_at FROM messages m
   WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id),
  (SELECT m.size FROM messages m WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: set_aside(controller_id, message_id, copy_no)^
-- A copy that cannot be opened.
UPDATE copies SET state = 'held', worker = NULL, due_at = NULL, reply = 'cannot be opened'
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: digest(controller_id, message_id)^
SELECT digest FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: accepted_at(controller_id, message_id)^
SELECT accepted_at FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: campaign(controller_id, message_id)^
SELECT stream, campaign FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: stored(controller_id)
-- Messages that still wait, with their originals. KEYS stands for their ids.
SELECT m.message_id, m.accepted_at, m.stream, m.campaign, m.mode, m.kind, m.envelope, m.released_at, b.hour, b.body
FROM messages m JOIN bodies b ON b.controller_id = m.controller_id AND b.message_id = m.message_id
WHERE m.controller_id = :controller_id AND m.message_id IN (KEYS);

-- name: end_copy(controller_id, message_id, copy_no, state, verdict, reason_code, cite, as_of, basis, packs, trace, reply, maybe_twice, ended_at, worker, tried)^
-- A copy is final. Only who holds it may say so: a copy whose lease ran out belongs to another. Gives a row where it did.
-- coalesce: by the primary key; PostgreSQL would rather look through all that a worker, or everybody, holds.
UPDATE copies SET state = :state, verdict = :verdict, reason_code = :reason_code, cite = :cite, as_of = :as_of,
  basis = :basis, packs = :packs, trace = :trace, reply = :reply, ended_at = :ended_at, attempts = attempts + :tried,
  maybe_twice = maybe_twice + :maybe_twice, rcpt = CASE WHEN :state IN ('captured', 'held') THEN rcpt END, worker = NULL, due_at = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND coalesce(state, '') = 'claimed'
  AND coalesce(worker, '') = :worker
RETURNING route;

-- name: retry_copy(controller_id, message_id, copy_no, verdict, reason_code, cite, as_of, due_at, reply, maybe_twice, worker, tried, alarm_at)^
-- A copy waits again. tried: 1 where that was an attempt. Where nothing new was said, the last word stays. Gives a row
-- where this worker held it.
UPDATE copies SET state = 'queued', verdict = :verdict, reason_code = :reason_code, cite = :cite, as_of = :as_of,
  due_at = :due_at, reply = CASE WHEN :reply = '' THEN reply ELSE :reply END, attempts = attempts + :tried,
  maybe_twice = maybe_twice + :maybe_twice, worker = NULL,
  alarm_at = COALESCE(:alarm_at, alarm_at)
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND coalesce(state, '') = 'claimed'
  AND coalesce(worker, '') = :worker
RETURNING route;

-- name: close_copies(controller_id, message_id, n)^
-- n copies of a message became final; how many are still open. With the last one the envelope goes.
UPDATE messages SET open = open - :n, envelope = CASE WHEN open > :n THEN envelope END
WHERE controller_id = :controller_id AND message_id = :message_id
RETURNING open;

-- name: drop_bodies(controller_id, message_id)*!
DELETE FROM bodies WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: count(controller_id, stream, campaign, name, worker, n)!
INSERT INTO tallies (controller_id, stream, campaign, name, worker, n)
VALUES (:controller_id, :stream, :campaign, :name, :worker, :n)
ON CONFLICT (controller_id, stream, campaign, name, worker) DO UPDATE SET n = tallies.n + excluded.n;

-- name: renew(worker, lease_until)!
INSERT INTO workers (worker, lease_until) VALUES (:worker, :lease_until)
ON CONFLICT (worker) DO UPDATE SET lease_until = excluded.lease_until;

-- name: lease(worker)^
SELECT lease_until FROM workers WHERE worker = :worker;

-- name: holders()
-- Who holds copies, and until when: a look into the index copies_claimed per worker.
WITH RECURSIVE holders (worker) AS (
  SELECT min(worker) FROM copies WHERE state = 'claimed'
  UNION ALL
  SELECT (SELECT min(c.worker) FROM copies c WHERE c.state = 'claimed' AND c.worker > holders.worker)
  FROM holders WHERE holders.worker IS NOT NULL
)
SELECT h.worker, w.lease_until FROM holders h LEFT JOIN workers w ON w.worker = h.worker WHERE h.worker IS NOT NULL;

-- name: take_back(worker, now)!
-- What a worker held waits again, in its old place.
UPDATE copies SET state = 'queued', worker = NULL, due_at = COALESCE(due_at, :now)
WHERE state = 'claimed' AND worker = :worker;

-- name: later(route, turn, due_at, controller_id, message_id, copy_no, n)
-- Copies of a turn that are not due yet, and when they were decided last, by the index copies_due.
SELECT due_at, controller_id, message_id, copy_no, as_of FROM copies
WHERE state = 'queued' AND route = :route AND turn = :turn
  AND (due_at, controller_id, message_id, copy_no) > (:due_at, :controller_id, :message_id, :copy_no)
ORDER BY due_at, controller_id, message_id, copy_no LIMIT :n;

-- name: redate(controller_id, message_id, copy_no, now, latest)^
-- A copy that waits and was dated later than it can be waits from now on for as long as was meant; its message's time, if
-- that came later still, begins now. Its last decision is of now too, so that nobody does it again. Gives a row where it
-- did. coalesce: as in end_copy.
UPDATE copies SET due_at = :now + due_at - as_of, as_of = :now, alarm_at = alarm_at - (
  SELECT CASE WHEN COALESCE(m.released_at, m.accepted_at) > :now THEN COALESCE(m.released_at, m.accepted_at) - :now
    ELSE 0 END
  FROM messages m WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id)
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND coalesce(state, '') = 'queued'
  AND as_of > :latest AND due_at > :now
RETURNING copy_no;

-- name: begin_anew(controller_id, message_id, now)*!
UPDATE messages SET released_at = :now
WHERE controller_id = :controller_id AND message_id = :message_id AND COALESCE(released_at, accepted_at) > :now;

-- name: claimed_by(worker)
-- All that a worker holds, by the index copies_claimed.
SELECT controller_id, message_id, copy_no FROM copies WHERE state = 'claimed' AND worker = :worker;

-- name: give_back(controller_id, message_id, copy_no, worker, now)^
-- A copy that a worker holds waits again, in its old place. Gives a row where it did. coalesce: as in end_copy.
UPDATE copies SET state = 'queued', worker = NULL, due_at = COALESCE(due_at, :now)
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND coalesce(state, '') = 'claimed'
  AND coalesce(worker, '') = :worker
RETURNING copy_no;

-- name: add_depths(controller_id, stream, route, worker, waiting, held)*!
INSERT INTO depths (controller_id, stream, route, worker, waiting, held)
VALUES (:controller_id, :stream, :route, :worker, :waiting, :held)
ON CONFLICT (controller_id, stream, route, worker) DO UPDATE SET waiting = depths.waiting + excluded.waiting,
  held = depths.held + excluded.held;

-- name: depths()
-- How many copies wait and are held, by controller, stream and route.
SELECT controller_id, stream, route, sum(waiting), sum(held) FROM depths
GROUP BY controller_id, stream, route ORDER BY controller_id, stream, route;

-- name: hours_of_bodies()
-- The hours from which originals wait: a look into the index bodies_hour per hour.
WITH RECURSIVE hours (hour) AS (
  SELECT min(hour) FROM bodies
  UNION ALL
  SELECT (SELECT min(b.hour) FROM bodies b WHERE b.hour > hours.hour) FROM hours WHERE hours.hour IS NOT NULL
)
SELECT hour FROM hours WHERE hour IS NOT NULL;

-- name: next_sender(after)^
SELECT min(controller_id) FROM messages WHERE controller_id > :after;

-- name: old_captures(controller_id, before, n)
-- Captured copies whose time is over, by the index copies_captured.
SELECT controller_id, message_id, copy_no FROM copies INDEXED BY copies_captured
WHERE controller_id = :controller_id AND state = 'captured' AND message_id < :before LIMIT :n;

-- name: drop_capture(controller_id, message_id, copy_no)!
UPDATE copies SET state = 'dropped', rcpt = NULL
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'captured';

-- name: old_rehearsals(controller_id, before, n)
-- Rehearsed copies whose time is over, by the index copies_rehearsed.
SELECT c.controller_id, c.message_id, c.copy_no, m.stream, m.campaign
FROM copies c INDEXED BY copies_rehearsed
JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.state = 'rehearsed' AND c.message_id < :before LIMIT :n;

-- name: lapse(controller_id, message_id, copy_no, at)!
UPDATE copies SET state = 'lapsed', rcpt = NULL, ended_at = :at
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'rehearsed';
