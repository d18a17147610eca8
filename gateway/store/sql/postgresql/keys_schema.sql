-- The keys database: secrets wrapped under the installation key. Deleting a row destroys what it sealed; but the row stays
-- in its page for long, until the table is written anew. For the small ones that is done at once
-- (PostgresKeysConnection.emptied). That of persons is not small: each secret is sealed once more under the key of a box,
-- and whoever is erased leaves a box whose key has to go (boxes.py).
CREATE TABLE person_keys (
  controller_id TEXT COLLATE "C" NOT NULL,
  recipient_key BYTEA NOT NULL,
  wrapped BYTEA NOT NULL,
  box BYTEA NOT NULL GENERATED ALWAYS AS (substring(wrapped FROM 1 FOR 8)) STORED,
  PRIMARY KEY (controller_id, recipient_key)
);

CREATE TABLE boxes (
  box BYTEA PRIMARY KEY,
  wrapped BYTEA NOT NULL
);

CREATE INDEX person_keys_by_box ON person_keys (box);

ALTER TABLE person_keys ADD FOREIGN KEY (box) REFERENCES boxes;

-- Boxes out of which a row was deleted that may still be on the disk.
CREATE TABLE broken_boxes (
  box BYTEA PRIMARY KEY
);

CREATE FUNCTION note_broken() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO broken_boxes SELECT DISTINCT box FROM gone ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;

CREATE TRIGGER person_keys_broken AFTER DELETE ON person_keys REFERENCING OLD TABLE AS gone
  EXECUTE FUNCTION note_broken();

CREATE TABLE spool_keys (
  hour BIGINT PRIMARY KEY,
  wrapped BYTEA NOT NULL
);

-- Tables of which rows were deleted that may still be on the disk, and in which file: one written anew has another.
CREATE TABLE destroyed (
  name TEXT COLLATE "C" PRIMARY KEY,
  file BIGINT NOT NULL
);

CREATE FUNCTION note_destroyed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO destroyed (name, file) VALUES (TG_TABLE_NAME, pg_relation_filenode(TG_RELID))
  ON CONFLICT (name) DO UPDATE SET file = excluded.file;
  RETURN NULL;
END $$;

CREATE TRIGGER boxes_destroyed AFTER DELETE ON boxes EXECUTE FUNCTION note_destroyed();
CREATE TRIGGER spool_keys_destroyed AFTER DELETE ON spool_keys EXECUTE FUNCTION note_destroyed();
