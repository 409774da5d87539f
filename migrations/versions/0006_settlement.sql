create table swaps (
    id text primary key,
    order_hash bytea not null check (octet_length(order_hash) = 32),
    fill_index integer not null check (fill_index >= 0),
    hashlock bytea not null check (octet_length(hashlock) = 32),
    maker bytea not null,
    receiver bytea not null,
    taker bytea not null,
    mode text not null check (mode in ('managed', 'external')),
    source_chain text not null,
    source_factory bytea not null,
    source_token bytea not null,
    source_amount numeric(78,0) not null check (source_amount > 0),
    source_deposit numeric(78,0) not null check (source_deposit >= 0),
    destination_chain text not null,
    destination_factory bytea not null,
    destination_token bytea not null,
    destination_amount numeric(78,0) not null check (destination_amount > 0),
    destination_deposit numeric(78,0) not null check (destination_deposit >= 0),
    time_locks numeric(78,0) not null,
    expires_at bigint not null,
    reserved_until bigint not null,
    source_funding text not null check (source_funding in ('pull', 'maker_deposit')),
    signature_kind text not null check (signature_kind in ('eip712', 'eip1271', 'cip8')),
    source_call bytea,
    state text not null,
    version integer not null default 0,
    reason text not null,
    waiting_for text,
    is_open boolean not null default true,
    source_escrow bytea,
    destination_escrow bytea,
    source_wake bigint,
    destination_wake bigint,
    secret_released_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index swaps_fill on swaps (order_hash, fill_index);
create unique index swaps_taker on swaps (order_hash, fill_index, taker) where state <> 'cancelled';
create index swaps_open_source on swaps (source_chain) where is_open;
create index swaps_open_destination on swaps (destination_chain) where is_open;
create index swaps_maker on swaps (maker, id);
create index swaps_takers on swaps (taker, id);
comment on table swaps is 'One attempt to fill one order: both escrows, from the match to the end. The process of the same id moves it.';
comment on column swaps.id is 'Id of the swap and of its process of kind swap.';
comment on column swaps.order_hash is 'Hash of the order; with the fill index the identity of the fill on the source chain.';
comment on column swaps.fill_index is 'Which fill of the order.';
comment on column swaps.hashlock is 'keccak256 of the 32 secret bytes.';
comment on column swaps.maker is 'Maker on the source chain, raw bytes.';
comment on column swaps.receiver is 'Who is paid on the destination chain, raw bytes.';
comment on column swaps.taker is 'Taker on both chains, raw bytes.';
comment on column swaps.mode is 'managed: we send the taker''s legs; external: the taker sends them.';
comment on column swaps.source_chain is 'CAIP-2.';
comment on column swaps.source_factory is 'Factory of the source escrow, raw bytes.';
comment on column swaps.source_token is 'Token of the maker, raw bytes.';
comment on column swaps.source_amount is 'Smallest unit of the source token.';
comment on column swaps.source_deposit is 'Least safety deposit on the source, smallest unit of its native coin.';
comment on column swaps.destination_chain is 'CAIP-2.';
comment on column swaps.destination_factory is 'Factory of the destination escrow, raw bytes.';
comment on column swaps.destination_token is 'Token of the taker, raw bytes.';
comment on column swaps.destination_amount is 'Smallest unit; the price at the match, from the source escrow on the price at its block.';
comment on column swaps.destination_deposit is 'Least safety deposit on the destination, smallest unit of its native coin.';
comment on column swaps.time_locks is 'The seven signed delays packed into one word, without a deployment.';
comment on column swaps.expires_at is 'Source chain time (Unix seconds) from which no source escrow can be created.';
comment on column swaps.reserved_until is 'Source chain time until which the fill is kept for an external taker.';
comment on column swaps.source_funding is 'pull: by the maker''s signature; maker_deposit: the maker locks.';
comment on column swaps.signature_kind is 'How the maker signed.';
comment on column swaps.source_call is 'Calldata by which a managed taker opens the source escrow; null for external ones.';
comment on column swaps.state is 'State of the machine; the same as that of the process.';
comment on column swaps.version is 'Counts changes that readers were told of.';
comment on column swaps.reason is 'Why it stands where it stands, one sentence.';
comment on column swaps.waiting_for is 'chain, time, another_party, operator; null: it goes on at once or has ended.';
comment on column swaps.is_open is 'False in the states that end a swap.';
comment on column swaps.source_escrow is 'Address of the matching source escrow, raw bytes.';
comment on column swaps.destination_escrow is 'Address of the matching destination escrow, raw bytes.';
comment on column swaps.source_wake is 'Source chain time from which a new head wakes it; null: no moment of that chain matters now.';
comment on column swaps.destination_wake is 'Destination chain time from which a new head wakes it; null likewise.';
comment on column swaps.secret_released_at is 'When the secret was released to the taker.';
comment on column swaps.created_at is 'When it was matched.';
comment on column swaps.updated_at is 'When it last changed.';
select lockstep_publish('swaps', 'select, insert, update');

create table swap_parties (
    swap_id text not null references swaps (id),
    role text not null check (role in ('maker', 'taker')),
    app_id text not null,
    user_id text,
    wallet_id text,
    session_id text,
    primary key (swap_id, role)
);
create index swap_parties_app on swap_parties (app_id, swap_id);
comment on table swap_parties is 'Which app stands behind a side of a swap, and how a managed taker''s legs are signed.';
comment on column swap_parties.swap_id is 'The swap.';
comment on column swap_parties.role is 'maker or taker.';
comment on column swap_parties.app_id is 'App of that side.';
comment on column swap_parties.user_id is 'User of the app, where one acted.';
comment on column swap_parties.wallet_id is 'Custody wallet of a managed taker.';
comment on column swap_parties.session_id is 'Session signer that the taker granted to the coordinator.';
select lockstep_protect('swap_parties', 'select', 'select, insert');

create table swap_secrets (
    swap_id text primary key references swaps (id),
    secret bytea not null check (octet_length(secret) = 32),
    source_time bigint not null,
    destination_time bigint not null,
    released_at timestamptz not null
);
comment on table swap_secrets is 'Secrets after their legal release; never before.';
comment on column swap_secrets.swap_id is 'The swap.';
comment on column swap_secrets.secret is 'The 32 bytes behind the hashlock.';
comment on column swap_secrets.source_time is 'Source chain time at the release.';
comment on column swap_secrets.destination_time is 'Destination chain time at the release.';
comment on column swap_secrets.released_at is 'When the maker''s client released it.';
select lockstep_hide('swap_secrets', 'select, insert');

create table swap_legs (
    swap_id text not null references swaps (id),
    leg text not null,
    attempt integer not null check (attempt >= 0),
    app_id text,
    transaction_id text,
    refusal text,
    reason text,
    created_at timestamptz not null,
    primary key (swap_id, leg, attempt),
    check ((transaction_id is null) = (refusal is not null))
);
create index swap_legs_public on swap_legs (created_at) where leg like '%public%';
comment on table swap_legs is 'Transactions that we sent for a swap, or why one was refused.';
comment on column swap_legs.swap_id is 'The swap.';
comment on column swap_legs.leg is 'What the transaction does.';
comment on column swap_legs.attempt is 'Counts from 0; the next one only after the last one failed for good.';
comment on column swap_legs.app_id is 'App whose wallet signs; null when nobody could.';
comment on column swap_legs.transaction_id is 'The transaction; null when it was refused.';
comment on column swap_legs.refusal is 'Stable code of the refusal.';
comment on column swap_legs.reason is 'Why it was refused, one sentence.';
comment on column swap_legs.created_at is 'When it was sent or refused.';
select lockstep_hide('swap_legs', 'select, insert');

create table escrows (
    chain text not null,
    block_number bigint not null,
    log_index integer not null,
    block_hash bytea not null,
    block_time bigint not null,
    transaction_hash bytea not null,
    side text not null check (side in ('source', 'destination')),
    factory bytea not null,
    address bytea not null,
    order_hash bytea not null,
    fill_index integer not null,
    hashlock bytea not null,
    maker bytea not null,
    taker bytea not null,
    token bytea not null,
    amount numeric(78,0) not null,
    safety_deposit numeric(78,0) not null,
    time_locks numeric(78,0) not null,
    parameters bytea not null,
    terms_chain text,
    terms_factory bytea,
    terms_token bytea,
    terms_receiver bytea,
    terms_amount numeric(78,0),
    terms_safety_deposit numeric(78,0),
    primary key (chain, block_number, log_index),
    unique (chain, address)
);
create index escrows_order on escrows (order_hash, side);
comment on table escrows is 'Escrows that our factories created for orders we know, on the chain as it is followed now.';
comment on column escrows.chain is 'CAIP-2.';
comment on column escrows.block_number is 'Block of the creation.';
comment on column escrows.log_index is 'Place of the event in its block.';
comment on column escrows.block_hash is 'Hash of that block.';
comment on column escrows.block_time is 'Chain time of that block, Unix seconds.';
comment on column escrows.transaction_hash is 'Transaction of the creation.';
comment on column escrows.side is 'source or destination.';
comment on column escrows.factory is 'Factory that created it, raw bytes.';
comment on column escrows.address is 'Address of the escrow, raw bytes; it commits to the immutables.';
comment on column escrows.order_hash is 'Order that it claims to belong to; anyone may claim on the destination.';
comment on column escrows.fill_index is 'Fill of the order; 0 on the destination, which does not say.';
comment on column escrows.hashlock is 'keccak256 of the secret.';
comment on column escrows.maker is 'Maker on the source, receiver on the destination, raw bytes.';
comment on column escrows.taker is 'Taker, raw bytes.';
comment on column escrows.token is 'Escrowed token, raw bytes.';
comment on column escrows.amount is 'Escrowed amount, smallest unit.';
comment on column escrows.safety_deposit is 'Safety deposit, smallest unit of the native coin.';
comment on column escrows.time_locks is 'Packed time locks with the deployment.';
comment on column escrows.parameters is 'Parameters of the escrow (fees).';
comment on column escrows.terms_chain is 'Source only: destination chain, CAIP-2.';
comment on column escrows.terms_factory is 'Source only: destination factory, raw bytes.';
comment on column escrows.terms_token is 'Source only: destination token, raw bytes.';
comment on column escrows.terms_receiver is 'Source only: destination receiver, raw bytes.';
comment on column escrows.terms_amount is 'Source only: destination amount at the price of the block, smallest unit.';
comment on column escrows.terms_safety_deposit is 'Source only: least deposit on the destination, smallest unit of its native coin.';
select lockstep_publish('escrows', 'select, insert, delete');

create table escrow_events (
    chain text not null,
    block_number bigint not null,
    log_index integer not null,
    block_hash bytea not null,
    block_time bigint not null,
    transaction_hash bytea not null,
    address bytea not null,
    kind text not null check (kind in ('withdrawn', 'cancelled', 'rescued')),
    secret bytea,
    primary key (chain, block_number, log_index)
);
create index escrow_events_address on escrow_events (chain, address);
comment on table escrow_events is 'What known escrows said about themselves, on the chain as it is followed now.';
comment on column escrow_events.chain is 'CAIP-2.';
comment on column escrow_events.block_number is 'Block of the event.';
comment on column escrow_events.log_index is 'Place of the event in its block.';
comment on column escrow_events.block_hash is 'Hash of that block.';
comment on column escrow_events.block_time is 'Chain time of that block, Unix seconds.';
comment on column escrow_events.transaction_hash is 'Transaction of the event.';
comment on column escrow_events.address is 'The escrow, raw bytes.';
comment on column escrow_events.kind is 'withdrawn, cancelled or rescued.';
comment on column escrow_events.secret is 'The secret that a withdrawal showed to everybody.';
select lockstep_publish('escrow_events', 'select, insert, delete');
