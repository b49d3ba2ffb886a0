account.id text COLLATE C NOT NULL
account.display text COLLATE C NOT NULL
account.operator boolean NOT NULL
account.disabled boolean NOT NULL
account.created_at bigint NOT NULL
account.owner text COLLATE C
account account_owner_fkey FOREIGN KEY (owner) REFERENCES tenant(name) ON DELETE CASCADE
account account_pkey PRIMARY KEY (id)
CREATE INDEX account_owner ON account USING btree (owner)
CREATE UNIQUE INDEX account_pkey ON account USING btree (id)
agent.serial text COLLATE C NOT NULL
agent.region text COLLATE C NOT NULL
agent.key_hash bytea NOT NULL
agent.enrolled_at bigint NOT NULL
agent.not_after bigint NOT NULL
agent.revoked_at bigint NOT NULL
agent agent_pkey PRIMARY KEY (serial)
agent agent_region_fkey FOREIGN KEY (region) REFERENCES region(name) ON DELETE CASCADE
CREATE UNIQUE INDEX agent_pkey ON agent USING btree (serial)
CREATE INDEX agent_region ON agent USING btree (region)
answer.id text COLLATE C NOT NULL
answer.region text COLLATE C NOT NULL
answer.body bytea NOT NULL
answer.error text COLLATE C NOT NULL
answer.kind text COLLATE C NOT NULL
answer.created_at bigint NOT NULL
answer answer_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX answer_pkey ON answer USING btree (id)
audit_chain.chain text COLLATE C NOT NULL
audit_chain.seq bigint NOT NULL
audit_chain.hash text COLLATE C NOT NULL
audit_chain.base_seq bigint NOT NULL
audit_chain.base_hash text COLLATE C NOT NULL
audit_chain audit_chain_pkey PRIMARY KEY (chain)
CREATE UNIQUE INDEX audit_chain_pkey ON audit_chain USING btree (chain)
audit_inbox.id text COLLATE C NOT NULL
audit_inbox.chain text COLLATE C NOT NULL
audit_inbox.body text COLLATE C NOT NULL
audit_inbox audit_inbox_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX audit_inbox_pkey ON audit_inbox USING btree (id)
audit_log.chain text COLLATE C NOT NULL
audit_log.seq bigint NOT NULL
audit_log.hash text COLLATE C NOT NULL
audit_log.body text COLLATE C NOT NULL
audit_log.at bigint NOT NULL
audit_log.region text COLLATE C NOT NULL
audit_log.workspace text COLLATE C NOT NULL
audit_log.actor text COLLATE C NOT NULL
audit_log.resource text COLLATE C NOT NULL
audit_log audit_log_pkey PRIMARY KEY (chain, seq)
CREATE INDEX audit_log_at ON audit_log USING btree (chain, at, seq)
CREATE UNIQUE INDEX audit_log_pkey ON audit_log USING btree (chain, seq)
CREATE INDEX audit_log_place ON audit_log USING btree (chain, workspace, region, seq)
authority.id text COLLATE C NOT NULL
authority.sealed bytea NOT NULL
authority.certificate bytea NOT NULL
authority.created_at bigint NOT NULL
authority authority_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX authority_pkey ON authority USING btree (id)
certificate.id text COLLATE C NOT NULL
certificate.sealed bytea NOT NULL
certificate.changed_at bigint NOT NULL
certificate certificate_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX certificate_pkey ON certificate USING btree (id)
claim.id text COLLATE C NOT NULL
claim.participant text COLLATE C NOT NULL
claim.body text COLLATE C NOT NULL
claim.source text COLLATE C NOT NULL
claim.by_account text COLLATE C NOT NULL
claim.created_at bigint NOT NULL
claim.withdrawn_at bigint NOT NULL
claim claim_participant_fkey FOREIGN KEY (participant) REFERENCES participant(name) ON DELETE CASCADE
claim claim_pkey PRIMARY KEY (id)
CREATE INDEX claim_participant ON claim USING btree (participant, created_at, id)
CREATE UNIQUE INDEX claim_pkey ON claim USING btree (id)
data_key.id text COLLATE C NOT NULL
data_key.purpose text COLLATE C NOT NULL
data_key.wrapper text COLLATE C NOT NULL
data_key.wrapped bytea NOT NULL
data_key.created_at bigint NOT NULL
data_key data_key_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX data_key_pkey ON data_key USING btree (id)
CREATE UNIQUE INDEX data_key_purpose ON data_key USING btree (purpose)
decision.id text COLLATE C NOT NULL
decision.tenant text COLLATE C NOT NULL
decision.record bytea NOT NULL
decision.key text COLLATE C NOT NULL
decision.signature bytea NOT NULL
decision.created_at bigint NOT NULL
decision.request text COLLATE C
decision.stands jsonb
decision.market text COLLATE C
decision decision_pkey PRIMARY KEY (id)
decision decision_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE INDEX decision_market ON decision USING btree (market)
CREATE INDEX decision_moment ON decision USING btree (created_at, id)
CREATE UNIQUE INDEX decision_pkey ON decision USING btree (id)
CREATE INDEX decision_request ON decision USING btree (request)
CREATE INDEX decision_tenant ON decision USING btree (tenant, id)
decision_input.kind text COLLATE C NOT NULL
decision_input.digest text COLLATE C NOT NULL
decision_input.body bytea NOT NULL
decision_input.unused_at bigint
decision_input decision_input_pkey PRIMARY KEY (kind, digest)
CREATE UNIQUE INDEX decision_input_pkey ON decision_input USING btree (kind, digest)
CREATE INDEX decision_input_unused ON decision_input USING btree (unused_at) WHERE (unused_at IS NOT NULL)
decision_key.id text COLLATE C NOT NULL
decision_key.sealed bytea NOT NULL
decision_key.public bytea NOT NULL
decision_key.created_at bigint NOT NULL
decision_key decision_key_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX decision_key_pkey ON decision_key USING btree (id)
drift.tenant text COLLATE C NOT NULL
drift.subject text COLLATE C NOT NULL
drift.since bigint NOT NULL
drift.seen_at bigint NOT NULL
drift.body jsonb NOT NULL
drift drift_pkey PRIMARY KEY (tenant, subject)
drift drift_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE UNIQUE INDEX drift_pkey ON drift USING btree (tenant, subject)
enrolment.id text COLLATE C NOT NULL
enrolment.region text COLLATE C NOT NULL
enrolment.hash bytea NOT NULL
enrolment.created_at bigint NOT NULL
enrolment.expires_at bigint NOT NULL
enrolment.used_at bigint NOT NULL
enrolment.used_key bytea
enrolment enrolment_pkey PRIMARY KEY (id)
enrolment enrolment_region_fkey FOREIGN KEY (region) REFERENCES region(name) ON DELETE CASCADE
CREATE UNIQUE INDEX enrolment_pkey ON enrolment USING btree (id)
envelope.one bigint NOT NULL
envelope.wrapper text COLLATE C NOT NULL
envelope.changed_at bigint NOT NULL
envelope.wiped_at bigint NOT NULL
envelope envelope_one_check CHECK ((one = 1))
envelope envelope_pkey PRIMARY KEY (one)
CREATE UNIQUE INDEX envelope_pkey ON envelope USING btree (one)
exchange.id text COLLATE C NOT NULL
exchange.created_at bigint NOT NULL
exchange.regions bigint NOT NULL
exchange.one bigint NOT NULL
exchange.epoch text COLLATE C NOT NULL DEFAULT ''::text
exchange.changes bigint NOT NULL DEFAULT 0
exchange exchange_one_check CHECK ((one = 1))
exchange exchange_one_key UNIQUE (one)
exchange exchange_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX exchange_one_key ON exchange USING btree (one)
CREATE UNIQUE INDEX exchange_pkey ON exchange USING btree (id)
feed.region text COLLATE C NOT NULL
feed.revision bigint NOT NULL
feed feed_pkey PRIMARY KEY (region)
CREATE UNIQUE INDEX feed_pkey ON feed USING btree (region)
identity.issuer text COLLATE C NOT NULL
identity.subject text COLLATE C NOT NULL
identity.account text COLLATE C NOT NULL
identity.created_at bigint NOT NULL
identity identity_account_fkey FOREIGN KEY (account) REFERENCES account(id) ON DELETE CASCADE
identity identity_pkey PRIMARY KEY (issuer, subject)
CREATE INDEX identity_account ON identity USING btree (account)
CREATE UNIQUE INDEX identity_pkey ON identity USING btree (issuer, subject)
job.name text COLLATE C NOT NULL
job.began_at bigint NOT NULL
job.ended_at bigint NOT NULL
job.error text COLLATE C NOT NULL
job.failures bigint NOT NULL
job job_pkey PRIMARY KEY (name)
CREATE UNIQUE INDEX job_pkey ON job USING btree (name)
label.id text NOT NULL
label.region text NOT NULL
label.kind text NOT NULL
label.urn text NOT NULL
label.key text NOT NULL
label.value text NOT NULL
label label_id_fkey FOREIGN KEY (id) REFERENCES resource(id) ON DELETE CASCADE
label label_pkey PRIMARY KEY (id, key)
CREATE INDEX label_key ON label USING btree (region, kind, key, urn, id)
CREATE UNIQUE INDEX label_pkey ON label USING btree (id, key)
CREATE INDEX label_value ON label USING btree (region, kind, key, value, urn, id)
membership.tenant text COLLATE C NOT NULL
membership.account text COLLATE C NOT NULL
membership membership_account_fkey FOREIGN KEY (account) REFERENCES account(id) ON DELETE CASCADE
membership membership_pkey PRIMARY KEY (tenant, account)
membership membership_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE INDEX membership_account ON membership USING btree (account)
CREATE UNIQUE INDEX membership_pkey ON membership USING btree (tenant, account)
migration.number bigint NOT NULL
migration.name text NOT NULL
migration.applied_at bigint NOT NULL
migration.digest text NOT NULL
migration migration_pkey PRIMARY KEY (number)
CREATE UNIQUE INDEX migration_pkey ON migration USING btree (number)
orphan.region text COLLATE C NOT NULL
orphan.id text COLLATE C NOT NULL
orphan.kind text COLLATE C NOT NULL
orphan.name text COLLATE C NOT NULL
orphan.native text COLLATE C NOT NULL
orphan.first_seen bigint NOT NULL
orphan.last_seen bigint NOT NULL
orphan.approved_at bigint NOT NULL
orphan orphan_pkey PRIMARY KEY (region, id)
orphan orphan_region_fkey FOREIGN KEY (region) REFERENCES region(name) ON DELETE CASCADE
CREATE UNIQUE INDEX orphan_pkey ON orphan USING btree (region, id)
participant.name text COLLATE C NOT NULL
participant.profile jsonb NOT NULL
participant.state text COLLATE C NOT NULL
participant.applied_at bigint NOT NULL
participant.approved_at bigint NOT NULL
participant participant_pkey PRIMARY KEY (name)
CREATE UNIQUE INDEX participant_pkey ON participant USING btree (name)
CREATE INDEX participant_state ON participant USING btree (state, applied_at)
participant_change.one bigint NOT NULL
participant_change.changes bigint NOT NULL
participant_change participant_change_one_check CHECK ((one = 1))
participant_change participant_change_pkey PRIMARY KEY (one)
CREATE UNIQUE INDEX participant_change_pkey ON participant_change USING btree (one)
participant_key.id text COLLATE C NOT NULL
participant_key.participant text COLLATE C NOT NULL
participant_key.public bytea NOT NULL
participant_key.created_at bigint NOT NULL
participant_key.revoked_at bigint NOT NULL
participant_key participant_key_participant_fkey FOREIGN KEY (participant) REFERENCES participant(name) ON DELETE CASCADE
participant_key participant_key_pkey PRIMARY KEY (id)
CREATE INDEX participant_key_participant ON participant_key USING btree (participant)
CREATE UNIQUE INDEX participant_key_pkey ON participant_key USING btree (id)
participant_member.participant text COLLATE C NOT NULL
participant_member.account text COLLATE C NOT NULL
participant_member participant_member_account_fkey FOREIGN KEY (account) REFERENCES account(id) ON DELETE CASCADE
participant_member participant_member_participant_fkey FOREIGN KEY (participant) REFERENCES participant(name) ON DELETE CASCADE
participant_member participant_member_pkey PRIMARY KEY (participant, account)
CREATE INDEX participant_member_account ON participant_member USING btree (account)
CREATE UNIQUE INDEX participant_member_pkey ON participant_member USING btree (participant, account)
policy.tenant text COLLATE C NOT NULL
policy.name text COLLATE C NOT NULL
policy.version bigint NOT NULL
policy.body bytea NOT NULL
policy.created_at bigint NOT NULL
policy.deleted_at bigint NOT NULL
policy policy_pkey PRIMARY KEY (tenant, name, version)
policy policy_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE UNIQUE INDEX policy_pkey ON policy USING btree (tenant, name, version)
price_sheet.provider text COLLATE C NOT NULL
price_sheet.version bigint NOT NULL
price_sheet.body text COLLATE C NOT NULL
price_sheet.digest text COLLATE C NOT NULL
price_sheet.key text COLLATE C NOT NULL
price_sheet.published_at bigint NOT NULL
price_sheet price_sheet_pkey PRIMARY KEY (provider, version)
price_sheet price_sheet_provider_fkey FOREIGN KEY (provider) REFERENCES participant(name)
CREATE UNIQUE INDEX price_sheet_pkey ON price_sheet USING btree (provider, version)
promise.region text COLLATE C NOT NULL
promise.count bigint NOT NULL
promise promise_pkey PRIMARY KEY (region)
promise promise_region_fkey FOREIGN KEY (region) REFERENCES region(name) ON DELETE CASCADE
CREATE UNIQUE INDEX promise_pkey ON promise USING btree (region)
purchase.id text COLLATE C NOT NULL
purchase.tenant text COLLATE C NOT NULL
purchase.quote text COLLATE C NOT NULL
purchase.created_at bigint NOT NULL
purchase.ended_at bigint NOT NULL
purchase.settled_at bigint NOT NULL DEFAULT 0
purchase.problem text COLLATE C NOT NULL DEFAULT ''::text
purchase purchase_pkey PRIMARY KEY (id)
purchase purchase_quote_fkey FOREIGN KEY (quote) REFERENCES quote(id) ON DELETE CASCADE
purchase purchase_quote_key UNIQUE (quote)
purchase purchase_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE UNIQUE INDEX purchase_pkey ON purchase USING btree (id)
CREATE UNIQUE INDEX purchase_quote_key ON purchase USING btree (quote)
CREATE INDEX purchase_tenant ON purchase USING btree (tenant, id)
quota.tenant text COLLATE C NOT NULL
quota.meter text COLLATE C NOT NULL
quota.most bigint NOT NULL
quota.changed_at bigint NOT NULL
quota quota_pkey PRIMARY KEY (tenant, meter)
quota quota_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE UNIQUE INDEX quota_pkey ON quota USING btree (tenant, meter)
quote.id text COLLATE C NOT NULL
quote.tenant text COLLATE C NOT NULL
quote.decision text COLLATE C NOT NULL
quote.terms jsonb NOT NULL
quote.documents jsonb
quote.created_at bigint NOT NULL
quote.valid_until bigint NOT NULL
quote.ordered text COLLATE C NOT NULL
quote quote_decision_fkey FOREIGN KEY (decision) REFERENCES decision(id) ON DELETE CASCADE
quote quote_pkey PRIMARY KEY (id)
quote quote_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(name) ON DELETE CASCADE
CREATE INDEX quote_decision ON quote USING btree (decision)
CREATE UNIQUE INDEX quote_pkey ON quote USING btree (id)
CREATE INDEX quote_tenant ON quote USING btree (tenant, id)
region.name text COLLATE C NOT NULL
region.position bigint NOT NULL
region.kind text COLLATE C NOT NULL
region.display text COLLATE C NOT NULL
region.country text COLLATE C NOT NULL
region.city text COLLATE C NOT NULL
region.driver text COLLATE C NOT NULL
region.labels jsonb NOT NULL
region.annotations jsonb NOT NULL
region.created_at bigint NOT NULL
region.inventory jsonb NOT NULL
region.inventory_at bigint NOT NULL
region.provider text COLLATE C NOT NULL DEFAULT ''::text
region region_pkey PRIMARY KEY (name)
region region_position_key UNIQUE ("position")
CREATE UNIQUE INDEX region_pkey ON region USING btree (name)
CREATE UNIQUE INDEX region_position_key ON region USING btree ("position")
reservation.quote text COLLATE C NOT NULL
reservation.region text COLLATE C NOT NULL
reservation.vcpu bigint NOT NULL
reservation.ram bigint NOT NULL
reservation.disk bigint NOT NULL
reservation.ips bigint NOT NULL
reservation.until bigint NOT NULL
reservation reservation_pkey PRIMARY KEY (quote, region)
reservation reservation_quote_fkey FOREIGN KEY (quote) REFERENCES quote(id) ON DELETE CASCADE
reservation reservation_region_fkey FOREIGN KEY (region) REFERENCES region(name) ON DELETE CASCADE
CREATE UNIQUE INDEX reservation_pkey ON reservation USING btree (quote, region)
CREATE INDEX reservation_region ON reservation USING btree (region, until)
resource.id text COLLATE C NOT NULL
resource.region text COLLATE C NOT NULL
resource.urn text COLLATE C NOT NULL
resource.kind text COLLATE C NOT NULL
resource.tenant text COLLATE C NOT NULL
resource.workspace text COLLATE C NOT NULL
resource.labels text COLLATE C
resource.annotations text COLLATE C
resource.extensions text COLLATE C
resource.spec text COLLATE C NOT NULL
resource.wanted text COLLATE C NOT NULL
resource.sku text COLLATE C
resource.power text COLLATE C NOT NULL
resource.restarts bigint NOT NULL
resource.status text COLLATE C
resource.state text COLLATE C NOT NULL
resource.conditions text COLLATE C NOT NULL
resource.observed text COLLATE C NOT NULL
resource.version bigint NOT NULL
resource.generation bigint NOT NULL
resource.revision bigint NOT NULL
resource.wanted_revision bigint NOT NULL
resource.created_at bigint NOT NULL
resource.modified_at bigint NOT NULL
resource.deleted_at bigint
resource.gone_at bigint
resource.vcpu bigint
resource.ram_gib bigint
resource.gpu bigint
resource.storage_gb bigint
resource.host text COLLATE C
resource.decision text COLLATE C
resource.gone_revision bigint
resource resource_pkey PRIMARY KEY (id)
CREATE INDEX resource_decision ON resource USING btree (decision) WHERE ((decision IS NOT NULL) AND (gone_at IS NULL))
CREATE INDEX resource_feed ON resource USING btree (COALESCE(host, region), wanted_revision)
CREATE INDEX resource_gone ON resource USING btree (region, tenant, gone_revision) WHERE (gone_revision IS NOT NULL)
CREATE UNIQUE INDEX resource_host ON resource USING btree (COALESCE(host, region), urn) WHERE ((gone_at IS NULL) AND (length(workspace) = 0))
CREATE UNIQUE INDEX resource_live ON resource USING btree (region, urn) WHERE (gone_at IS NULL)
CREATE INDEX resource_owner ON resource USING btree (tenant, kind, vcpu, ram_gib, gpu, storage_gb) WHERE (gone_at IS NULL)
CREATE UNIQUE INDEX resource_pkey ON resource USING btree (id)
CREATE INDEX resource_place ON resource USING btree (tenant, region, workspace, kind, urn) WHERE (gone_at IS NULL)
CREATE INDEX resource_tombstone ON resource USING btree (region, urn, id) WHERE (gone_at IS NOT NULL)
signing_key.id text COLLATE C NOT NULL
signing_key.sealed bytea NOT NULL
signing_key.created_at bigint NOT NULL
signing_key signing_key_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX signing_key_pkey ON signing_key USING btree (id)
spent.id text COLLATE C NOT NULL
spent.expires_at bigint NOT NULL
spent spent_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX spent_pkey ON spent USING btree (id)
tenant.name text COLLATE C NOT NULL
tenant.display text COLLATE C NOT NULL
tenant.created_at bigint NOT NULL
tenant tenant_pkey PRIMARY KEY (name)
CREATE UNIQUE INDEX tenant_pkey ON tenant USING btree (name)
token.id text COLLATE C NOT NULL
token.account text COLLATE C NOT NULL
token.name text COLLATE C NOT NULL
token.hash bytea NOT NULL
token.scope jsonb NOT NULL
token.created_at bigint NOT NULL
token.expires_at bigint NOT NULL
token.revoked_at bigint NOT NULL
token.used_at bigint NOT NULL
token token_account_fkey FOREIGN KEY (account) REFERENCES account(id) ON DELETE CASCADE
token token_pkey PRIMARY KEY (id)
CREATE INDEX token_account ON token USING btree (account)
CREATE UNIQUE INDEX token_pkey ON token USING btree (id)
