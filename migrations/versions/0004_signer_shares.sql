-- Only the signer's role may look into this schema. Forced row-level security keeps out the owner of the table as well;
-- no other role gets a grant, now or by default privileges of the schema public.
create schema signer;
revoke all on schema signer from public;
grant usage on schema signer to lockstep_signer;
comment on schema signer is 'What only the signer process reads and writes.';

create table signer.exec_shares (
    wallet_id text primary key,
    app_id text not null,
    address text not null unique check (address ~ '^0x[0-9a-f]{40}$'),
    sealed bytea not null check (octet_length(sealed) between 64 and 8192),
    created_at timestamptz not null default now()
);
comment on table signer.exec_shares is 'The exec share of every wallet key, sealed with the key of the signer; rows are added and read, never changed.';
comment on column signer.exec_shares.wallet_id is 'Wallet that the key belongs to; has one key for its life.';
comment on column signer.exec_shares.app_id is 'App of the wallet; the seal is bound to it.';
comment on column signer.exec_shares.address is 'Address of the key, lower-case hex with 0x; the seal is bound to it.';
comment on column signer.exec_shares.sealed is 'CSS1 head (kind, set id, index, threshold, total) and CSE1 envelope of the share.';
comment on column signer.exec_shares.created_at is 'When the key was made, database clock.';

alter table signer.exec_shares enable row level security;
alter table signer.exec_shares force row level security;
create policy signer on signer.exec_shares to lockstep_signer using (true) with check (true);
grant select, insert on signer.exec_shares to lockstep_signer;
