-- The keys database: secrets wrapped under the installation key. Deleting a row destroys what it sealed; the table is
-- then written anew (PostgresKeysConnection.emptied), since a deleted row stays in its page for long.
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
