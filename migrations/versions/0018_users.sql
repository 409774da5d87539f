alter table users
    add column role text not null default 'user' check (role in ('user', 'operator', 'admin')),
    add column status text not null default 'active' check (status in ('active', 'disabled'));
comment on column users.role is 'user: its own things; operator: looks after the transactions of the app; admin: its users as well.';
comment on column users.status is 'active; disabled: no token of the user holds, and it signs nothing.';
create index users_of_app on users (app_id, id);
grant update (role, status) on users to lockstep_tenant, lockstep_system;
