-- Roles are shared by every database of the cluster, so they may exist already, even created at this very moment.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['lockstep_tenant', 'lockstep_system', 'lockstep_signer', 'lockstep_jobs'] loop
        begin
            execute format('create role %I nologin nobypassrls noinherit', wanted);
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$$;

grant usage on schema public to lockstep_tenant, lockstep_system;

-- Forced row-level security for a table with app_id. Tenants see their app; the system role sees all, as named purposes.
create function lockstep_protect(target regclass, tenant_may text, system_may text) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format(
        'create policy tenant on %s to lockstep_tenant using (app_id = current_setting(''lockstep.app_id'', true))'
        ' with check (app_id = current_setting(''lockstep.app_id'', true))', target);
    execute format(
        'create policy system on %s to lockstep_system using (current_setting(''lockstep.purpose'', true) <> '''')'
        ' with check (current_setting(''lockstep.purpose'', true) <> '''')', target);
    if tenant_may <> '' then
        execute format('grant %s on %s to lockstep_tenant', tenant_may, target);
    end if;
    execute format('grant %s on %s to lockstep_system', system_may, target);
end
$$;
comment on function lockstep_protect(regclass, text, text) is 'Forces row-level security on a table with app_id and grants what each role may do.';

-- Deployment-wide tables (the auction book): everybody reads, only the named system role writes.
create function lockstep_publish(target regclass, system_may text) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('create policy everybody on %s for select to lockstep_tenant using (true)', target);
    execute format(
        'create policy system on %s to lockstep_system using (current_setting(''lockstep.purpose'', true) <> '''')'
        ' with check (current_setting(''lockstep.purpose'', true) <> '''')', target);
    execute format('grant select on %s to lockstep_tenant', target);
    execute format('grant %s on %s to lockstep_system', system_may, target);
end
$$;
comment on function lockstep_publish(regclass, text) is 'Forces row-level security on a deployment-wide table: readable by all, written by the system role only.';

create table outbox (
    id bigint generated always as identity primary key,
    topic text not null check (topic ~ '^[a-z][a-z_.]{0,62}$'),
    type text not null,
    object_id text not null,
    version bigint not null,
    app_id text,
    correlation_id text,
    data jsonb not null,
    created_at timestamptz not null default now(),
    seq bigint,
    position bigint unique,
    published_at timestamptz,
    check ((seq is null) = (position is null))
);
create index outbox_waiting on outbox (id) where position is null;
create unique index outbox_topic on outbox (topic, coalesce(app_id, ''), seq) where seq is not null;
comment on table outbox is 'Every change that others may see, written with the change itself and numbered by the publisher.';
comment on column outbox.id is 'Order of insertion; has gaps and is not the order of the stream.';
comment on column outbox.topic is 'Stream topic, for example orders or transactions.';
comment on column outbox.type is 'Message type, unique within its topic.';
comment on column outbox.object_id is 'Id of the object that changed.';
comment on column outbox.version is 'Version of the object after the change.';
comment on column outbox.app_id is 'Tenant that may read it; null: public.';
comment on column outbox.correlation_id is 'Request or process that caused the change.';
comment on column outbox.data is 'Public representation of the object after the change.';
comment on column outbox.created_at is 'When the business transaction began.';
comment on column outbox.seq is 'Gapless number within (topic, app); null until published.';
comment on column outbox.position is 'Gapless number over everything; null until published.';
comment on column outbox.published_at is 'When the publisher numbered it.';

alter table outbox enable row level security;
alter table outbox force row level security;
create policy tenant_reads on outbox for select to lockstep_tenant
    using (app_id is null or app_id = current_setting('lockstep.app_id', true));
create policy tenant_appends on outbox for insert to lockstep_tenant
    with check (app_id is null or app_id = current_setting('lockstep.app_id', true));
create policy system on outbox to lockstep_system
    using (current_setting('lockstep.purpose', true) <> '') with check (current_setting('lockstep.purpose', true) <> '');
grant select, insert on outbox to lockstep_tenant;
grant select, insert, update, delete on outbox to lockstep_system;

create table outbox_heads (
    topic text not null,
    scope text not null,
    seq bigint not null,
    primary key (topic, scope)
);
comment on table outbox_heads is 'Last number given per topic and tenant; the row (*, *) counts positions.';
comment on column outbox_heads.topic is 'Stream topic, or * for the position of the whole stream.';
comment on column outbox_heads.scope is 'App id; empty for public topics, * for the whole stream.';
comment on column outbox_heads.seq is 'Last number given.';
alter table outbox_heads enable row level security;
alter table outbox_heads force row level security;
create policy tenant_reads on outbox_heads for select to lockstep_tenant
    using (scope in ('', '*') or scope = current_setting('lockstep.app_id', true));
create policy system on outbox_heads to lockstep_system
    using (current_setting('lockstep.purpose', true) <> '') with check (current_setting('lockstep.purpose', true) <> '');
grant select on outbox_heads to lockstep_tenant;
grant select, insert, update on outbox_heads to lockstep_system;

create table processes (
    kind text not null,
    id text not null,
    app_id text,
    state text not null,
    version integer not null default 0,
    due_at timestamptz,
    deadline_at timestamptz,
    lease_until timestamptz,
    attempts integer not null default 0,
    waiting_for text,
    reason text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (kind, id)
);
create index processes_due on processes (due_at) where due_at is not null;
comment on table processes is 'Durable processes: the row is the truth, a job only advances it.';
comment on column processes.kind is 'Registered kind, for example swap.';
comment on column processes.id is 'Id of the business object of the same kind.';
comment on column processes.app_id is 'Tenant that owns it; null: deployment-wide.';
comment on column processes.state is 'State of the machine of this kind.';
comment on column processes.version is 'Counts committed steps; a step with an older version changes nothing.';
comment on column processes.due_at is 'Next look, host clock; null when the process has ended.';
comment on column processes.deadline_at is 'Moment before which it must have acted; nearest first.';
comment on column processes.lease_until is 'A worker has the step until then.';
comment on column processes.attempts is 'Failed looks in a row.';
comment on column processes.waiting_for is 'chain, time, another_party, approval, retry or operator.';
comment on column processes.reason is 'Why it stands where it stands, one sentence.';
comment on column processes.created_at is 'When it began.';
comment on column processes.updated_at is 'When it was last written.';
select lockstep_protect('processes', 'select, insert', 'select, insert, update, delete');

create table process_steps (
    kind text not null,
    process_id text not null,
    version integer not null,
    app_id text,
    from_state text not null,
    to_state text not null,
    waiting_for text,
    reason text,
    facts jsonb not null,
    created_at timestamptz not null default now(),
    primary key (kind, process_id, version),
    foreign key (kind, process_id) references processes (kind, id)
);
comment on table process_steps is 'Timeline of every process; append-only.';
comment on column process_steps.kind is 'Kind of the process.';
comment on column process_steps.process_id is 'Process that moved.';
comment on column process_steps.version is 'Version of the process after the step.';
comment on column process_steps.app_id is 'Tenant of the process.';
comment on column process_steps.from_state is 'State before.';
comment on column process_steps.to_state is 'State after.';
comment on column process_steps.waiting_for is 'What it waits for after the step.';
comment on column process_steps.reason is 'Why, one sentence.';
comment on column process_steps.facts is 'What the decision rests on: blocks, hashes, amounts as strings.';
comment on column process_steps.created_at is 'When the step was committed.';
select lockstep_protect('process_steps', 'select', 'select, insert');

-- The job engine works as the login itself, which inherits lockstep_jobs and nothing else; jobs are also deferred inside
-- transactions of the system role.
do $$
declare
    engine record;
begin
    for engine in
        select c.oid::regclass as name, c.relkind from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'S') and c.relname like 'procrastinate\_%'
    loop
        if engine.relkind = 'r' then
            execute format('grant select, insert, update, delete on %s to lockstep_jobs, lockstep_system', engine.name);
        else
            execute format('grant usage on sequence %s to lockstep_jobs, lockstep_system', engine.name);
        end if;
    end loop;
end
$$;

-- The migration tool's own table: everybody may ask whether the schema is as new as the program.
do $$
begin
    if to_regclass('schema_versions') is not null then
        grant select on schema_versions to lockstep_tenant, lockstep_system, lockstep_jobs;
        comment on table schema_versions is 'The migration that this database stands at.';
        comment on column schema_versions.version_num is 'Number of the last migration that ran.';
    end if;
end
$$;

grant usage on all sequences in schema public to lockstep_system;
grant usage on sequence outbox_id_seq to lockstep_tenant;
grant execute on all functions in schema public to lockstep_system;
