-- Tables of PostgreSQL grown so far that its planner cares, for test_dialect.py.
INSERT INTO messages (controller_id, message_id, accepted_at, stream, campaign, mode, kind, size, open)
SELECT 'acme', decode(lpad(to_hex(n), 32, '0'), 'hex'), n, 'news', 'c' || n % 7, 'enforce', '{}', 1, 1 FROM generate_series(1, 6000) n;
INSERT INTO copies (controller_id, message_id, copy_no, recipient_key, state, verdict, reason_code, accept_code, cite, as_of,
  packs, trace, route, due_at, worker, turn, alarm_at)
SELECT 'acme', message_id, 0, message_id, (ARRAY['queued', 'claimed', 'delivered', 'captured', 'held'])[n % 5 + 1], 'allow', 'ALLOW_OPT_IN',
  'ALLOW_OPT_IN', '', n, '', '', 'main', n, CASE WHEN n % 5 = 1 THEN 'w1' END, n % 64, n
FROM (SELECT message_id, accepted_at AS n FROM messages) m;
INSERT INTO bodies (controller_id, message_id, hour, body) SELECT controller_id, message_id, accepted_at / 100, '' FROM messages;
INSERT INTO people (controller_id, recipient_key, profile, first_seen) SELECT controller_id, message_id, '', 1 FROM messages;
INSERT INTO standing (controller_id, recipient_key, version, facts) SELECT controller_id, message_id, 1, '' FROM messages;
INSERT INTO suppressions (controller_id, recipient_key, suppression_id, scope, reason, source, at)
SELECT controller_id, message_id, message_id, 'sender', 'unsubscribe', '', 1 FROM messages;
INSERT INTO ledger (controller_id, entry_id, at, kind, subject, public)
SELECT controller_id, message_id, accepted_at, 'consent', message_id, '{}' FROM messages;
INSERT INTO returns (controller_id, report_id, at, digest, kind, source, proven, bounce_class, reason, dead, task, recipient_key, message_id,
  copy_no, stream, campaign)
SELECT controller_id, message_id, accepted_at, message_id, 'bounce', '', 1, 'hard', '', 1, 'noted', message_id, message_id, 0, 'news', 'c'
FROM messages;
INSERT INTO write_backs (controller_id, job_id, recipient_key, target, host, event, state, at, due_at, until)
SELECT controller_id, message_id, message_id, 't', 'h' || accepted_at % 3, 'e', 'waiting', accepted_at, accepted_at, accepted_at FROM messages;
INSERT INTO sign_ups (controller_id, request_id, recipient_key, state, at, trace)
SELECT controller_id, message_id, message_id, 'asked', accepted_at, '' FROM messages;
INSERT INTO letters (controller_id, letter_id, kind, recipient_key, due_at, about)
SELECT controller_id, message_id, 'stopped', message_id, accepted_at, '' FROM messages;
INSERT INTO hash_suppressions (controller_id, hash_key, at) SELECT controller_id, message_id, 1 FROM messages;
