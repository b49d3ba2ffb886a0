-- Identities: who of another issuer is which account.

CREATE TABLE identity (
	issuer     TEXT NOT NULL,
	subject    TEXT NOT NULL,
	account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (issuer, subject)
);

CREATE INDEX identity_account ON identity (account);
