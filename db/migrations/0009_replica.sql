-- Several processes serve one exchange.

-- Grows with whatever processes keep in memory of regions and agents.
ALTER TABLE exchange ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;

-- What an agent answered to one process and another one waits for.
CREATE TABLE answer (
	id         TEXT NOT NULL PRIMARY KEY,
	region     TEXT NOT NULL,
	body       BYTEA NOT NULL,
	error      TEXT NOT NULL,
	kind       TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
