-- name: queued_routes()
-- Routes with copies that wait: a look into the index copies_due per route.
WITH RECURSIVE routes (route) AS (
  SELECT min(route) FROM copies WHERE state = 'queued'
  UNION ALL
  SELECT (SELECT min(c.route) FROM copies c WHERE c.state = 'queued' AND c.route > routes.route)
  FROM routes WHERE routes.route IS NOT NULL
)
SELECT route FROM routes WHERE route IS NOT NULL;

-- name: held_owners()
-- Controllers with held copies: a look into the index copies_held per controller.
WITH RECURSIVE owners (owner) AS (
  SELECT min(controller_id) FROM copies WHERE state = 'held'
  UNION ALL
  SELECT (SELECT min(c.controller_id) FROM copies c WHERE c.state = 'held' AND c.controller_id > owners.owner)
  FROM owners WHERE owners.owner IS NOT NULL
)
SELECT owner FROM owners WHERE owner IS NOT NULL;

-- name: queued_page(route, turn, due_at, controller_id, message_id, copy_no, n)
-- By the index copies_due.
SELECT c.controller_id, c.message_id, c.copy_no, c.state, m.stream, m.campaign, c.route, c.due_at, c.attempts,
  c.reason_code, c.reply, c.rcpt, m.accepted_at, c.worker, c.maybe_twice
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.state = 'queued' AND c.route = :route AND c.turn = :turn
  AND (c.due_at, c.controller_id, c.message_id, c.copy_no) > (:due_at, :controller_id, :message_id, :copy_no)
ORDER BY c.due_at, c.controller_id, c.message_id, c.copy_no LIMIT :n;

-- name: claimed_page(worker, controller_id, message_id, copy_no, n)
-- By the index copies_claimed.
SELECT c.controller_id, c.message_id, c.copy_no, c.state, m.stream, m.campaign, c.route, c.due_at, c.attempts,
  c.reason_code, c.reply, c.rcpt, m.accepted_at, c.worker, c.maybe_twice
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.state = 'claimed'
  AND (c.worker, c.controller_id, c.message_id, c.copy_no) > (:worker, :controller_id, :message_id, :copy_no)
ORDER BY c.worker, c.controller_id, c.message_id, c.copy_no LIMIT :n;

-- name: held_page(controller_id, message_id, copy_no, n)
-- By the index copies_held.
SELECT c.controller_id, c.message_id, c.copy_no, c.state, m.stream, m.campaign, c.route, c.due_at, c.attempts,
  c.reason_code, c.reply, c.rcpt, m.accepted_at, c.worker, c.maybe_twice
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.state = 'held' AND c.controller_id = :controller_id
  AND (c.message_id, c.copy_no) > (:message_id, :copy_no)
ORDER BY c.message_id, c.copy_no LIMIT :n;

-- name: of_message(controller_id, message_id)
SELECT c.controller_id, c.message_id, c.copy_no, c.state, m.stream, m.campaign, c.route, c.due_at, c.attempts,
  c.reason_code, c.reply, c.rcpt, m.accepted_at, c.worker, c.maybe_twice
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.message_id = :message_id AND c.state IN ('queued', 'claimed', 'held')
ORDER BY c.copy_no;

-- name: holds()
SELECT controller_id, stream, campaign, at FROM holds ORDER BY controller_id, stream, campaign;

-- name: open_stops()
SELECT controller_id, stream, campaign FROM campaign_stops WHERE released_at IS NULL;

-- name: put_hold(controller_id, stream, campaign, at)!
INSERT INTO holds (controller_id, stream, campaign, at) VALUES (:controller_id, :stream, :campaign, :at)
ON CONFLICT (controller_id, stream, campaign) DO NOTHING;

-- name: lift_hold(controller_id, stream, campaign)!
DELETE FROM holds WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign;

-- name: hold_copies(controller_id, message_id, copy_no, said)^
UPDATE copies SET state = 'held', reply = :said
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'queued'
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: release_copies(controller_id, message_id, copy_no, now)^
-- A held copy goes on; not one that waits for an answer about its message. Its time begins anew, to its end too.
UPDATE copies SET state = 'queued', due_at = :now, reply = NULL, alarm_at = :now + alarm_at - (
  SELECT COALESCE(m.released_at, m.accepted_at) FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id)
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'held'
  AND reply IS NOT NULL
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: release_messages(controller_id, message_id, now)*!
UPDATE messages SET released_at = :now WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: drop_queued(controller_id, message_id, copy_no, now)^
UPDATE copies SET state = 'dropped', reply = 'dropped by an operator', rcpt = NULL, due_at = NULL, ended_at = :now
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'queued'
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);

-- name: drop_held(controller_id, message_id, copy_no, now)^
-- Not a copy that waits for an answer about its message.
UPDATE copies SET state = 'dropped', reply = 'dropped by an operator', rcpt = NULL, due_at = NULL, ended_at = :now
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'held'
  AND reply IS NOT NULL
RETURNING route, (SELECT m.stream FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id);
