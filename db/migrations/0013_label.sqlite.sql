-- The labels of live resources, so that a list by label reads what it shows, in
-- the order of the names. What a resource's row says of labels is what counts.
CREATE TABLE label (
    id     TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    kind   TEXT NOT NULL,
    urn    TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (id, key)
);

CREATE INDEX label_value ON label (region, kind, key, value, urn, id);
CREATE INDEX label_key ON label (region, kind, key, urn, id);

INSERT INTO label (id, region, kind, urn, key, value)
    SELECT r.id, r.region, r.kind, r.urn, l.key, l.value FROM resource r, json_each(r.labels) l WHERE r.gone_at IS NULL AND r.labels IS NOT NULL;

-- A collection is a range of this index, without what is named below its things.
DROP INDEX resource_place;
CREATE INDEX resource_place ON resource (region, tenant, workspace, kind, urn) WHERE gone_at IS NULL;
