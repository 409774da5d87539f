create table approvals (
    id text primary key,
    app_id text not null references apps (app_id),
    kind text not null check (kind in ('wallet_rpc', 'wallet_change', 'policy_change', 'quorum_change')),
    resource_id text not null,
    payload text not null,
    payload_digest bytea not null check (octet_length(payload_digest) = 32),
    status text not null default 'pending'
        check (status in ('pending', 'processing', 'executed', 'failed', 'expired', 'rejected')),
    reason_code text,
    response bytea,
    version integer not null default 1,
    created_by text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    started_at timestamptz,
    due_at timestamptz,
    finished_at timestamptz,
    unique (app_id, id),
    check ((status in ('pending', 'processing')) = (finished_at is null)),
    check ((status = 'processing') = (due_at is not null))
);
create index approvals_app on approvals (app_id, id);
create index approvals_resource on approvals (app_id, resource_id, id);
create index approvals_due on approvals (due_at) where status = 'processing';
create index approvals_expiry on approvals (expires_at) where status = 'pending';
comment on table approvals is 'Requests about what belongs to keys or quorums, waiting until enough of them have authorised.';
comment on column approvals.id is 'Id of the approval.';
comment on column approvals.app_id is 'App that it belongs to.';
comment on column approvals.kind is 'What is asked for: a signature of a wallet, or a change of a wallet, policy or quorum.';
comment on column approvals.resource_id is 'Wallet, policy or quorum that it is about.';
comment on column approvals.payload is 'What is authorised, as canonical JSON (RFC 8785), exactly the text that is signed.';
comment on column approvals.payload_digest is 'SHA-256 of the payload.';
comment on column approvals.status is 'pending; processing: enough authorised, it is being carried out; executed, failed, expired or rejected: it is over.';
comment on column approvals.reason_code is 'Code of the refusal with which it failed.';
comment on column approvals.response is 'Answer of the request, encrypted.';
comment on column approvals.version is 'Counts changes.';
comment on column approvals.created_by is 'Who asked: kind and id of the caller.';
comment on column approvals.created_at is 'When it was asked for.';
comment on column approvals.expires_at is 'It collects nothing from then on.';
comment on column approvals.started_at is 'When enough had authorised.';
comment on column approvals.due_at is 'When it is taken up again unless it is over by then.';
comment on column approvals.finished_at is 'When it was over.';
select lockstep_protect('approvals', 'select, insert, update', 'select, insert, update');

create table approval_signatures (
    app_id text not null,
    approval_id text not null,
    holder text not null check (holder ~ '^(key|user):'),
    signature bytea,
    signed_at timestamptz not null,
    primary key (app_id, approval_id, holder),
    foreign key (app_id, approval_id) references approvals (app_id, id),
    check (holder like 'user:%' or signature is not null)
);
comment on table approval_signatures is 'Who authorised an approval so far; the signatures are verified again when it is carried out.';
comment on column approval_signatures.app_id is 'App of the approval.';
comment on column approval_signatures.approval_id is 'The approval.';
comment on column approval_signatures.holder is 'Key with its revision, or user: key:<id>#<revision>, user:<id>.';
comment on column approval_signatures.signature is 'Signature over the payload, r and s; null for users, whose token authorised.';
comment on column approval_signatures.signed_at is 'When it came in.';
select lockstep_protect('approval_signatures', 'select, insert', 'select, insert');
create trigger append_only before update or delete on approval_signatures for each row execute function refuse_change();
