-- name: wording_name(controller_id, name)^
SELECT digest FROM wording_names WHERE controller_id = :controller_id AND name = :name;

-- name: add_wording(controller_id, digest, content)!
INSERT INTO wordings (controller_id, digest, content) VALUES (:controller_id, :digest, :content)
ON CONFLICT (controller_id, digest) DO NOTHING;

-- name: add_wording_name(controller_id, name, digest, first_at)!
INSERT INTO wording_names (controller_id, name, digest, first_at)
VALUES (:controller_id, :name, :digest, :first_at);

-- name: wording_by_name(controller_id, name)^
SELECT n.name, n.digest, w.content, n.first_at FROM wording_names n
JOIN wordings w ON w.controller_id = n.controller_id AND w.digest = n.digest
WHERE n.controller_id = :controller_id AND n.name = :name;

-- name: wording_by_digest(controller_id, digest)^
-- Under the first of its names.
SELECT n.name, n.digest, w.content, n.first_at FROM wordings w
JOIN wording_names n ON n.controller_id = w.controller_id AND n.digest = w.digest
WHERE w.controller_id = :controller_id AND w.digest = :digest ORDER BY n.first_at, n.name LIMIT 1;

-- name: wordings(controller_id, after, n)
SELECT n.name, n.digest, w.content, n.first_at FROM wording_names n
JOIN wordings w ON w.controller_id = n.controller_id AND w.digest = n.digest
WHERE n.controller_id = :controller_id AND n.name > :after ORDER BY n.name LIMIT :n;

-- name: entries_about_material(controller_id, after, n)
-- Entries that hold the digest of a piece, by the index ledger_kept.
SELECT entry_id, seq, at, kind, subject, public FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND entry_id > :after
ORDER BY entry_id LIMIT :n;

-- name: wording_rows(controller_id, name)^
-- A name and what it stands for, be it damaged. Outer join: the content may be gone.
SELECT n.digest, n.first_at, w.content FROM wording_names n
LEFT JOIN wordings w ON w.controller_id = n.controller_id AND w.digest = n.digest
WHERE n.controller_id = :controller_id AND n.name = :name;

-- name: wording_names(controller_id)
SELECT name FROM wording_names WHERE controller_id = :controller_id;

-- name: wordings_in_ledger(controller_id)
SELECT json_extract(public, '$.name') FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'wording'
  AND json_valid(public);

-- name: nameless_wordings(controller_id)
SELECT w.digest FROM wordings w WHERE w.controller_id = :controller_id AND NOT EXISTS (
  SELECT 1 FROM wording_names n WHERE n.controller_id = w.controller_id AND n.digest = w.digest
);

-- name: standings_after(controller_id, after, n)
-- People's standings, by recipient key.
SELECT recipient_key, facts FROM standing WHERE controller_id = :controller_id AND recipient_key > :after
ORDER BY recipient_key LIMIT :n;

-- name: meter(controller_id)^
SELECT due_at, counted_at, entry_id, content FROM meters WHERE controller_id = :controller_id;

-- name: put_off_meter(controller_id, due_at)!
INSERT INTO meters (controller_id, due_at) VALUES (:controller_id, :due_at)
ON CONFLICT (controller_id) DO UPDATE SET due_at = excluded.due_at;

-- name: put_meter(controller_id, due_at, counted_at, entry_id, content)!
INSERT INTO meters (controller_id, due_at, counted_at, entry_id, content)
VALUES (:controller_id, :due_at, :counted_at, :entry_id, :content)
ON CONFLICT (controller_id) DO UPDATE SET due_at = excluded.due_at, counted_at = excluded.counted_at,
  entry_id = excluded.entry_id, content = excluded.content;

-- name: newest_source(controller_id, name)^
SELECT max(version) FROM sources WHERE controller_id = :controller_id AND name = :name;

-- name: add_source(controller_id, name, version, content, at)!
INSERT INTO sources (controller_id, name, version, content, at)
VALUES (:controller_id, :name, :version, :content, :at);

-- name: newest_sources(controller_id)
SELECT name, version, content, at FROM sources s WHERE controller_id = :controller_id AND version = (
  SELECT max(version) FROM sources n WHERE n.controller_id = s.controller_id AND n.name = s.name
) ORDER BY name;

-- name: versions_of_source(controller_id, name)
SELECT name, version, content, at FROM sources WHERE controller_id = :controller_id AND name = :name
ORDER BY version DESC;

-- name: source(controller_id, name, version)^
SELECT content, at FROM sources WHERE controller_id = :controller_id AND name = :name AND version = :version;

-- name: all_sources(controller_id)
SELECT name, version FROM sources WHERE controller_id = :controller_id;

-- name: sources_in_ledger(controller_id)
SELECT json_extract(public, '$.name'), json_extract(public, '$.version') FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'source'
  AND json_valid(public);

-- name: add_attachment(controller_id, recipient_key, attachment_id, at, content)!
INSERT INTO attachments (controller_id, recipient_key, attachment_id, at, content)
VALUES (:controller_id, :recipient_key, :attachment_id, :at, :content);

-- name: attachment(controller_id, attachment_id)^
SELECT recipient_key, at, content FROM attachments
WHERE controller_id = :controller_id AND attachment_id = :attachment_id;

-- name: all_attachments(controller_id)
SELECT attachment_id FROM attachments INDEXED BY attachments_id WHERE controller_id = :controller_id;

-- name: attachments_in_ledger(controller_id)
SELECT json_extract(public, '$.attachment') FROM ledger INDEXED BY ledger_kept
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'evidence'
  AND json_valid(public);
