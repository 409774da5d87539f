create table aggregations (
    id text primary key,
    app_id text not null references apps (app_id),
    name text not null check (length(name) between 1 and 50),
    document jsonb not null,
    seal bytea not null check (octet_length(seal) = 32),
    created_by text not null,
    created_at timestamptz not null,
    deleted_at timestamptz
);
create index aggregations_app on aggregations (app_id, id);
comment on table aggregations is 'What spending limits count: a metric over a rolling window. Never changed, for policies and counters rest on them.';
comment on column aggregations.id is 'Id of the aggregation; policies name it.';
comment on column aggregations.app_id is 'App that it belongs to.';
comment on column aggregations.name is 'Name for people.';
comment on column aggregations.document is 'Method, metric, window, conditions and groups as they were accepted.';
comment on column aggregations.seal is 'Keyed code over the document; one without the right code limits nothing and allows nothing.';
comment on column aggregations.created_by is 'Who wrote it: kind and id of the caller.';
comment on column aggregations.created_at is 'When it was written.';
comment on column aggregations.deleted_at is 'When it was deleted; null: policies may name it.';
select lockstep_protect('aggregations', 'select, insert, update', 'select, insert, update');

-- Written for every limited signature, like the uses: without foreign keys, and with room for updates on the page.
create table limit_counters (
    id bigint generated always as identity primary key,
    app_id text not null,
    limit_id text not null,
    group_key text not null,
    total numeric(120,0) not null default 0 check (total >= 0),
    counted_after timestamptz,
    written_at timestamptz not null,
    code bytea not null check (octet_length(code) = 32),
    unique (app_id, limit_id, group_key)
) with (fillfactor = 50);
comment on table limit_counters is 'How much of each limit is used; the row lock orders the decisions that use it.';
comment on column limit_counters.id is 'Number of the counter.';
comment on column limit_counters.app_id is 'App that it belongs to.';
comment on column limit_counters.limit_id is 'aggregation.<id>, or session.<id>.<cap>.';
comment on column limit_counters.group_key is 'Values of the group that is counted apart, as a JSON list.';
comment on column limit_counters.total is 'Sum of the uses that are not released, of those after counted_after.';
comment on column limit_counters.counted_after is 'Start of the window at the last look; null: no window, every use counts for good.';
comment on column limit_counters.written_at is 'When it was last written; never goes back.';
comment on column limit_counters.code is 'Keyed code over sum and times: one that was edited is not believed.';
select lockstep_protect('limit_counters', 'select, insert, update', 'select, insert, update, delete');

create table limit_uses (
    decision_id text not null,
    counter_id bigint not null,
    app_id text not null,
    amount numeric(120,0) not null check (amount >= 0),
    state text not null check (state in ('reserved', 'consumed', 'released')),
    used_at timestamptz not null,
    dies_at timestamptz,
    code bytea not null check (octet_length(code) = 32),
    primary key (decision_id, counter_id)
) with (fillfactor = 80);
create index limit_uses_window on limit_uses (counter_id, used_at);
create index limit_uses_dying on limit_uses (dies_at) where state = 'reserved' and dies_at is not null;
comment on table limit_uses is 'What each decision uses of each limit. It counts from the decision on, and is given back only when nothing can have been signed.';
comment on column limit_uses.decision_id is 'The allowed decision; of a transaction made dearer, the newest.';
comment on column limit_uses.counter_id is 'Counter that it is part of.';
comment on column limit_uses.app_id is 'App of the wallet.';
comment on column limit_uses.amount is 'Smallest unit of what is counted.';
comment on column limit_uses.state is 'reserved (may be signed), consumed (was signed) or released (never signed; nothing is signed under it any more).';
comment on column limit_uses.used_at is 'When it was decided; it leaves the window so much later.';
comment on column limit_uses.dies_at is 'When it is reserved no longer, its process having died before the signature; null: a transaction holds it until it ends.';
comment on column limit_uses.code is 'Keyed code over counter, amount and time: one that was edited is never taken off a sum.';
select lockstep_protect('limit_uses', 'select, insert, update', 'select, insert, update, delete');

alter table session_signers
    add column max_total_value numeric(78,0) check (max_total_value >= 0),
    add column max_value_per_window numeric(78,0) check (max_value_per_window >= 0),
    add column window_seconds integer check (window_seconds between 3600 and 259200),
    add column max_transactions integer check (max_transactions >= 0),
    add constraint session_signers_window check ((max_value_per_window is null) = (window_seconds is null));
comment on column session_signers.max_total_value is 'Most native coin that it moves in all, smallest unit, all chains together; null: no limit of its own.';
comment on column session_signers.max_value_per_window is 'Most native coin that it moves within window_seconds; null: no limit of its own.';
comment on column session_signers.window_seconds is 'Length of the rolling window of max_value_per_window.';
comment on column session_signers.max_transactions is 'Most requests of every kind that are signed or sent for it; null: no limit of its own.';
