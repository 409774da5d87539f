alter table apps
    add column allowed_networks cidr[] not null default '{}' check (cardinality(allowed_networks) <= 50),
    add column accounts text not null default 'off' check (accounts in ('off', 'closed', 'open')),
    add column access_token_seconds integer not null default 900 check (access_token_seconds between 60 and 900),
    add column login_seconds integer not null default 2592000 check (login_seconds between 3600 and 7776000),
    add column login_history_days integer not null default 30 check (login_history_days between 1 and 365);
comment on column apps.allowed_networks is 'Networks that the app''s secrets may be used from; empty: from everywhere.';
comment on column apps.accounts is 'Accounts with passwords: off; closed: the app makes them; open: anybody may register.';
comment on column apps.access_token_seconds is 'Life of an access token of an account.';
comment on column apps.login_seconds is 'Life of a login of an account, over all its refreshed tokens.';
comment on column apps.login_history_days is 'How long ended logins of accounts are kept.';

alter table app_secrets add column expires_at timestamptz;
comment on column app_secrets.expires_at is 'It is refused from then on; null: it does not expire.';
