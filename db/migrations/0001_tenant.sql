-- Who: tenants, accounts, tokens. Times are microseconds since 1970, 0 for never.

CREATE TABLE tenant (
	name       TEXT NOT NULL PRIMARY KEY,
	display    TEXT NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE account (
	id         TEXT NOT NULL PRIMARY KEY,
	display    TEXT NOT NULL,
	operator   BOOLEAN NOT NULL,
	disabled   BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE membership (
	tenant  TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	account TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	PRIMARY KEY (tenant, account)
);

CREATE INDEX membership_account ON membership (account);

CREATE TABLE token (
	id         TEXT NOT NULL PRIMARY KEY,
	account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	hash       BYTEA NOT NULL,
	scope      JSONB NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);

CREATE INDEX token_account ON token (account);

CREATE TABLE signing_key (
	id         TEXT NOT NULL PRIMARY KEY,
	private    BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);
