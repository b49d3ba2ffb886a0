-- The condition compares no column with a value by "=": SQLite prepares a statement that compares that
-- column with a parameter anew at each execution, as the parameter might be that value and the index of use.
DROP INDEX resource_host;
CREATE UNIQUE INDEX resource_host ON resource (COALESCE(host, region), urn) WHERE gone_at IS NULL AND length(workspace) = 0;
