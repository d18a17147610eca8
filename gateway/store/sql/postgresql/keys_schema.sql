-- The keys database: secrets wrapped under the installation key. Deleting a row destroys what it sealed; the table is
-- then written anew (PostgresKeysConnection.emptied), since a deleted row stays in its page for long. Not in partitions,
-- of which one alone would be written anew: looking up sixty keys then takes ten times as long.
CREATE TABLE person_keys (
  controller_id TEXT COLLATE "C" NOT NULL,
  recipient_key BYTEA NOT NULL,
  wrapped BYTEA NOT NULL,
  PRIMARY KEY (controller_id, recipient_key)
);

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

CREATE TRIGGER person_keys_destroyed AFTER DELETE ON person_keys EXECUTE FUNCTION note_destroyed();
CREATE TRIGGER spool_keys_destroyed AFTER DELETE ON spool_keys EXECUTE FUNCTION note_destroyed();
