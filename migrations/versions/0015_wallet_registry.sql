alter table wallets
    add column external_id text check (external_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    add column archived_at timestamptz;
comment on column wallets.external_id is 'Id that the app knows the wallet by, written once; null: none.';
comment on column wallets.archived_at is 'When it was put away: it signs nothing and lists leave it out; null: in use.';
create unique index wallets_external_id on wallets (app_id, external_id) where external_id is not null;
create index wallets_in_use on wallets (app_id, id) where archived_at is null;
create index wallets_frozen on wallets (app_id, id) where status = 'frozen';
