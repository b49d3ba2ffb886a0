-- One row per region ('' is global) holds its newest revision. A write takes
-- this row's lock first, so the revisions of a region commit in their order.
CREATE TABLE feed (
    region   TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);

-- What is wanted and what is there. JSON is kept as text: it is echoed to its
-- author, never searched.
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
);

CREATE UNIQUE INDEX resource_live ON resource (region, urn) WHERE gone_at IS NULL;
CREATE INDEX resource_tombstone ON resource (region, urn, id) WHERE gone_at IS NOT NULL;
CREATE INDEX resource_place ON resource (region, tenant, workspace, kind) WHERE gone_at IS NULL;
CREATE INDEX resource_feed ON resource (region, wanted_revision);
