create table kill_switches (
    id text primary key,
    app_id text references apps (app_id),
    reason text not null check (length(reason) between 1 and 500),
    engaged_by text not null,
    engaged_at timestamptz not null,
    released_by text,
    released_at timestamptz,
    check ((released_by is null) = (released_at is null))
);
create unique index kill_switches_engaged on kill_switches (coalesce(app_id, '')) where released_at is null;
comment on table kill_switches is 'Every time that signing was stopped, of one app or of the deployment; those not released stop it now.';
comment on column kill_switches.id is 'Id of this stop.';
comment on column kill_switches.app_id is 'App that signs nothing; null: nobody does.';
comment on column kill_switches.reason is 'Why, for people.';
comment on column kill_switches.engaged_by is 'Who stopped it: admin:<id> or app:<id>.';
comment on column kill_switches.engaged_at is 'When.';
comment on column kill_switches.released_by is 'Who let it go on; null: it is stopped.';
comment on column kill_switches.released_at is 'When.';
select lockstep_protect('kill_switches', 'select, insert, update', 'select, insert, update');
create policy deployment on kill_switches for select to lockstep_tenant using (app_id is null);
