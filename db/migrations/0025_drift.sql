-- Of a decision, what looks for drift asks of all that run by one: which request it was, and where
-- it chose, with who owned that then. A decision from before has neither, and nothing is looked for.
ALTER TABLE decision ADD COLUMN request TEXT; -- digest, of an input of that kind
ALTER TABLE decision ADD COLUMN stands JSONB;
