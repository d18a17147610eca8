-- The keys database: secrets wrapped under the installation key. Deleting a row destroys what it sealed.
CREATE TABLE person_keys (
  controller_id TEXT NOT NULL,
  recipient_key BLOB NOT NULL,
  wrapped BLOB NOT NULL,
  PRIMARY KEY (controller_id, recipient_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE spool_keys (
  hour INTEGER PRIMARY KEY,
  wrapped BLOB NOT NULL
) STRICT;
