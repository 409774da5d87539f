create table condition_sets (
    id text primary key,
    app_id text not null references apps (app_id),
    name text not null check (length(name) between 1 and 100),
    description text check (length(description) between 1 and 500),
    value_type text not null check (value_type in ('address', 'selector', 'integer', 'string')),
    owner_user_id text references users (id),
    revision integer not null check (revision >= 1),
    item_count integer not null check (item_count between 0 and 100000),
    content_hash bytea not null check (octet_length(content_hash) = 32),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index condition_sets_app on condition_sets (app_id, id);
comment on table condition_sets is 'Lists that conditions of policies look values up in; a change of one changes every policy that names it.';
comment on column condition_sets.id is 'Id of the set.';
comment on column condition_sets.app_id is 'App that it belongs to.';
comment on column condition_sets.name is 'Name for people.';
comment on column condition_sets.description is 'What it is for.';
comment on column condition_sets.value_type is 'What its items are: address, selector, integer or string. Never changes.';
comment on column condition_sets.owner_user_id is 'Only this user may change it; null: the app may.';
comment on column condition_sets.revision is 'Counts the changes of its items; decisions name the revision that they rest on.';
comment on column condition_sets.item_count is 'How many items it has.';
comment on column condition_sets.content_hash is 'SHA-256 over type and items, as the audit log names it: see custody/condition_sets/types.py.';
comment on column condition_sets.created_at is 'When it was created.';
comment on column condition_sets.updated_at is 'When it was last changed.';
select lockstep_protect('condition_sets', 'select, insert, update, delete', 'select, insert, update, delete');

-- A lookup is one descent of the unique index, however many items there are. Its order is that of the content hash.
create table condition_set_items (
    id text primary key,
    app_id text not null,
    set_id text not null references condition_sets (id) on delete cascade,
    value text collate "C" not null check (length(value) between 1 and 500),
    original text not null,
    created_at timestamptz not null,
    unique (set_id, value)
);
create index condition_set_items_page on condition_set_items (set_id, id);
comment on table condition_set_items is 'Items of condition sets.';
comment on column condition_set_items.id is 'Id of the item.';
comment on column condition_set_items.app_id is 'App of the set.';
comment on column condition_set_items.set_id is 'The set.';
comment on column condition_set_items.value is 'The form that is compared: lower-case hex, decimal number, or the text itself.';
comment on column condition_set_items.original is 'As it was written, for people.';
comment on column condition_set_items.created_at is 'When it was added.';
select lockstep_protect('condition_set_items', 'select, insert, delete', 'select, insert, delete');

create table policy_condition_sets (
    app_id text not null,
    policy_id text not null references policies (id),
    set_id text not null references condition_sets (id),
    primary key (policy_id, set_id)
);
create index policy_condition_sets_set on policy_condition_sets (set_id);
comment on table policy_condition_sets is 'The condition sets that the revision in force of each policy names; while one is named it cannot be deleted.';
comment on column policy_condition_sets.app_id is 'App of both.';
comment on column policy_condition_sets.policy_id is 'The policy.';
comment on column policy_condition_sets.set_id is 'A set that it names.';
select lockstep_protect('policy_condition_sets', 'select, insert, delete', 'select, insert, delete');

comment on column signing_decisions.policy_revisions is 'Revision of each policy, and of each condition set of these, that was in force, by its id.';
