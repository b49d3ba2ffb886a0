-- What a tenant may have: how many of a kind, or a sum over them. No row, no limit.
-- What it has is not kept: it is counted.
CREATE TABLE quota (
    tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
    meter      TEXT NOT NULL,
    most       BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, meter)
);

CREATE INDEX resource_owner ON resource (tenant, kind) WHERE gone_at IS NULL;
