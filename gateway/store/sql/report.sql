-- name: held_out(controller_id, since, before_at, before_id, before_no, n)
-- Copies that were blocked or put off, newest first.
SELECT c.as_of, m.stream, m.campaign, m.subject, m.subject_key, c.message_id, c.copy_no, c.recipient_key, c.verdict,
  c.reason_code, c.cite, m.mode, c.packs
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.verdict <> 'allow' AND c.as_of >= :since
  AND (c.as_of, c.message_id, c.copy_no) < (:before_at, :before_id, :before_no)
ORDER BY c.as_of DESC, c.message_id DESC, c.copy_no DESC LIMIT :n;

-- name: let_through(controller_id, since, before_at, before_id, before_no, n)
-- Copies that observing let through, newest first, by the index copies_observed.
SELECT c.as_of, m.stream, m.campaign, m.subject, m.subject_key, c.message_id, c.copy_no, c.recipient_key, c.verdict,
  c.reason_code, c.cite, m.mode, c.accept_code
FROM copies c INDEXED BY copies_observed JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.verdict = 'allow' AND substr(c.reason_code, 1, 6) <> 'ALLOW_' AND c.as_of >= :since
  AND (c.as_of, c.message_id, c.copy_no) < (:before_at, :before_id, :before_no)
ORDER BY c.as_of DESC, c.message_id DESC, c.copy_no DESC LIMIT :n;

-- name: tallies(controller_id)
SELECT stream, campaign, name, sum(n) FROM tallies WHERE controller_id = :controller_id GROUP BY stream, campaign, name;

-- name: campaign_span(controller_id, stream, campaign)^
SELECT (
  SELECT message_id FROM messages WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign
  ORDER BY message_id LIMIT 1
), (
  SELECT message_id FROM messages WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign
  ORDER BY message_id DESC LIMIT 1
);

-- name: kind_of_newest(controller_id, stream, campaign)^
-- What the classifier found in a campaign's newest message.
SELECT kind FROM messages WHERE controller_id = :controller_id AND stream = :stream AND campaign = :campaign
ORDER BY message_id DESC LIMIT 1;

-- name: subject(controller_id, message_id)^
SELECT subject, subject_key FROM messages WHERE controller_id = :controller_id AND message_id = :message_id;

-- name: captured(controller_id, before_id, before_no, n)
SELECT c.message_id, c.copy_no, c.ended_at, m.stream, m.campaign, m.subject, m.subject_key, c.recipient_key, m.size
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.state = 'captured'
  AND (c.message_id, c.copy_no) < (:before_id, :before_no)
ORDER BY c.message_id DESC, c.copy_no DESC LIMIT :n;

-- name: copy(controller_id, message_id, copy_no)^
SELECT c.recipient_key, c.state, c.verdict, c.reason_code, c.basis, c.rcpt, c.as_of, c.packs, m.accepted_at
FROM copies c JOIN messages m ON m.controller_id = c.controller_id AND m.message_id = c.message_id
WHERE c.controller_id = :controller_id AND c.message_id = :message_id AND c.copy_no = :copy_no;
