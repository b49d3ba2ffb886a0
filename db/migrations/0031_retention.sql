-- Decisions are kept for a time, and what they depended on for as long as one of them is.
ALTER TABLE decision ADD COLUMN market TEXT; -- digest, of an input of that kind; a decision from before is given it later
ALTER TABLE decision_input ADD COLUMN unused_at BIGINT; -- since when no decision depends on it, as far as that was looked at
CREATE INDEX decision_market ON decision (market);
CREATE INDEX decision_request ON decision (request);
CREATE INDEX decision_input_unused ON decision_input (unused_at) WHERE unused_at IS NOT NULL;
CREATE INDEX quote_decision ON quote (decision);
