-- The whole schema, both databases of an installation. Times are milliseconds since 1970 UTC. Ids are UUIDv7 (16 bytes).
-- Every primary key begins with the controller: controllers are strangers to each other, and the tables can be
-- distributed by it. What is personal is sealed: `profile`, `facts`, `private`, `subject` under the key of a person,
-- `body`, `rcpt`, `envelope` under the spool key of an hour. The keys stand in the keys database.

CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Names as 32-bit numbers, given once and never reused: they stand in every link ever sent.
CREATE TABLE numbers (
  controller_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('controller', 'stream', 'purpose')),
  name TEXT NOT NULL,
  number INTEGER NOT NULL UNIQUE CHECK (number BETWEEN 1 AND 4294967295),
  PRIMARY KEY (controller_id, kind, name)
) STRICT, WITHOUT ROWID;

-- A row for whoever was seen, also when only blocked. profile: address, and name or external id where given.
CREATE TABLE people (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  profile BLOB NOT NULL,
  first_seen INTEGER NOT NULL,
  PRIMARY KEY (controller_id, recipient_key)
) STRICT, WITHOUT ROWID;

-- The projection of the ledger that decisions read; version grows with each change.
CREATE TABLE standing (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  version INTEGER NOT NULL,
  facts BLOB NOT NULL,
  PRIMARY KEY (controller_id, recipient_key)
) STRICT, WITHOUT ROWID;

-- Who may not be mailed. controller_id '' with a key of global scope: everywhere. Rows are never deleted by the product.
-- lifted_for: purposes for which alone it was lifted, as JSON with milliseconds, NULL for none.
CREATE TABLE suppressions (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  suppression_id BLOB NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('global', 'sender', 'purpose')),
  purpose TEXT,
  reason TEXT NOT NULL CHECK (reason IN ('unsubscribe', 'objection', 'complaint', 'erasure', 'admin')),
  source TEXT NOT NULL,
  at INTEGER NOT NULL,
  lifted_at INTEGER,
  lifted_for TEXT,
  PRIMARY KEY (controller_id, recipient_key, suppression_id)
) STRICT, WITHOUT ROWID;

-- What people and staff did, in order. seq, previous and hash are given when the entry is sealed. With row numbers:
-- without them a row of over a kilobyte takes a page of its own.
CREATE TABLE ledger (
  controller_id TEXT NOT NULL,
  entry_id BLOB NOT NULL,
  seq INTEGER,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject BLOB NOT NULL,
  public TEXT NOT NULL,
  private BLOB,
  commitment BLOB,
  previous BLOB,
  hash BLOB,
  PRIMARY KEY (controller_id, entry_id)
) STRICT;
CREATE INDEX ledger_subject ON ledger (controller_id, subject, entry_id);
CREATE INDEX ledger_erasures ON ledger (controller_id, entry_id) WHERE kind = 'erasure';
CREATE INDEX ledger_kept ON ledger (controller_id, entry_id) WHERE kind IN ('wording', 'source', 'evidence', 'hash_list');
CREATE INDEX ledger_rulings ON ledger (controller_id, entry_id) WHERE kind = 'ruling';
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_fixed BEFORE UPDATE ON ledger
WHEN OLD.hash IS NOT NULL OR NEW.hash IS NULL OR NEW.controller_id <> OLD.controller_id OR NEW.entry_id <> OLD.entry_id
  OR NEW.at <> OLD.at OR NEW.kind <> OLD.kind OR NEW.subject <> OLD.subject OR NEW.public <> OLD.public
  OR NEW.private IS NOT OLD.private OR NEW.commitment IS NOT OLD.commitment
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Where each chain ends, written in the transaction that seals. mac: under the installation key, so that whoever cuts
-- off the end of the ledger cannot say that it ended there.
CREATE TABLE tails (
  controller_id TEXT NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL,
  entry_id BLOB NOT NULL,
  hash BLOB NOT NULL,
  mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Signed heads, one a day where something was added: what the chain was, for whoever kept a copy.
CREATE TABLE heads (
  controller_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  at INTEGER NOT NULL,
  public_key BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (controller_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER heads_kept BEFORE DELETE ON heads
BEGIN SELECT RAISE(ABORT, 'heads are kept'); END;
CREATE TRIGGER heads_fixed BEFORE UPDATE ON heads
BEGIN SELECT RAISE(ABORT, 'heads are kept'); END;

-- What was handed in. mode: what decisions did; rehearse until it is released, at released_at. subject: sealed under the
-- person of subject_key where there is one recipient, else under the controller's own key. open: copies that are not
-- final yet; at 0 body and envelope go. digest: SHA-256 of the original as it was accepted. kind: what the classifier
-- found, as JSON without personal data. login: who handed it in, '' for mail of our own. return_to: where the tool wants
-- reports on it, sealed like the subject, for as long as reports come.
CREATE TABLE messages (
  controller_id TEXT NOT NULL,
  message_id BLOB NOT NULL,
  accepted_at INTEGER NOT NULL,
  stream TEXT NOT NULL,
  campaign TEXT NOT NULL,
  mode TEXT NOT NULL,
  kind TEXT NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB,
  open INTEGER NOT NULL,
  envelope BLOB,
  subject BLOB,
  subject_key BLOB,
  released_at INTEGER,
  login TEXT NOT NULL DEFAULT '',
  return_to BLOB,
  PRIMARY KEY (controller_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_campaign ON messages (controller_id, stream, campaign, message_id);

-- The original, once, until its last copy is final.
CREATE TABLE bodies (
  controller_id TEXT NOT NULL,
  message_id BLOB NOT NULL,
  hour INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX bodies_key ON bodies (controller_id, message_id);
CREATE INDEX bodies_hour ON bodies (hour);

-- One message for one recipient: its decision and its way out. accept_code is the code at acceptance; verdict,
-- reason_code and as_of are those of the last decision. turn: among whom copies of a route take turns to leave, service
-- mail first (queue.py). alarm_at: when time alone asks for something while it waits: a report on the delay, or the end.
-- maybe_twice: how often its final dot was sent and the reply was lost.
CREATE TABLE copies (
  controller_id TEXT NOT NULL,
  message_id BLOB NOT NULL,
  copy_no INTEGER NOT NULL,
  recipient_key BLOB NOT NULL,
  state TEXT NOT NULL,
  verdict TEXT NOT NULL,
  reason_code TEXT NOT NULL,
  accept_code TEXT NOT NULL,
  cite TEXT NOT NULL,
  as_of INTEGER NOT NULL,
  basis TEXT,
  packs TEXT NOT NULL,
  trace TEXT NOT NULL,
  rcpt BLOB,
  route TEXT NOT NULL,
  due_at INTEGER,
  worker TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  reply TEXT,
  ended_at INTEGER,
  turn INTEGER NOT NULL DEFAULT 0,
  alarm_at INTEGER,
  maybe_twice INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (controller_id, message_id, copy_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_due ON copies (route, turn, due_at) WHERE state = 'queued';
CREATE INDEX copies_alarm ON copies (route, alarm_at) WHERE state = 'queued' AND alarm_at IS NOT NULL;
CREATE INDEX copies_claimed ON copies (worker) WHERE state = 'claimed';
CREATE INDEX copies_held_out ON copies (controller_id, as_of, message_id, copy_no) WHERE verdict <> 'allow';
CREATE INDEX copies_captured ON copies (controller_id, message_id) WHERE state = 'captured';
CREATE INDEX copies_rehearsed ON copies (controller_id, message_id) WHERE state = 'rehearsed';
CREATE INDEX copies_held ON copies (controller_id, message_id) WHERE state = 'held';
CREATE INDEX copies_observed ON copies (controller_id, as_of, message_id, copy_no)
  WHERE verdict = 'allow' AND substr(reason_code, 1, 6) <> 'ALLOW_';
CREATE INDEX copies_person ON copies (controller_id, recipient_key, message_id);

-- Counters per campaign, so that a report costs the same for a thousand and for a million recipients.
-- name: accepted, allowed, deferred, delivered, bounced, opted_out, blocked/CODE, or observed/CODE (let through); those
-- of a rehearsal begin with rehearsed/. A row for each worker, since all of them count all the time: one row for all would
-- be waited for by each until the other's commit. They are read as their sum; one of them may be below zero.
CREATE TABLE tallies (
  controller_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  campaign TEXT NOT NULL,
  name TEXT NOT NULL,
  worker TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (controller_id, stream, campaign, name, worker)
) STRICT, WITHOUT ROWID;

-- Who holds claimed copies. One lease per worker: renewing it costs one row, however many copies it holds.
CREATE TABLE workers (
  worker TEXT PRIMARY KEY,
  lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE staff (
  name TEXT PRIMARY KEY,
  password_hash TEXT NOT NULL,
  roles TEXT NOT NULL,
  controllers TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  signed_out_at INTEGER
) STRICT, WITHOUT ROWID;

-- Sign-ups: `asked` wait for their confirmation, seven days; `done` keep where they came from for as long as that may be
-- kept. trace: IP address, user agent and what is needed at the confirmation, sealed under the person's key.
CREATE TABLE sign_ups (
  controller_id TEXT NOT NULL,
  request_id BLOB NOT NULL,
  recipient_key BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('asked', 'done')),
  at INTEGER NOT NULL,
  trace BLOB NOT NULL,
  PRIMARY KEY (controller_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_ups_person ON sign_ups (controller_id, recipient_key);
CREATE INDEX sign_ups_age ON sign_ups (state, at);

-- How often somebody signed up, or from somewhere, in a window of time. name: a keyed hash.
CREATE TABLE sign_up_counts (
  controller_id TEXT NOT NULL,
  name BLOB NOT NULL,
  ends_at INTEGER NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (controller_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_up_counts_end ON sign_up_counts (ends_at);

-- Requests of the API that may come twice. name, digest: keyed hashes of the request's key and of its body.
CREATE TABLE said_once (
  controller_id TEXT NOT NULL,
  name BLOB NOT NULL,
  digest BLOB NOT NULL,
  consent_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX said_once_age ON said_once (at);

-- Keys of programs that call the API. digest: of the secret, which is kept nowhere. scopes: names, separated by blanks.
CREATE TABLE api_keys (
  controller_id TEXT NOT NULL,
  key_id BLOB NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  scopes TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at INTEGER,
  PRIMARY KEY (controller_id, key_id)
) STRICT, WITHOUT ROWID;

-- What people were shown when they agreed, once by its digest: SHA-256 of content, which is canonical JSON without
-- personal data. Consents carry a name; one name stands for one digest for ever. The ledger has an entry for each name.
CREATE TABLE wordings (
  controller_id TEXT NOT NULL,
  digest BLOB NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (controller_id, digest)
) STRICT;
CREATE TRIGGER wordings_kept BEFORE DELETE ON wordings
BEGIN SELECT RAISE(ABORT, 'wordings are kept'); END;
CREATE TRIGGER wordings_fixed BEFORE UPDATE ON wordings
BEGIN SELECT RAISE(ABORT, 'wordings are kept'); END;
CREATE TABLE wording_names (
  controller_id TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  first_at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, name)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER wording_names_kept BEFORE DELETE ON wording_names
BEGIN SELECT RAISE(ABORT, 'wordings are kept'); END;
CREATE TRIGGER wording_names_fixed BEFORE UPDATE ON wording_names
BEGIN SELECT RAISE(ABORT, 'wordings are kept'); END;

-- Files about lists of third parties, every version: who sold it, what both sides checked. content: sealed under the
-- controller's own key, since it names staff; the ledger has its digest.
CREATE TABLE sources (
  controller_id TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  content BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, name, version)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER sources_kept BEFORE DELETE ON sources
BEGIN SELECT RAISE(ABORT, 'files about lists are kept'); END;
CREATE TRIGGER sources_fixed BEFORE UPDATE ON sources
BEGIN SELECT RAISE(ABORT, 'files about lists are kept'); END;

-- What belongs to a person's consents besides: a scan, a recording, a screenshot, sealed under the person's key. The
-- ledger has the digest of what is stored, and says what it is. Rows go when the person is erased.
CREATE TABLE attachments (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  attachment_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (controller_id, recipient_key, attachment_id)
) STRICT;
CREATE UNIQUE INDEX attachments_id ON attachments (controller_id, attachment_id);

-- How good the proof of a whole list is, counted now and then; sealed under the controller's own key, since versions of
-- wordings are what somebody typed. entry_id: the newest ledger entry when counting began. due_at: not again before.
CREATE TABLE meters (
  controller_id TEXT NOT NULL PRIMARY KEY,
  due_at INTEGER NOT NULL,
  counted_at INTEGER,
  entry_id BLOB,
  content BLOB
) STRICT, WITHOUT ROWID;

-- Imports as wholes: what an entry's public field `import` names. form: how the file was laid out; digest: SHA-256 of it;
-- stated, counts: JSON without personal data. Without counts it was cut short, or is under way.
CREATE TABLE imports (
  controller_id TEXT NOT NULL,
  import_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  form TEXT NOT NULL,
  digest BLOB NOT NULL,
  by TEXT NOT NULL,
  stated TEXT NOT NULL,
  counts TEXT,
  undone_at INTEGER,
  PRIMARY KEY (controller_id, import_id)
) STRICT, WITHOUT ROWID;

-- People who must not be mailed by hash of their address. hash_key: the hash under a key of the installation. Rows are
-- never deleted; the ledger names each (kind 'hash_list'). The algorithms tell a look-up what to compute: mostly nothing.
CREATE TABLE hash_suppressions (
  controller_id TEXT NOT NULL,
  hash_key BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, hash_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE hash_algorithms (
  controller_id TEXT NOT NULL,
  algorithm TEXT NOT NULL CHECK (algorithm IN ('md5', 'sha256', 'sha512')),
  PRIMARY KEY (controller_id, algorithm)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER hash_suppressions_kept BEFORE DELETE ON hash_suppressions
BEGIN SELECT RAISE(ABORT, 'a hash is never taken off a list'); END;
CREATE TRIGGER hash_algorithms_kept BEFORE DELETE ON hash_algorithms
BEGIN SELECT RAISE(ABORT, 'a hash is never taken off a list'); END;

-- What other systems must still be told (write-back), one row for each that is to know, written with what it tells of.
-- ref: the suppression, where it is about one. content: what is told, sealed under the person's key, or with apart = 1
-- under a key of its own, for whoever was erased, 2 once that is gone; NULL once it was told. due_at is also the lease of
-- whoever holds it.
CREATE TABLE write_backs (
  controller_id TEXT NOT NULL,
  job_id BLOB NOT NULL,
  recipient_key BLOB NOT NULL,
  target TEXT NOT NULL,
  host TEXT NOT NULL,
  event TEXT NOT NULL,
  ref BLOB,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed', 'dropped')),
  at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  until INTEGER NOT NULL,
  worker TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  said TEXT NOT NULL DEFAULT '',
  ended_at INTEGER,
  apart INTEGER NOT NULL DEFAULT 0,
  content BLOB,
  PRIMARY KEY (controller_id, job_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX write_backs_due ON write_backs (host, due_at) WHERE state = 'waiting';
CREATE INDEX write_backs_held ON write_backs (worker) WHERE state = 'waiting' AND worker IS NOT NULL;
CREATE INDEX write_backs_person ON write_backs (controller_id, recipient_key, job_id);
CREATE INDEX write_backs_apart ON write_backs (controller_id, recipient_key) WHERE apart = 1;
CREATE INDEX write_backs_ended ON write_backs (ended_at, state, apart) WHERE state <> 'waiting';

-- The newsletter tool's own one-click address for a person, the newest for each stream and purpose; sealed under the
-- person's key. Rows go when the person is erased.
CREATE TABLE tool_links (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  stream TEXT NOT NULL,
  purpose TEXT NOT NULL,
  message_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  host TEXT NOT NULL,
  link BLOB NOT NULL,
  PRIMARY KEY (controller_id, recipient_key, stream, purpose)
) STRICT, WITHOUT ROWID;

-- What came back: reports, complaints, replies, refusals at hand-over; 24 months. digest: tells repeats, keyed. proven: it
-- carries an id or token of ours, or its source was authenticated. dead: it counts as one of the two reports that make an
-- address undeliverable; 0 again once the address is known to work. task: what a person has to do about it. content: sealed
-- under the person's key, else under the controller's own.
CREATE TABLE returns (
  controller_id TEXT NOT NULL,
  report_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  digest BLOB NOT NULL,
  kind TEXT NOT NULL,
  source TEXT NOT NULL,
  proven INTEGER NOT NULL,
  bounce_class TEXT NOT NULL,
  reason TEXT NOT NULL,
  status TEXT,
  dead INTEGER NOT NULL,
  task TEXT NOT NULL CHECK (task IN ('noted', 'open', 'proposed', 'objection', 'no_objection', 'done')),
  recipient_key BLOB,
  message_id BLOB,
  copy_no INTEGER,
  stream TEXT NOT NULL,
  campaign TEXT NOT NULL,
  content BLOB,
  PRIMARY KEY (controller_id, report_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX returns_digest ON returns (controller_id, digest);
CREATE INDEX returns_person ON returns (controller_id, recipient_key, report_id) WHERE recipient_key IS NOT NULL;
CREATE INDEX returns_waiting ON returns (controller_id, report_id) WHERE task IN ('open', 'proposed');

-- Campaigns that were stopped since too many people complained about them (RULES.md 5.4), and let go on by somebody.
CREATE TABLE campaign_stops (
  controller_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  campaign TEXT NOT NULL,
  at INTEGER NOT NULL,
  complaints INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  released_at INTEGER,
  PRIMARY KEY (controller_id, stream, campaign)
) STRICT, WITHOUT ROWID;

-- Letters that are owed, written in the transaction of the act that asks for them. letter_id: of an acknowledgment, that of
-- the opt-out. about: JSON without personal data. settled_at: written, or found not to be owed, as written_at says.
CREATE TABLE letters (
  controller_id TEXT NOT NULL,
  letter_id BLOB NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('stopped', 'restriction_ends', 'obtained')),
  recipient_key BLOB NOT NULL,
  due_at INTEGER NOT NULL,
  about TEXT NOT NULL,
  written_at INTEGER,
  settled_at INTEGER,
  PRIMARY KEY (controller_id, letter_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX letters_due ON letters (due_at) WHERE settled_at IS NULL;
CREATE INDEX letters_person ON letters (controller_id, recipient_key);
CREATE INDEX letters_settled ON letters (settled_at) WHERE settled_at IS NOT NULL;

-- What came of looking at our own mail again: signatures of a sample (name: SELECTOR._domainkey.DOMAIN) and loop checks
-- (name: a stream). why: of the last one that failed. Nothing of a person.
CREATE TABLE mail_checks (
  controller_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('signature', 'loop')),
  name TEXT NOT NULL,
  checked INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  failed_at INTEGER,
  why TEXT NOT NULL,
  PRIMARY KEY (controller_id, kind, name)
) STRICT, WITHOUT ROWID;

-- Mail of service streams that looks like advertising and waits for somebody to say what it is; its copies are held.
-- skeleton, likeness: by which mail like it is known, as in messages.kind; signs: JSON, nothing of the message itself.
CREATE TABLE questions (
  controller_id TEXT NOT NULL,
  message_id BLOB NOT NULL,
  stream TEXT NOT NULL,
  skeleton TEXT NOT NULL,
  likeness TEXT NOT NULL,
  signs TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX questions_expiry ON questions (expires_at);
CREATE INDEX ledger_mail_rulings ON ledger (controller_id, entry_id) WHERE kind = 'mail_ruling';

-- Who got the same text of a service stream in one window: a bitmap of 1024 bits over keyed hashes of addresses, from
-- which nobody can be read. skeleton: a keyed hash of the text. Two windows are kept.
CREATE TABLE seen_texts (
  controller_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  skeleton BLOB NOT NULL,
  slot INTEGER NOT NULL,
  people BLOB NOT NULL,
  PRIMARY KEY (controller_id, stream, skeleton, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_texts_slot ON seen_texts (slot);

-- Where providers tell of mail they took. name: digest of the id in the URL. sealed: that id and what proves the
-- provider, wrapped under the installation key.
CREATE TABLE hooks (
  controller_id TEXT NOT NULL,
  hook_id BLOB NOT NULL,
  provider TEXT NOT NULL CHECK (provider IN ('ses', 'sendgrid', 'mailgun', 'postmark', 'postal')),
  name BLOB NOT NULL UNIQUE,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  last_at INTEGER,
  revoked_at INTEGER,
  PRIMARY KEY (controller_id, hook_id)
) STRICT, WITHOUT ROWID;

-- Tokens whose signature does not cover what they came with (Mailgun): each is good for one content. name: keyed hash.
CREATE TABLE hook_tokens (
  controller_id TEXT NOT NULL,
  hook_id BLOB NOT NULL,
  name BLOB NOT NULL,
  digest BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, hook_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX hook_tokens_age ON hook_tokens (at);

-- Rates that hold over all workers and nodes: up to where (microseconds) turns of a pace are taken. name: a keyed hash of the
-- route and, where it is one domain's pace, of the domain.
CREATE TABLE paces (
  name BLOB NOT NULL PRIMARY KEY,
  taken_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX paces_age ON paces (taken_until);

-- Smarthosts that could not be used when last asked: since when, at which stage of getting ready, what they said. The row goes
-- when one is well again. Nothing of a person.
CREATE TABLE host_faults (
  route TEXT NOT NULL,
  host TEXT NOT NULL,
  stage TEXT NOT NULL,
  code INTEGER,
  said TEXT NOT NULL,
  since INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  PRIMARY KEY (route, host)
) STRICT, WITHOUT ROWID;

-- Mail that an operator stopped. stream, campaign: '' for every one. Who did it and why: entries of the ledger.
CREATE TABLE holds (
  controller_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  campaign TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (controller_id, stream, campaign)
) STRICT, WITHOUT ROWID;

-- How many copies wait or are on their way (queued, claimed), and how many are held, so that nobody has to count them. Each
-- worker adds to rows of its own, so that none waits for another; only sums over them mean anything.
CREATE TABLE depths (
  controller_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  route TEXT NOT NULL,
  worker TEXT NOT NULL,
  waiting INTEGER NOT NULL,
  held INTEGER NOT NULL,
  PRIMARY KEY (controller_id, stream, route, worker)
) STRICT, WITHOUT ROWID;

-- What recipients' domains ask for by MTA-STS (RFC 8461), until it ends. name: a keyed hash of the domain; sealed: the policy,
-- wrapped under the installation key.
CREATE TABLE sts_policies (
  name BLOB NOT NULL PRIMARY KEY,
  sealed BLOB NOT NULL,
  fetched_at INTEGER NOT NULL,
  ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sts_policies_end ON sts_policies (ends_at);
CREATE INDEX sts_policies_age ON sts_policies (fetched_at);

INSERT INTO meta (name, value) VALUES ('schema', '3');
