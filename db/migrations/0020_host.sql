-- A virtual region names resources that the agent of another one keeps. NULL: the
-- region's own agent. A program from before keeps writing what it always did.
ALTER TABLE resource ADD COLUMN host TEXT;

-- Of a workspace that was placed: the decision by which.
ALTER TABLE resource ADD COLUMN decision TEXT;

-- What an agent follows, wherever it is named.
DROP INDEX resource_feed;
CREATE INDEX resource_feed ON resource (COALESCE(host, region), wanted_revision);

-- An agent knows things by their URNs, so a host has each tenant's workspace of a name once.
CREATE UNIQUE INDEX resource_host ON resource (COALESCE(host, region), urn) WHERE gone_at IS NULL AND workspace = '';

-- What happened in a virtual region counts by itself, in the feed "REGION TENANT".
CREATE INDEX resource_shown ON resource (region, tenant, revision) WHERE host IS NOT NULL;
