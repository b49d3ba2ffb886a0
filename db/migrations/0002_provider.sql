-- Where: the exchange itself, its regions and their agents.

CREATE TABLE exchange (
	id         TEXT NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL,
	regions    BIGINT NOT NULL, -- how many there have ever been: the last position
	one        BIGINT NOT NULL UNIQUE CHECK (one = 1)
);

CREATE TABLE authority (
	id          TEXT NOT NULL PRIMARY KEY,
	private     BYTEA NOT NULL,
	certificate BYTEA NOT NULL,
	created_at  BIGINT NOT NULL
);

CREATE TABLE region (
	name         TEXT NOT NULL PRIMARY KEY,
	position     BIGINT NOT NULL UNIQUE,
	kind         TEXT NOT NULL,
	display      TEXT NOT NULL,
	country      TEXT NOT NULL,
	city         TEXT NOT NULL,
	driver       TEXT NOT NULL,
	labels       JSONB NOT NULL,
	annotations  JSONB NOT NULL,
	created_at   BIGINT NOT NULL,
	inventory    JSONB NOT NULL,
	inventory_at BIGINT NOT NULL
);

CREATE TABLE enrolment (
	id         TEXT NOT NULL PRIMARY KEY,
	region     TEXT NOT NULL REFERENCES region (name) ON DELETE CASCADE,
	hash       BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL,
	used_key   BYTEA
);

CREATE TABLE agent (
	serial      TEXT NOT NULL PRIMARY KEY,
	region      TEXT NOT NULL REFERENCES region (name) ON DELETE CASCADE,
	key_hash    BYTEA NOT NULL,
	enrolled_at BIGINT NOT NULL,
	not_after   BIGINT NOT NULL,
	revoked_at  BIGINT NOT NULL
);

CREATE INDEX agent_region ON agent (region);

CREATE TABLE orphan (
	region      TEXT NOT NULL REFERENCES region (name) ON DELETE CASCADE,
	id          TEXT NOT NULL,
	kind        TEXT NOT NULL,
	name        TEXT NOT NULL,
	native      TEXT NOT NULL,
	first_seen  BIGINT NOT NULL,
	last_seen   BIGINT NOT NULL,
	approved_at BIGINT NOT NULL,
	PRIMARY KEY (region, id)
);
