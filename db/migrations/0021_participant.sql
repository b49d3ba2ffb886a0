-- With whom: the organisations that take part, what is claimed of them, and the
-- prices that they sign.

CREATE TABLE participant (
	name        TEXT NOT NULL PRIMARY KEY,
	profile     JSONB NOT NULL, -- as it applied
	state       TEXT NOT NULL,
	applied_at  BIGINT NOT NULL,
	approved_at BIGINT NOT NULL
);

CREATE INDEX participant_state ON participant (state, applied_at);

-- Which accounts act for it.
CREATE TABLE participant_member (
	participant TEXT NOT NULL REFERENCES participant (name) ON DELETE CASCADE,
	account     TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	PRIMARY KEY (participant, account)
);

CREATE INDEX participant_member_account ON participant_member (account);

CREATE TABLE participant_key (
	id          TEXT NOT NULL PRIMARY KEY, -- of nobody else, ever
	participant TEXT NOT NULL REFERENCES participant (name) ON DELETE CASCADE,
	public      BYTEA NOT NULL,
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT NOT NULL
);

CREATE INDEX participant_key_participant ON participant_key (participant);

-- What is said of it, and how that is known. Nothing is removed: who decided by a
-- claim can look it up.
CREATE TABLE claim (
	id           TEXT NOT NULL PRIMARY KEY,
	participant  TEXT NOT NULL REFERENCES participant (name) ON DELETE CASCADE,
	body         TEXT NOT NULL, -- JSON, as its author wrote it
	source       TEXT NOT NULL,
	by_account   TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	withdrawn_at BIGINT NOT NULL
);

CREATE INDEX claim_participant ON claim (participant, created_at, id);

-- Prices. A row never changes: the signature in the body would tell.
CREATE TABLE price_sheet (
	provider     TEXT NOT NULL REFERENCES participant (name),
	version      BIGINT NOT NULL,
	body         TEXT NOT NULL, -- JSON, with the signature
	digest       TEXT NOT NULL,
	key          TEXT NOT NULL,
	published_at BIGINT NOT NULL,
	PRIMARY KEY (provider, version)
);

-- Grows with whatever decides where something can be bought.
CREATE TABLE participant_change (
	one     BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	changes BIGINT NOT NULL
);

-- Proofs that are good once, until they would be worthless anyway.
CREATE TABLE spent (
	id         TEXT NOT NULL PRIMARY KEY,
	expires_at BIGINT NOT NULL
);

-- Whose region it is; '' for one of the operator's own.
ALTER TABLE region ADD COLUMN provider TEXT NOT NULL DEFAULT '';
