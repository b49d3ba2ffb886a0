-- What a tenant may have: how many of a kind, or a sum over them. No row, no limit.
-- What it has is not kept: it is counted.
CREATE TABLE quota (
    tenant     TEXT NOT NULL REFERENCES tenant (name) ON DELETE CASCADE,
    meter      TEXT NOT NULL,
    most       BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, meter)
);

-- What adds up, beside the documents in which it stands, so that an index alone is counted.
ALTER TABLE resource ADD COLUMN vcpu BIGINT;
ALTER TABLE resource ADD COLUMN ram_gib BIGINT;
ALTER TABLE resource ADD COLUMN gpu BIGINT;
ALTER TABLE resource ADD COLUMN storage_gb BIGINT;

UPDATE resource SET vcpu = CAST(json(sku)->>'vcpu' AS BIGINT), ram_gib = CAST(json(sku)->>'ramGiB' AS BIGINT), gpu = CAST(json(sku)->'gpu'->>'count' AS BIGINT)
    WHERE kind = 'instance' AND gone_at IS NULL AND sku IS NOT NULL;
UPDATE resource SET storage_gb = CAST(json(spec)->>'sizeGB' AS BIGINT) WHERE kind = 'block-storage' AND gone_at IS NULL;

CREATE INDEX resource_owner ON resource (tenant, kind, vcpu, ram_gib, gpu, storage_gb) WHERE gone_at IS NULL;
