-- name: add_job(controller_id, job_id, recipient_key, target, host, event, ref, at, due_at, until, apart, content)!
INSERT INTO write_backs (
  controller_id, job_id, recipient_key, target, host, event, ref, state, at, due_at, until, apart, content
) VALUES (
  :controller_id, :job_id, :recipient_key, :target, :host, :event, :ref, 'waiting', :at, :due_at, :until, :apart, :content
);

-- name: hosts_due(now)
-- Hosts that have jobs due, one step of the index write_backs_due each, however many jobs wait.
WITH RECURSIVE step(host) AS (
  SELECT min(host) FROM write_backs WHERE state = 'waiting'
  UNION ALL
  SELECT (SELECT min(host) FROM write_backs WHERE state = 'waiting' AND host > step.host) FROM step
  WHERE step.host IS NOT NULL
)
SELECT host FROM step WHERE host IS NOT NULL
  AND (SELECT min(due_at) FROM write_backs w WHERE w.state = 'waiting' AND w.host = step.host) <= :now;

-- name: due(host, now, n)
SELECT controller_id, job_id, recipient_key, target, event, at, until, attempts, apart, content FROM write_backs
WHERE state = 'waiting' AND host = :host AND due_at <= :now ORDER BY due_at LIMIT :n;

-- name: claim(controller_id, job_id, worker, lease_until)!
-- Until then it is due for nobody else; a worker that dies lets go of it by that alone.
UPDATE write_backs SET due_at = :lease_until, worker = :worker, attempts = attempts + 1
WHERE controller_id = :controller_id AND job_id = :job_id AND state = 'waiting';

-- name: again(controller_id, job_id, worker, attempts, due_at, said)!
UPDATE write_backs SET due_at = :due_at, worker = NULL, said = :said
WHERE controller_id = :controller_id AND job_id = :job_id AND state = 'waiting' AND worker = :worker
  AND attempts = :attempts;

-- name: end_job(controller_id, job_id, worker, attempts, state, said, at)!
-- What was told is forgotten; of a job that was given up it is kept, for another try.
UPDATE write_backs SET state = :state, worker = NULL, said = :said, ended_at = :at,
  content = CASE WHEN :state = 'failed' THEN content ELSE NULL END
WHERE controller_id = :controller_id AND job_id = :job_id AND state = 'waiting' AND worker = :worker
  AND attempts = :attempts;

-- name: job(controller_id, job_id)^
SELECT apart FROM write_backs WHERE controller_id = :controller_id AND job_id = :job_id;

-- name: take_back(worker, now)!
-- What this worker held before it restarted is due at once.
UPDATE write_backs SET due_at = :now, worker = NULL WHERE state = 'waiting' AND worker = :worker;

-- name: redate(now, apart, latest)!
-- After the clock was set back: jobs that were written in a time to come, or would wait longer than any is put off.
UPDATE write_backs SET due_at = :now
WHERE state = 'waiting' AND due_at > :now AND (due_at > :latest OR (attempts = 0 AND at > :apart));

-- name: drop_told_of(controller_id, recipient_key, ref, at)!
-- Nobody needs to hear of an opt-out any more that was lifted before they did.
UPDATE write_backs INDEXED BY write_backs_person SET state = 'dropped', said = 'lifted', ended_at = :at, worker = NULL, content = NULL
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND ref = :ref AND state = 'waiting'
  AND event = 'opt_out.recorded';

-- name: told_of(controller_id, recipient_key, ref)
-- Who was, or may have been, told of an opt-out.
SELECT DISTINCT target FROM write_backs INDEXED BY write_backs_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND ref = :ref AND attempts > 0
  AND event = 'opt_out.recorded';

-- name: unsaid(controller_id, recipient_key)
-- What still has to be said of a person, or may be tried again.
SELECT job_id, content FROM write_backs INDEXED BY write_backs_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND state IN ('waiting', 'failed') AND apart = 0;

-- name: set_apart(controller_id, job_id, content)!
UPDATE write_backs SET apart = 1, content = :content WHERE controller_id = :controller_id AND job_id = :job_id;

-- name: drop_ended(controller_id, recipient_key)!
DELETE FROM write_backs INDEXED BY write_backs_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND state IN ('done', 'dropped');

-- name: all_said()
-- Erased people of whom everything was said, or given up for good, and whose key apart may still be there; by the index
-- write_backs_apart.
SELECT DISTINCT w.controller_id, w.recipient_key FROM write_backs w WHERE w.apart = 1 AND NOT EXISTS (
  SELECT 1 FROM write_backs x INDEXED BY write_backs_apart WHERE x.controller_id = w.controller_id AND x.recipient_key = w.recipient_key
    AND x.apart = 1 AND x.state IN ('waiting', 'failed')
);

-- name: let_go(controller_id, recipient_key)!
UPDATE write_backs INDEXED BY write_backs_apart SET apart = 2 WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND apart = 1;

-- name: stop_keeping(before)!
-- What could not be said of somebody who was erased is kept no longer than what was.
UPDATE write_backs SET state = 'dropped', content = NULL
WHERE state = 'failed' AND apart = 1 AND ended_at < :before;

-- name: swept(before, told_before, n)
-- What was told of somebody who is on file stays longer: they may ask who got their data. By the index write_backs_ended.
SELECT controller_id, job_id FROM write_backs
WHERE state <> 'waiting' AND apart <> 1 AND ended_at < :before
  AND (state <> 'done' OR apart <> 0 OR ended_at < :told_before) ORDER BY ended_at LIMIT :n;

-- name: drop_job(controller_id, job_id)!
DELETE FROM write_backs WHERE controller_id = :controller_id AND job_id = :job_id;

-- name: newest(controller_id, state, n)
SELECT job_id, target, host, event, state, at, due_at, attempts, said, ended_at, recipient_key FROM write_backs
WHERE controller_id = :controller_id AND (state = :state OR :state IS NULL) ORDER BY job_id DESC LIMIT :n;

-- name: counts(controller_id)
-- Per target and state, and what the newest of them heard last.
SELECT g.target, g.state, count(*), min(g.at), max(g.at), (
  SELECT w.said FROM write_backs w
  WHERE w.controller_id = :controller_id AND w.target = g.target AND w.state = g.state ORDER BY w.job_id DESC LIMIT 1
)
FROM write_backs g WHERE g.controller_id = :controller_id GROUP BY g.target, g.state ORDER BY g.target, g.state;

-- name: changeable(controller_id, job_id, target)
-- Jobs that can be tried again or dropped: one, or those of a target, or all.
SELECT job_id FROM write_backs
WHERE controller_id = :controller_id AND state IN ('waiting', 'failed')
  AND (job_id = :job_id OR :job_id IS NULL) AND (target = :target OR :target IS NULL);

-- name: try_again(controller_id, job_id, now, until)!
UPDATE write_backs SET state = 'waiting', due_at = :now, until = :until, attempts = 0, worker = NULL, ended_at = NULL
WHERE controller_id = :controller_id AND job_id = :job_id AND content IS NOT NULL;

-- name: drop_one(controller_id, job_id, now)!
UPDATE write_backs SET state = 'dropped', ended_at = :now, worker = NULL, content = NULL
WHERE controller_id = :controller_id AND job_id = :job_id;

-- name: put_link(controller_id, recipient_key, stream, purpose, message_id, at, host, link)!
INSERT INTO tool_links (controller_id, recipient_key, stream, purpose, message_id, at, host, link)
VALUES (:controller_id, :recipient_key, :stream, :purpose, :message_id, :at, :host, :link)
ON CONFLICT (controller_id, recipient_key, stream, purpose)
DO UPDATE SET message_id = excluded.message_id, at = excluded.at, host = excluded.host, link = excluded.link;

-- name: links(controller_id, recipient_key)
SELECT stream, purpose, host, link FROM tool_links
WHERE controller_id = :controller_id AND recipient_key = :recipient_key ORDER BY stream, purpose;

-- name: drop_links(controller_id, recipient_key)!
DELETE FROM tool_links WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: streams_of(controller_id, recipient_key)
-- Streams whose mail was meant for a person, by the index copies_person.
SELECT DISTINCT m.stream FROM copies c INDEXED BY copies_person
CROSS JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.recipient_key = :recipient_key;

-- name: stream_of_message(controller_id, message_id)^
SELECT stream FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: drift(controller_id, since)
-- Copies for people who had opted out before the message came, per login and stream, by the index copies_held_out; and
-- how many of them came after somebody had been told about that person. CODES stands for the codes of opt-outs.
SELECT login, stream, count(*), count(DISTINCT recipient_key), sum(told),
  count(DISTINCT CASE WHEN told = 1 THEN recipient_key END), max(accepted_at)
FROM (
  SELECT m.login, m.stream, m.accepted_at, c.recipient_key, CASE WHEN EXISTS (
    SELECT 1 FROM write_backs w INDEXED BY write_backs_person WHERE w.controller_id = c.controller_id AND w.recipient_key = c.recipient_key
      AND w.state = 'done' AND w.ended_at < m.accepted_at
  ) THEN 1 ELSE 0 END AS told
  FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
  WHERE c.controller_id = :controller_id AND c.verdict <> 'allow' AND c.as_of >= :since AND c.accept_code IN (CODES)
    AND m.accepted_at >= :since
) AS mailed
GROUP BY login, stream ORDER BY login, stream;

-- name: reminded(controller_id, recipient_key, target, host, since)^
-- Whether somebody is being told, or was lately told, of this person.
SELECT 1 FROM write_backs INDEXED BY write_backs_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND target = :target AND host = :host
  AND (state IN ('waiting', 'failed') OR at >= :since) LIMIT 1;

-- name: hosts_told(controller_id, recipient_key)
-- Which other systems were told of a person.
SELECT DISTINCT host FROM write_backs INDEXED BY write_backs_person
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND state = 'done' ORDER BY host;
