-- Buying by rule: what is decided and on what grounds, what is promised, what is bought.

CREATE TABLE decision_key (
	id         TEXT NOT NULL PRIMARY KEY,
	sealed     BYTEA NOT NULL, -- the private half, see envelope
	public     BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);

-- Digests of decisions name policies, so that no version is ever removed.
CREATE TABLE policy (
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	version    BIGINT NOT NULL,
	body       BYTEA NOT NULL, -- JSON, to the byte
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, name, version)
);

-- What decisions depend on, each piece once. Bodies are deflated.
CREATE TABLE decision_input (
	kind   TEXT NOT NULL, -- data, profile, market or request
	digest TEXT NOT NULL, -- SHA-256 in hexadecimal
	body   BYTEA NOT NULL,
	PRIMARY KEY (kind, digest)
);

CREATE TABLE decision (
	id         TEXT NOT NULL PRIMARY KEY,
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	record     BYTEA NOT NULL, -- deflated
	key        TEXT NOT NULL,  -- by which it is signed
	signature  BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE INDEX decision_tenant ON decision (tenant, id);

CREATE TABLE quote (
	id          TEXT NOT NULL PRIMARY KEY,
	tenant      TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	decision    TEXT NOT NULL REFERENCES decision (id) ON DELETE CASCADE,
	terms       JSONB NOT NULL, -- where, and what it costs
	documents   JSONB,
	created_at  BIGINT NOT NULL,
	valid_until BIGINT NOT NULL,
	ordered     TEXT NOT NULL   -- id of the order; empty if there is none
);

CREATE INDEX quote_tenant ON quote (tenant, id);

-- "order" is a word of SQL.
CREATE TABLE purchase (
	id         TEXT NOT NULL PRIMARY KEY,
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	quote      TEXT NOT NULL UNIQUE REFERENCES quote (id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	ended_at   BIGINT NOT NULL
);

CREATE INDEX purchase_tenant ON purchase (tenant, id);

-- What is promised of a region's capacity and not yet in its agent's own figures.
CREATE TABLE reservation (
	quote  TEXT NOT NULL REFERENCES quote (id) ON DELETE CASCADE,
	region TEXT NOT NULL REFERENCES region (name) ON DELETE CASCADE,
	vcpu   BIGINT NOT NULL,
	ram    BIGINT NOT NULL, -- GiB
	disk   BIGINT NOT NULL, -- GiB
	ips    BIGINT NOT NULL,
	until  BIGINT NOT NULL, -- 0: it is ordered
	PRIMARY KEY (quote, region)
);

CREATE INDEX reservation_region ON reservation (region, until);

-- One row a region: who promises some of it holds the row.
CREATE TABLE promise (
	region TEXT NOT NULL PRIMARY KEY REFERENCES region (name) ON DELETE CASCADE,
	count  BIGINT NOT NULL
);

-- What runs out of policy, gets dearer or has lost its region.
CREATE TABLE drift (
	tenant   TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	subject  TEXT NOT NULL, -- orders/ID or workspaces/NAME
	since    BIGINT NOT NULL,
	seen_at  BIGINT NOT NULL,
	body     JSONB NOT NULL, -- reasons and the plan
	PRIMARY KEY (tenant, subject)
);
