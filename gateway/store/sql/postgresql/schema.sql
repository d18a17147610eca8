-- What PostgreSQL needs besides the tables, which are made from ../schema.sql.

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;

-- Fields of an entry of the ledger; NULL where it is no JSON, which is the chain's business.
CREATE FUNCTION fields(public text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN RETURN public::jsonb; EXCEPTION WHEN others THEN RETURN NULL; END $$;

-- AFTER THE TABLES

CREATE TRIGGER ledger_whole BEFORE TRUNCATE ON ledger EXECUTE FUNCTION refuse('the ledger is append-only');
CREATE TRIGGER heads_whole BEFORE TRUNCATE ON heads EXECUTE FUNCTION refuse('heads are kept');
CREATE TRIGGER wordings_whole BEFORE TRUNCATE ON wordings EXECUTE FUNCTION refuse('wordings are kept');
CREATE TRIGGER wording_names_whole BEFORE TRUNCATE ON wording_names EXECUTE FUNCTION refuse('wordings are kept');
CREATE TRIGGER sources_whole BEFORE TRUNCATE ON sources EXECUTE FUNCTION refuse('files about lists are kept');
CREATE TRIGGER hash_suppressions_whole BEFORE TRUNCATE ON hash_suppressions
  EXECUTE FUNCTION refuse('a hash is never taken off a list');
CREATE TRIGGER hash_algorithms_whole BEFORE TRUNCATE ON hash_algorithms
  EXECUTE FUNCTION refuse('a hash is never taken off a list');

-- What is sealed does not get shorter: no time is spent on trying.
ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE attachments ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE messages ALTER COLUMN envelope SET STORAGE EXTERNAL;
ALTER TABLE standing ALTER COLUMN facts SET STORAGE EXTERNAL;
ALTER TABLE ledger ALTER COLUMN private SET STORAGE EXTERNAL;
