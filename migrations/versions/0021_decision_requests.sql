-- Apart from signing_decisions, whose rows are never deleted: what people signed is kept for a while only.
create table decision_requests (
    decision_id text primary key,
    app_id text not null,
    sealed bytea not null,
    decided_at timestamptz not null
);
-- Rows come in the order of their time, and only the purge asks for it.
create index decision_requests_age on decision_requests using brin (decided_at);
comment on table decision_requests is 'Requests that were signed at once, for trying other policies on them; sent ones have their intent in signing_decisions.';
comment on column decision_requests.decision_id is 'The decision.';
comment on column decision_requests.app_id is 'App of the wallet.';
comment on column decision_requests.sealed is 'The request, AES-256-GCM under a key outside the database, bound to app and decision.';
comment on column decision_requests.decided_at is 'When it was decided; forgotten 30 days later.';
select lockstep_protect('decision_requests', 'select, insert', 'select, insert, delete');
