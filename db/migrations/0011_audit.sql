-- What happened. An entry is written to the inbox by the transaction that it
-- tells of, and moved to the log by the sealer, which gives it its place in a chain.
CREATE TABLE audit_inbox (
	id    TEXT NOT NULL PRIMARY KEY, -- sorts by time
	chain TEXT NOT NULL,             -- a tenant's name, or '' for what belongs to the exchange
	body  TEXT NOT NULL
);

CREATE TABLE audit_log (
	chain     TEXT NOT NULL,
	seq       BIGINT NOT NULL, -- from 1, without gaps
	hash      TEXT NOT NULL,   -- of all before it and itself, in hex
	body      TEXT NOT NULL,   -- the entry, as hashed; the columns below are copies from it
	at        BIGINT NOT NULL,
	region    TEXT NOT NULL,
	workspace TEXT NOT NULL,
	actor     TEXT NOT NULL,
	resource  TEXT NOT NULL,
	PRIMARY KEY (chain, seq)
);

CREATE INDEX audit_log_at ON audit_log (chain, at, seq);
CREATE INDEX audit_log_place ON audit_log (chain, workspace, region, seq);

-- Where each chain begins, as entries past their time are removed, and ends.
CREATE TABLE audit_chain (
	chain     TEXT NOT NULL PRIMARY KEY,
	seq       BIGINT NOT NULL, -- of the last entry
	hash      TEXT NOT NULL,
	base_seq  BIGINT NOT NULL, -- of the last entry that was removed; 0 if none was
	base_hash TEXT NOT NULL
);
