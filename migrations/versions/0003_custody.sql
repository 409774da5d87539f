-- Rows that only the named system role may see: credentials that belong to no app.
create function lockstep_hide(target regclass, system_may text) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format(
        'create policy system on %s to lockstep_system using (current_setting(''lockstep.purpose'', true) <> '''')'
        ' with check (current_setting(''lockstep.purpose'', true) <> '''')', target);
    execute format('grant %s on %s to lockstep_system', system_may, target);
end
$$;
comment on function lockstep_hide(regclass, text) is 'Forces row-level security on a table that no tenant may see at all.';

create table admin_credentials (
    id text primary key,
    prefix text not null unique check (prefix ~ '^[a-z0-9]{8}$'),
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    status text not null default 'active' check (status in ('active', 'revoked')),
    created_at timestamptz not null,
    last_used_at timestamptz
);
comment on table admin_credentials is 'Credentials of the deployment''s administrators; the first is made by the bootstrap.';
comment on column admin_credentials.id is 'Id of the credential.';
comment on column admin_credentials.prefix is 'Visible part of the secret, by which the row is found.';
comment on column admin_credentials.secret_hash is 'SHA-256 of the whole secret, which has 256 random bits.';
comment on column admin_credentials.status is 'active or revoked.';
comment on column admin_credentials.created_at is 'When it was made.';
comment on column admin_credentials.last_used_at is 'Last use, to the minute.';
select lockstep_hide('admin_credentials', 'select, insert, update');

create table apps (
    app_id text primary key,
    name text not null check (length(name) between 1 and 100),
    status text not null default 'active' check (status in ('active', 'suspended')),
    issuers jsonb not null default '[]',
    created_at timestamptz not null
);
comment on table apps is 'Tenants: products that use this deployment.';
comment on column apps.app_id is 'Id of the app, and the tenant of its row.';
comment on column apps.name is 'Name for people.';
comment on column apps.status is 'active; suspended refuses every credential of the app.';
comment on column apps.issuers is 'Issuers of user tokens that the app trusts: issuer, audience and where their public keys are.';
comment on column apps.created_at is 'When it was created.';
select lockstep_protect('apps', 'select', 'select, insert, update');

create table app_secrets (
    id text primary key,
    app_id text not null references apps (app_id),
    prefix text not null unique check (prefix ~ '^[a-z0-9]{8}$'),
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    status text not null default 'active' check (status in ('active', 'revoked')),
    created_at timestamptz not null,
    last_used_at timestamptz
);
create index app_secrets_app on app_secrets (app_id);
comment on table app_secrets is 'Secrets of apps; several may be active, so that they can be rotated without a gap.';
comment on column app_secrets.id is 'Id of the secret.';
comment on column app_secrets.app_id is 'App that it belongs to.';
comment on column app_secrets.prefix is 'Visible part of the secret, by which the row is found.';
comment on column app_secrets.secret_hash is 'SHA-256 of the whole secret, which has 256 random bits.';
comment on column app_secrets.status is 'active or revoked.';
comment on column app_secrets.created_at is 'When it was made.';
comment on column app_secrets.last_used_at is 'Last use, to the minute.';
select lockstep_protect('app_secrets', 'select, insert, update', 'select, insert, update');

create table users (
    id text primary key,
    app_id text not null references apps (app_id),
    issuer text not null,
    subject text not null check (length(subject) between 1 and 255),
    created_at timestamptz not null,
    unique (app_id, issuer, subject)
);
comment on table users is 'Users of apps, known by the tokens of the issuers that the app trusts.';
comment on column users.id is 'Id of the user.';
comment on column users.app_id is 'App of the user; the same person in two apps is two users.';
comment on column users.issuer is 'Issuer (iss) whose tokens name the user: two issuers never share a user.';
comment on column users.subject is 'Subject (sub) in those tokens.';
comment on column users.created_at is 'First token seen.';
select lockstep_protect('users', 'select, insert', 'select, insert');

create table external_sessions (
    token_hash bytea primary key check (octet_length(token_hash) = 32),
    address text not null check (address ~ '^0x[0-9a-f]{40}$'),
    nonce text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    unique (address, nonce)
);
create index external_sessions_expiry on external_sessions (expires_at);
comment on table external_sessions is 'Logins of makers and takers with their own keys; a login message is good for one of them.';
comment on column external_sessions.token_hash is 'SHA-256 of the bearer token.';
comment on column external_sessions.address is 'Address that signed the login message; 0x and lower-case hex.';
comment on column external_sessions.nonce is 'Nonce of the login message; used once per address.';
comment on column external_sessions.created_at is 'When the message was accepted.';
comment on column external_sessions.expires_at is 'The token is refused from then on.';
select lockstep_hide('external_sessions', 'select, insert, delete');

create table policies (
    id text primary key,
    app_id text not null references apps (app_id),
    name text not null check (length(name) between 1 and 50),
    chain_type text not null check (chain_type in ('ethereum')),
    owner_user_id text references users (id),
    revision integer not null check (revision >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index policies_app on policies (app_id, id);
comment on table policies is 'Policies: what wallets and session signers may sign; the documents stand in policy_revisions.';
comment on column policies.id is 'Id of the policy.';
comment on column policies.app_id is 'App that it belongs to.';
comment on column policies.name is 'Name for people.';
comment on column policies.chain_type is 'Family of chains that its rules speak of.';
comment on column policies.owner_user_id is 'Only this user may change it; null: the app may.';
comment on column policies.revision is 'Revision in force.';
comment on column policies.created_at is 'When it was created.';
comment on column policies.updated_at is 'When the revision in force was written.';
select lockstep_protect('policies', 'select, insert, update', 'select, insert, update');

create table policy_revisions (
    policy_id text not null references policies (id),
    revision integer not null check (revision >= 1),
    app_id text not null,
    document jsonb not null,
    created_by text not null,
    created_at timestamptz not null,
    primary key (policy_id, revision)
);
comment on table policy_revisions is 'Every document that a policy ever had; append-only, decisions name the revision they rest on.';
comment on column policy_revisions.policy_id is 'The policy.';
comment on column policy_revisions.revision is '1, 2, 3 and so on.';
comment on column policy_revisions.app_id is 'App of the policy.';
comment on column policy_revisions.document is 'The rules as they were accepted.';
comment on column policy_revisions.created_by is 'Who wrote it: kind and id of the caller.';
comment on column policy_revisions.created_at is 'When it was written.';
select lockstep_protect('policy_revisions', 'select, insert', 'select, insert');

create table wallets (
    id text primary key,
    app_id text not null references apps (app_id),
    address text not null unique check (address ~ '^0x[0-9a-f]{40}$'),
    chain_type text not null check (chain_type in ('ethereum')),
    public_key bytea not null check (octet_length(public_key) = 65),
    share_set text not null check (share_set ~ '^[0-9a-f]{32}$'),
    auth_share bytea not null,
    recovery_share bytea not null,
    owner_user_id text references users (id),
    policy_ids text[] not null,
    display_name text check (length(display_name) between 1 and 100),
    status text not null default 'active' check (status in ('active', 'frozen')),
    version integer not null default 1,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index wallets_app on wallets (app_id, id);
create index wallets_owner on wallets (app_id, owner_user_id, id) where owner_user_id is not null;
comment on table wallets is 'Custody wallets: an address whose key exists only as shares.';
comment on column wallets.id is 'Id of the wallet.';
comment on column wallets.app_id is 'App that it belongs to.';
comment on column wallets.address is 'Address on EVM chains; 0x and lower-case hex.';
comment on column wallets.chain_type is 'Family of chains that the key signs for.';
comment on column wallets.public_key is 'Uncompressed secp256k1 point, 65 bytes.';
comment on column wallets.share_set is 'Id of the split of the key that the shares belong to.';
comment on column wallets.recovery_share is 'Share encrypted to the recovery key, whose private half is kept off line.';
comment on column wallets.auth_share is 'Share of the key that this side holds, sealed; worth nothing without the signer''s.';
comment on column wallets.owner_user_id is 'User whose token every signature needs; null: the app''s secret is enough.';
comment on column wallets.policy_ids is 'Policies that must all allow; empty denies everything.';
comment on column wallets.display_name is 'Name for people.';
comment on column wallets.status is 'active; frozen signs nothing.';
comment on column wallets.version is 'Counts changes of the row.';
comment on column wallets.created_at is 'When the key was made.';
comment on column wallets.updated_at is 'Last change.';
select lockstep_protect('wallets', 'select, insert, update', 'select, insert, update');

create table session_signers (
    id text primary key,
    app_id text not null references apps (app_id),
    wallet_id text not null references wallets (id),
    grantee text not null check (grantee = 'token' or grantee ~ '^module:[a-z][a-z_]{1,40}$'),
    token_hash bytea unique check (octet_length(token_hash) = 32),
    display_name text check (length(display_name) between 1 and 100),
    allowed_methods text[] not null check (cardinality(allowed_methods) > 0),
    policy_ids text[] not null,
    max_value_per_transaction numeric(78,0) check (max_value_per_transaction >= 0),
    status text not null default 'active' check (status in ('active', 'revoked')),
    expires_at timestamptz not null,
    created_by text not null,
    created_at timestamptz not null,
    revoked_at timestamptz,
    check ((grantee = 'token') = (token_hash is not null)),
    check ((status = 'revoked') = (revoked_at is not null))
);
create index session_signers_wallet on session_signers (app_id, wallet_id, id);
create index session_signers_module on session_signers (grantee, wallet_id) where grantee <> 'token';
comment on table session_signers is 'Permissions to sign for a wallet, for a time and within limits: they can only narrow what the wallet may do.';
comment on column session_signers.id is 'Id of the session signer.';
comment on column session_signers.app_id is 'App of the wallet.';
comment on column session_signers.wallet_id is 'Wallet that it signs for.';
comment on column session_signers.grantee is 'token: whoever holds the bearer token; module:<name>: that module of this deployment.';
comment on column session_signers.token_hash is 'SHA-256 of the bearer token; null for modules.';
comment on column session_signers.display_name is 'Name for people.';
comment on column session_signers.allowed_methods is 'Methods it may call.';
comment on column session_signers.policy_ids is 'Policies that must allow in addition to all of the wallet''s.';
comment on column session_signers.max_value_per_transaction is 'Largest value of one transaction, in the smallest unit of the native coin; null: no limit of its own.';
comment on column session_signers.status is 'active or revoked; expiry is read from expires_at.';
comment on column session_signers.expires_at is 'It signs nothing from then on.';
comment on column session_signers.created_by is 'Who granted it: kind and id of the caller.';
comment on column session_signers.created_at is 'When it was granted.';
comment on column session_signers.revoked_at is 'When it was revoked.';
select lockstep_protect('session_signers', 'select, insert, update', 'select, insert, update');

-- Written for every signature, so without foreign keys: they would lock the same few rows of apps and wallets each time.
create table signing_decisions (
    id text primary key,
    app_id text not null,
    wallet_id text not null,
    session_id text,
    caller text not null,
    method text not null,
    chain text,
    request_digest bytea not null check (octet_length(request_digest) = 32),
    intent jsonb,
    allowed boolean not null,
    reason_code text not null,
    reason text not null,
    policy_id text,
    rule_id text,
    policy_revisions jsonb not null,
    correlation_id text,
    decided_at timestamptz not null
);
-- Wallet ids are unique over all apps. With app_id in front, plans for single decisions would walk a whole app instead.
create index signing_decisions_wallet on signing_decisions (wallet_id, id);
comment on table signing_decisions is 'Every decision whether something may be signed; no signature exists without an allowed row.';
comment on column signing_decisions.id is 'Id of the decision.';
comment on column signing_decisions.app_id is 'App of the wallet.';
comment on column signing_decisions.wallet_id is 'Wallet that was to sign.';
comment on column signing_decisions.session_id is 'Session signer that asked; null: owner or app.';
comment on column signing_decisions.caller is 'Who asked: kind and id of the caller.';
comment on column signing_decisions.method is 'Method, for example eth_sendTransaction.';
comment on column signing_decisions.chain is 'CAIP-2 id of the chain; null where the method has none.';
comment on column signing_decisions.request_digest is 'Digest to sign, or SHA-256 of the intent whose nonce and fees are bound at signing.';
comment on column signing_decisions.intent is 'The transaction intent with its ceilings; null for what was signed at once.';
comment on column signing_decisions.allowed is 'The verdict.';
comment on column signing_decisions.reason_code is 'Stable code of the reason.';
comment on column signing_decisions.reason is 'The reason in words.';
comment on column signing_decisions.policy_id is 'Policy whose rule decided.';
comment on column signing_decisions.rule_id is 'Rule that decided.';
comment on column signing_decisions.policy_revisions is 'Revision of each policy that was asked, by its id.';
comment on column signing_decisions.correlation_id is 'Request or process that asked.';
comment on column signing_decisions.decided_at is 'When it was decided.';
select lockstep_protect('signing_decisions', 'select, insert', 'select, insert');

create table released_signatures (
    app_id text not null,
    decision_id text not null,
    digest bytea not null check (octet_length(digest) = 32),
    released_at timestamptz not null,
    primary key (decision_id, digest)
);
comment on table released_signatures is 'What was signed under each decision; a replaced transaction has several. Holds no signature.';
comment on column released_signatures.app_id is 'App of the wallet.';
comment on column released_signatures.decision_id is 'The allowed decision.';
comment on column released_signatures.digest is 'The 32 bytes that were signed.';
comment on column released_signatures.released_at is 'When the signature was released for the first time.';
select lockstep_protect('released_signatures', 'select, insert', 'select, insert');

-- Every row is completed once and grows by its answer: room on its page keeps that from touching the indexes.
create table idempotency_keys (
    app_id text not null,
    scope text not null,
    key text not null check (length(key) between 1 and 256),
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    state text not null check (state in ('in_progress', 'done', 'retryable')),
    locked_until timestamptz not null,
    operation_id text,
    status_code integer,
    response bytea,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (app_id, scope, key),
    check ((state = 'done') = (status_code is not null and response is not null))
) with (fillfactor = 50);
create index idempotency_keys_expiry on idempotency_keys (expires_at);
comment on table idempotency_keys is 'One row per idempotency key: inserted before the work, completed with it.';
comment on column idempotency_keys.app_id is 'App of the caller; - for callers that belong to no app.';
comment on column idempotency_keys.scope is 'Caller, method and path in which the key is unique.';
comment on column idempotency_keys.key is 'The key as the client sent it.';
comment on column idempotency_keys.fingerprint is 'SHA-256 of method, path, query, caller and body; a different request under the key is refused.';
comment on column idempotency_keys.state is 'in_progress, done (the outcome is stored and replayed) or retryable (it failed in passing; the next attempt runs).';
comment on column idempotency_keys.locked_until is 'An attempt that is still in progress then has died.';
comment on column idempotency_keys.operation_id is 'Decision that the attempt made, looked at before it is repeated.';
comment on column idempotency_keys.status_code is 'HTTP status of the outcome.';
comment on column idempotency_keys.response is 'Body of the outcome, encrypted.';
comment on column idempotency_keys.created_at is 'First attempt.';
comment on column idempotency_keys.expires_at is 'The key is forgotten from then on.';
select lockstep_protect('idempotency_keys', 'select, insert, update, delete', 'select, insert, update, delete');

create table signing_previews (
    app_id text not null references apps (app_id),
    digest bytea not null check (octet_length(digest) = 32),
    wallet_id text not null references wallets (id),
    terms jsonb not null,
    expires_at timestamptz not null,
    primary key (app_id, digest)
);
create index signing_previews_expiry on signing_previews (expires_at);
comment on table signing_previews is 'What callers were shown; an execution that names the digest gets exactly that or a refusal.';
comment on column signing_previews.app_id is 'App of the wallet.';
comment on column signing_previews.digest is 'SHA-256 of the canonical terms.';
comment on column signing_previews.wallet_id is 'Wallet that would sign.';
comment on column signing_previews.terms is 'Caller, request, policy revisions, verdict and fee ceilings that were shown.';
comment on column signing_previews.expires_at is 'The preview is outdated from then on.';
select lockstep_protect('signing_previews', 'select, insert, update, delete', 'select, insert, update, delete');

create table audit_heads (
    app_id text not null,
    shard smallint not null check (shard >= 0),
    seq bigint not null check (seq >= 0),
    entry_hash bytea not null check (octet_length(entry_hash) = 32),
    primary key (app_id, shard)
);
comment on table audit_heads is 'Head of every audit chain; its row lock orders the entries.';
comment on column audit_heads.app_id is 'App of the chain.';
comment on column audit_heads.shard is 'Number of the chain within the app; a wallet always writes to the same one.';
comment on column audit_heads.seq is 'Number of the newest entry; 0 before the first.';
comment on column audit_heads.entry_hash is 'Hash of the newest entry; zeros before the first.';
select lockstep_protect('audit_heads', 'select, insert, update', 'select, insert, update');

create table audit_entries (
    app_id text not null,
    shard smallint not null,
    seq bigint not null check (seq >= 1),
    prev_hash bytea not null check (octet_length(prev_hash) = 32),
    entry_hash bytea not null check (octet_length(entry_hash) = 32),
    mac bytea not null check (octet_length(mac) = 32),
    record text not null,
    action text generated always as (record::jsonb ->> 'action') stored,
    resource text generated always as (record::jsonb ->> 'resource') stored,
    primary key (app_id, shard, seq)
);
create index audit_entries_resource on audit_entries (app_id, resource, shard, seq);
comment on table audit_entries is 'The audit log: append-only chains of records; see the audit package for the formats.';
comment on column audit_entries.app_id is 'App of the chain.';
comment on column audit_entries.shard is 'Chain within the app.';
comment on column audit_entries.seq is 'Gapless number within the chain.';
comment on column audit_entries.prev_hash is 'Hash of the entry before; zeros for the first.';
comment on column audit_entries.entry_hash is 'SHA-256 over prev_hash and the record.';
comment on column audit_entries.mac is 'HMAC-SHA256 of the entry hash under a key outside the database.';
comment on column audit_entries.record is 'The record as canonical JSON (RFC 8785), exactly the bytes that were hashed.';
comment on column audit_entries.action is 'Action of the record, for searching.';
comment on column audit_entries.resource is 'Resource of the record, for searching.';
select lockstep_protect('audit_entries', 'select, insert', 'select, insert');

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed or deleted', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
comment on function refuse_change() is 'Trigger of append-only tables.';
create trigger append_only before update or delete on audit_entries for each row execute function refuse_change();
create trigger append_only_truncate before truncate on audit_entries for each statement execute function refuse_change();
create trigger append_only before update or delete on signing_decisions for each row execute function refuse_change();
create trigger append_only before update or delete on released_signatures for each row execute function refuse_change();
create trigger append_only before update or delete on policy_revisions for each row execute function refuse_change();
create trigger append_only_truncate before truncate on policy_revisions for each statement execute function refuse_change();
