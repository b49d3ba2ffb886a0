-- Identities: who of another issuer is which account.

CREATE TABLE identity (
	issuer     TEXT NOT NULL,
	subject    TEXT NOT NULL,
	account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (issuer, subject)
);

CREATE INDEX identity_account ON identity (account);

-- Accounts that a tenant owns: its programs. NULL for all others.
ALTER TABLE account ADD COLUMN owner TEXT REFERENCES tenant (name) ON DELETE CASCADE;

CREATE INDEX account_owner ON account (owner);
