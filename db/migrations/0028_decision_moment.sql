-- The newest decisions of all tenants, page by page, for what a provider has lost.
CREATE INDEX decision_moment ON decision (created_at, id);
