-- The revision at which a resource was gone. What lives is in no index by its revision, so that an update of it
-- can leave all indexes alone (a heap-only tuple, for which pages keep some room).
ALTER TABLE resource ADD COLUMN gone_revision BIGINT GENERATED ALWAYS AS (CASE WHEN gone_at IS NOT NULL THEN revision END) STORED;
ALTER TABLE resource SET (fillfactor = 85);

DROP INDEX resource_shown;
CREATE INDEX resource_gone ON resource (region, tenant, gone_revision) WHERE gone_revision IS NOT NULL;

-- The tenant first: nothing asks for a region as a whole, and a planner without statistics took this index
-- for names, though another has them.
DROP INDEX resource_place;
CREATE INDEX resource_place ON resource (tenant, region, workspace, kind, urn) WHERE gone_at IS NULL;
