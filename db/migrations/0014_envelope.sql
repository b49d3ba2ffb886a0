-- Secrets: sealed by data keys, which are wrapped by a key that is not in the database.

CREATE TABLE envelope (
	one        BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	wrapper    TEXT NOT NULL,   -- id of the key that wraps what is wrapped from now on
	changed_at BIGINT NOT NULL, -- when it became that
	wiped_at   BIGINT NOT NULL  -- when the traces of secrets from before were wiped
);

CREATE TABLE data_key (
	id         TEXT NOT NULL PRIMARY KEY,
	purpose    TEXT NOT NULL,   -- TABLE.COLUMN
	wrapper    TEXT NOT NULL,   -- id of the key that wraps it
	wrapped    BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX data_key_purpose ON data_key (purpose);

-- Under another name, so that an older program that still runs can write no secret.
ALTER TABLE signing_key RENAME COLUMN private TO sealed;

ALTER TABLE authority RENAME COLUMN private TO sealed;
