-- Revisions are comparable within one epoch: a database that was restored or
-- recovered counts from what it knows, which is less than agents have seen.
ALTER TABLE exchange ADD COLUMN epoch TEXT NOT NULL DEFAULT '';
