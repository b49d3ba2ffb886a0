-- When all of an order stood for the first time, and why it was taken back if it could not.
ALTER TABLE purchase ADD COLUMN settled_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE purchase ADD COLUMN problem TEXT NOT NULL DEFAULT '';

-- What orders have made.
CREATE INDEX resource_decision ON resource (decision) WHERE decision IS NOT NULL AND gone_at IS NULL;
