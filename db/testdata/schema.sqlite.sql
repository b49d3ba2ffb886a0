CREATE TABLE account (
	id         TEXT NOT NULL PRIMARY KEY,
	display    TEXT NOT NULL,
	operator   BOOLEAN NOT NULL,
	disabled   BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL
, owner TEXT REFERENCES tenant (name) ON DELETE CASCADE);
CREATE INDEX account_owner ON account (owner);
CREATE TABLE agent (
	serial      TEXT NOT NULL PRIMARY KEY,
	region      TEXT NOT NULL REFERENCES region (name) ON DELETE CASCADE,
	key_hash    BYTEA NOT NULL,
	enrolled_at BIGINT NOT NULL,
	not_after   BIGINT NOT NULL,
	revoked_at  BIGINT NOT NULL
);
CREATE INDEX agent_region ON agent (region);
CREATE TABLE answer (
	id         TEXT NOT NULL PRIMARY KEY,
	region     TEXT NOT NULL,
	body       BYTEA NOT NULL,
	error      TEXT NOT NULL,
	kind       TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE TABLE audit_chain (
	chain     TEXT NOT NULL PRIMARY KEY,
	seq       BIGINT NOT NULL, -- of the last entry
	hash      TEXT NOT NULL,
	base_seq  BIGINT NOT NULL, -- of the last entry that was removed; 0 if none was
	base_hash TEXT NOT NULL
);
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
CREATE TABLE authority (
	id          TEXT NOT NULL PRIMARY KEY,
	sealed     BYTEA NOT NULL,
	certificate BYTEA NOT NULL,
	created_at  BIGINT NOT NULL
);
CREATE TABLE certificate (
	id         TEXT NOT NULL PRIMARY KEY,
	sealed     BYTEA NOT NULL,
	changed_at BIGINT NOT NULL
);
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
CREATE TABLE data_key (
	id         TEXT NOT NULL PRIMARY KEY,
	purpose    TEXT NOT NULL,   -- TABLE.COLUMN
	wrapper    TEXT NOT NULL,   -- id of the key that wraps it
	wrapped    BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX data_key_purpose ON data_key (purpose);
CREATE TABLE decision (
	id         TEXT NOT NULL PRIMARY KEY,
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	record     BYTEA NOT NULL, -- deflated
	key        TEXT NOT NULL,  -- by which it is signed
	signature  BYTEA NOT NULL,
	created_at BIGINT NOT NULL
, request TEXT, stands JSONB, market TEXT);
CREATE INDEX decision_market ON decision (market);
CREATE INDEX decision_moment ON decision (created_at, id);
CREATE INDEX decision_request ON decision (request);
CREATE INDEX decision_tenant ON decision (tenant, id);
CREATE TABLE decision_input (
	kind   TEXT NOT NULL, -- data, profile, market or request
	digest TEXT NOT NULL, -- SHA-256 in hexadecimal
	body   BYTEA NOT NULL, unused_at BIGINT,
	PRIMARY KEY (kind, digest)
);
CREATE INDEX decision_input_unused ON decision_input (unused_at) WHERE unused_at IS NOT NULL;
CREATE TABLE decision_key (
	id         TEXT NOT NULL PRIMARY KEY,
	sealed     BYTEA NOT NULL, -- the private half, see envelope
	public     BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE TABLE drift (
	tenant   TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	subject  TEXT NOT NULL, -- orders/ID or workspaces/NAME
	since    BIGINT NOT NULL,
	seen_at  BIGINT NOT NULL,
	body     JSONB NOT NULL, -- reasons and the plan
	PRIMARY KEY (tenant, subject)
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
CREATE TABLE envelope (
	one        BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	wrapper    TEXT NOT NULL,   -- id of the key that wraps what is wrapped from now on
	changed_at BIGINT NOT NULL, -- when it became that
	wiped_at   BIGINT NOT NULL  -- when the traces of secrets from before were wiped
);
CREATE TABLE exchange (
	id         TEXT NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL,
	regions    BIGINT NOT NULL, -- how many there have ever been: the last position
	one        BIGINT NOT NULL UNIQUE CHECK (one = 1)
, epoch TEXT NOT NULL DEFAULT '', changes BIGINT NOT NULL DEFAULT 0);
CREATE TABLE feed (
    region   TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);
CREATE TABLE identity (
	issuer     TEXT NOT NULL,
	subject    TEXT NOT NULL,
	account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (issuer, subject)
);
CREATE INDEX identity_account ON identity (account);
CREATE TABLE job (
	name     TEXT NOT NULL PRIMARY KEY,
	began_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL,
	error    TEXT NOT NULL, -- of the last run; empty if it went well
	failures BIGINT NOT NULL -- runs in a row that failed
);
CREATE TABLE label (
    id     TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    kind   TEXT NOT NULL,
    urn    TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (id, key)
);
CREATE INDEX label_key ON label (region, kind, key, urn, id);
CREATE INDEX label_value ON label (region, kind, key, value, urn, id);
CREATE TABLE membership (
	tenant  TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	account TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	PRIMARY KEY (tenant, account)
);
CREATE INDEX membership_account ON membership (account);
CREATE TABLE migration (
		number BIGINT NOT NULL PRIMARY KEY,
		name TEXT NOT NULL,
		applied_at BIGINT NOT NULL,
		digest TEXT NOT NULL);
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
CREATE TABLE participant (
	name        TEXT NOT NULL PRIMARY KEY,
	profile     JSONB NOT NULL, -- as it applied
	state       TEXT NOT NULL,
	applied_at  BIGINT NOT NULL,
	approved_at BIGINT NOT NULL
);
CREATE INDEX participant_state ON participant (state, applied_at);
CREATE TABLE participant_change (
	one     BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	changes BIGINT NOT NULL
);
CREATE TABLE participant_key (
	id          TEXT NOT NULL PRIMARY KEY, -- of nobody else, ever
	participant TEXT NOT NULL REFERENCES participant (name) ON DELETE CASCADE,
	public      BYTEA NOT NULL,
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT NOT NULL
);
CREATE INDEX participant_key_participant ON participant_key (participant);
CREATE TABLE participant_member (
	participant TEXT NOT NULL REFERENCES participant (name) ON DELETE CASCADE,
	account     TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	PRIMARY KEY (participant, account)
);
CREATE INDEX participant_member_account ON participant_member (account);
CREATE TABLE policy (
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	version    BIGINT NOT NULL,
	body       BYTEA NOT NULL, -- JSON, to the byte
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, name, version)
);
CREATE TABLE price_sheet (
	provider     TEXT NOT NULL REFERENCES participant (name),
	version      BIGINT NOT NULL,
	body         TEXT NOT NULL, -- JSON, with the signature
	digest       TEXT NOT NULL,
	key          TEXT NOT NULL,
	published_at BIGINT NOT NULL,
	PRIMARY KEY (provider, version)
);
CREATE TABLE promise (
	region TEXT NOT NULL PRIMARY KEY REFERENCES region (name) ON DELETE CASCADE,
	count  BIGINT NOT NULL
);
CREATE TABLE purchase (
	id         TEXT NOT NULL PRIMARY KEY,
	tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
	quote      TEXT NOT NULL UNIQUE REFERENCES quote (id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	ended_at   BIGINT NOT NULL
, settled_at BIGINT NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '');
CREATE INDEX purchase_tenant ON purchase (tenant, id);
CREATE TABLE quota (
    tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
    meter      TEXT NOT NULL,
    most       BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, meter)
);
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
CREATE INDEX quote_decision ON quote (decision);
CREATE INDEX quote_tenant ON quote (tenant, id);
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
, provider TEXT NOT NULL DEFAULT '');
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
CREATE TABLE resource (
    id              TEXT PRIMARY KEY,
    region          TEXT NOT NULL,
    urn             TEXT NOT NULL,
    kind            TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    workspace       TEXT NOT NULL,
    labels          TEXT,
    annotations     TEXT,
    extensions      TEXT,
    spec            TEXT NOT NULL,          -- as its author wrote it
    wanted          TEXT NOT NULL,          -- with references resolved and choices made
    sku             TEXT,                   -- the size, as the region described it at creation
    power           TEXT NOT NULL,
    restarts        BIGINT NOT NULL,
    status          TEXT,                   -- the fields of the kind
    state           TEXT NOT NULL,
    conditions      TEXT NOT NULL,
    observed        TEXT NOT NULL,
    version         BIGINT NOT NULL,        -- grows with every change
    generation      BIGINT NOT NULL,        -- grows with every change of what is wanted
    revision        BIGINT NOT NULL,        -- of the feed, at the last change
    wanted_revision BIGINT NOT NULL,        -- of the feed, at the last change of what is wanted; 0 if no agent cares
    created_at      BIGINT NOT NULL,
    modified_at     BIGINT NOT NULL,
    deleted_at      BIGINT,                 -- when its deletion was accepted
    gone_at         BIGINT                  -- when it was seen to be gone; the row is a tombstone
, vcpu BIGINT, ram_gib BIGINT, gpu BIGINT, storage_gb BIGINT, host TEXT, decision TEXT, gone_revision BIGINT GENERATED ALWAYS AS (CASE WHEN gone_at IS NOT NULL THEN revision END) VIRTUAL);
CREATE INDEX resource_decision ON resource (decision) WHERE decision IS NOT NULL AND gone_at IS NULL;
CREATE INDEX resource_feed ON resource (COALESCE(host, region), wanted_revision);
CREATE INDEX resource_gone ON resource (region, tenant, gone_revision) WHERE gone_revision IS NOT NULL;
CREATE UNIQUE INDEX resource_host ON resource (COALESCE(host, region), urn) WHERE gone_at IS NULL AND length(workspace) = 0;
CREATE UNIQUE INDEX resource_live ON resource (region, urn) WHERE gone_at IS NULL;
CREATE INDEX resource_owner ON resource (tenant, kind, vcpu, ram_gib, gpu, storage_gb) WHERE gone_at IS NULL;
CREATE INDEX resource_place ON resource (tenant, region, workspace, kind, urn) WHERE gone_at IS NULL;
CREATE INDEX resource_tombstone ON resource (region, urn, id) WHERE gone_at IS NOT NULL;
CREATE TABLE signing_key (
	id         TEXT NOT NULL PRIMARY KEY,
	sealed    BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE TABLE spent (
	id         TEXT NOT NULL PRIMARY KEY,
	expires_at BIGINT NOT NULL
);
CREATE TABLE tenant (
	name       TEXT NOT NULL PRIMARY KEY,
	display    TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
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
