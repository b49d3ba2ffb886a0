-- Work that the exchange does by itself, now and then.
CREATE TABLE job (
	name     TEXT NOT NULL PRIMARY KEY,
	began_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL,
	error    TEXT NOT NULL, -- of the last run; empty if it went well
	failures BIGINT NOT NULL -- runs in a row that failed
);
