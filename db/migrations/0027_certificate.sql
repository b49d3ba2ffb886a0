-- What an ACME client keeps: its account's key, certificates with their keys, and
-- the answers to challenges, so that all processes have them.
CREATE TABLE certificate (
	id         TEXT NOT NULL PRIMARY KEY,
	sealed     BYTEA NOT NULL,
	changed_at BIGINT NOT NULL
);
