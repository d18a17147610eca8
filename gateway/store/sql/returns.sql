-- name: sent_copy(controller_id, message_id, copy_no)^
SELECT c.recipient_key, c.state, m.stream, m.campaign, m.kind, m.subject_key, m.return_to
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.message_id = :message_id AND c.copy_no = :copy_no;

-- name: copy_for(controller_id, message_id, recipient_key)^
-- Which copy of a message was this person's, by the index copies_person.
SELECT copy_no FROM copies
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND message_id = :message_id LIMIT 1;

-- name: had(controller_id, digest)^
SELECT 1 FROM returns WHERE controller_id = :controller_id AND digest = :digest;

-- name: add(controller_id, report_id, at, digest, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, copy_no, stream, campaign, content)!
INSERT INTO returns (controller_id, report_id, at, digest, kind, source, proven, bounce_class, reason, status, dead, task,
  recipient_key, message_id, copy_no, stream, campaign, content)
VALUES (:controller_id, :report_id, :at, :digest, :kind, :source, :proven, :bounce_class, :reason, :status, :dead, :task,
  :recipient_key, :message_id, :copy_no, :stream, :campaign, :content)
ON CONFLICT DO NOTHING;

-- name: about_copy(controller_id, recipient_key, message_id, kind)
-- The classes of what came back before about one person's copy.
SELECT bounce_class FROM returns INDEXED BY returns_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND message_id = :message_id AND kind = :kind
  AND proven = 1;

-- name: dead_reports(controller_id, recipient_key, since)
-- What said credibly that an address is dead, and when.
SELECT message_id, at FROM returns INDEXED BY returns_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND dead = 1 AND at >= :since;

-- name: forget_dead(controller_id, recipient_key)!
-- The address works: what said otherwise before counts no more.
UPDATE returns SET dead = 0 WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND dead = 1;

-- name: came_back(controller_id, since, kinds, before, n)
-- The newest first. kinds: JSON list, empty for all.
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns
WHERE controller_id = :controller_id AND report_id < :before AND at >= :since
  AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY report_id DESC LIMIT :n;

-- name: of_person(controller_id, recipient_key, since, kinds, before, n)
-- The same about one person, by the index returns_person.
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns INDEXED BY returns_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND report_id < :before AND at >= :since
  AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY report_id DESC LIMIT :n;

-- name: counts(controller_id, after)
-- What came back since an id, counted.
SELECT kind, bounce_class, reason, count(*) FROM returns WHERE controller_id = :controller_id AND report_id >= :after
GROUP BY kind, bounce_class, reason;

-- name: waiting(controller_id, after, n)
-- What a person has to look at, the oldest first: who waits longest is not buried under a flood.
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns INDEXED BY returns_waiting
WHERE controller_id = :controller_id AND report_id > :after AND task IN ('open', 'proposed')
ORDER BY report_id LIMIT :n;

-- name: one(controller_id, report_id)^
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns WHERE controller_id = :controller_id AND report_id = :report_id;

-- name: settle(controller_id, report_id, task, content)!
UPDATE returns SET task = :task, content = coalesce(:content, content)
WHERE controller_id = :controller_id AND report_id = :report_id AND task IN ('open', 'proposed') AND task <> :task;

-- name: tally(controller_id, stream, campaign, name)^
SELECT coalesce(sum(n), 0) FROM tallies
WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign AND name = :name;

-- name: put_stop(controller_id, stream, campaign, at, complaints, sent)!
INSERT INTO campaign_stops (controller_id, stream, campaign, at, complaints, sent)
VALUES (:controller_id, :stream, :campaign, :at, :complaints, :sent)
ON CONFLICT (controller_id, stream, campaign) DO UPDATE SET at = excluded.at, complaints = excluded.complaints,
  sent = excluded.sent, released_at = NULL;

-- name: stop_of(controller_id, stream, campaign)^
SELECT complaints, released_at FROM campaign_stops
WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign;

-- name: stops()
SELECT controller_id, stream, campaign, at, complaints, sent, released_at FROM campaign_stops;

-- name: release_stop(controller_id, stream, campaign, at)!
UPDATE campaign_stops SET released_at = :at
WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign AND released_at IS NULL;

-- name: held(controller_id, message_id, copy_no, n)
-- The held copies of a controller behind a place, by the index copies_held.
SELECT c.message_id, c.copy_no, c.reply, m.stream, m.campaign FROM copies c INDEXED BY copies_held
JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.state = 'held' AND (c.message_id, c.copy_no) > (:message_id, :copy_no)
ORDER BY c.message_id, c.copy_no LIMIT :n;

-- name: queue_again(controller_id, message_id, copy_no, at)^
UPDATE copies SET state = 'queued', due_at = :at, reply = NULL, alarm_at = :at + alarm_at - (
  SELECT COALESCE(m.released_at, m.accepted_at) FROM messages m
  WHERE m.controller_id = copies.controller_id AND m.message_id = copies.message_id)
WHERE controller_id = :controller_id AND message_id = :message_id AND copy_no = :copy_no AND state = 'held'
RETURNING route;

-- name: drop_old(controller_id, before, n)!
-- What came back longer ago than it may be kept (RULES.md 7.2). Ids are UUIDv7: they begin with their milliseconds.
DELETE FROM returns WHERE controller_id = :controller_id AND report_id IN (
  SELECT report_id FROM returns WHERE controller_id = :controller_id AND report_id < :before LIMIT :n);

-- name: first_message(controller_id)^
SELECT (SELECT message_id FROM messages WHERE controller_id = :controller_id ORDER BY message_id LIMIT 1);

-- name: drop_return_to(controller_id, first, last)!
UPDATE messages SET return_to = NULL
WHERE controller_id = :controller_id AND message_id >= :first AND message_id < :last AND return_to IS NOT NULL;

-- name: swept(name)^
SELECT value FROM meta WHERE name = :name;

-- name: put_swept(name, value)!
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
