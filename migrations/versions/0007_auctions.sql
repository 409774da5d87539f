create table orders (
    id text primary key,
    hash bytea not null unique check (octet_length(hash) = 32),
    source_chain text not null,
    source_factory bytea not null,
    maker bytea not null,
    source_token bytea not null,
    source_amount numeric(78,0) not null check (source_amount > 0),
    destination_chain text not null,
    destination_token bytea not null,
    start_time bigint not null,
    expiry bigint not null,
    hashlock bytea not null check (octet_length(hashlock) = 32),
    nonce numeric(78,0) not null,
    document jsonb not null,
    signature bytea not null,
    signature_kind text not null check (signature_kind in ('eip712', 'eip1271')),
    permit bytea not null,
    state text not null check (state in ('received', 'validated', 'scheduled', 'open', 'partially_filled', 'filled',
        'cancelled', 'expired', 'rejected')),
    validity text not null check (validity in ('ok', 'balance_low', 'allowance_low', 'nonce_used', 'signature_bad',
        'predicate_false')),
    validity_checked_at timestamptz not null,
    cancel_requested_at timestamptz,
    invalidated_block bigint,
    version integer not null default 1,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint orders_hashlock unique (maker, hashlock),
    constraint orders_nonce unique (maker, source_chain, source_factory, nonce)
);
create index orders_live on orders (source_chain, expiry) where state in ('scheduled', 'open');
create index orders_state on orders (state, id);
create index orders_maker on orders (maker, id);
comment on table orders is 'The auction book of this deployment: public, written by the system role only.';
comment on column orders.id is 'Sort key of lists; readers know an order by its hash.';
comment on column orders.hash is 'EIP-712 digest of the order in its domain.';
comment on column orders.source_chain is 'CAIP-2.';
comment on column orders.source_factory is 'Factory of the domain, raw bytes.';
comment on column orders.maker is 'Who signed, raw bytes.';
comment on column orders.source_token is 'Token that the maker sells, raw bytes.';
comment on column orders.source_amount is 'Smallest unit of the source token.';
comment on column orders.destination_chain is 'CAIP-2.';
comment on column orders.destination_token is 'Token that the maker wants, raw bytes.';
comment on column orders.start_time is 'Source chain time (Unix seconds) from which it can be taken.';
comment on column orders.expiry is 'Source chain time (Unix seconds) from which it cannot be taken any more.';
comment on column orders.hashlock is 'keccak256 of the secret; used once per maker.';
comment on column orders.nonce is 'Unordered nonce of the maker; used once per factory.';
comment on column orders.document is 'The signed members by their EIP-712 names.';
comment on column orders.signature is 'The maker''s signature.';
comment on column orders.signature_kind is 'eip712 or eip1271.';
comment on column orders.permit is 'Empty, or an EIP-2612 permit that the taker passes on.';
comment on column orders.state is 'How far the order is.';
comment on column orders.validity is 'Whether the maker''s chain would allow a fill now.';
comment on column orders.validity_checked_at is 'When the maker''s chain was last asked.';
comment on column orders.cancel_requested_at is 'When the maker asked to cancel; it is cancelled once that is final on chain.';
comment on column orders.invalidated_block is 'Block in which the maker invalidated the nonce, as the chain is followed now.';
comment on column orders.version is 'Counts changes that readers were told of.';
comment on column orders.created_at is 'When it was accepted.';
comment on column orders.updated_at is 'When it last changed.';
select lockstep_publish('orders', 'select, insert, update');

create table order_owners (
    order_hash bytea primary key references orders (hash),
    app_id text not null,
    user_id text,
    wallet_id text
);
create index order_owners_app on order_owners (app_id);
comment on table order_owners is 'Which app (user, wallet) stands behind the maker of an order; external makers have no row.';
comment on column order_owners.order_hash is 'The order.';
comment on column order_owners.app_id is 'App that posted it.';
comment on column order_owners.user_id is 'User that posted it; null: the app itself.';
comment on column order_owners.wallet_id is 'Custody wallet of the maker; null: the maker''s key is elsewhere.';
select lockstep_protect('order_owners', 'select', 'select, insert');

create table order_fills (
    order_hash bytea not null references orders (hash),
    fill_index integer not null check (fill_index >= 0),
    swap_id text not null references swaps (id),
    taker bytea not null,
    mode text not null check (mode in ('managed', 'external')),
    settlement_state text not null,
    source_amount numeric(78,0) not null,
    destination_amount numeric(78,0) not null,
    is_consumed boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (order_hash, fill_index, swap_id)
);
comment on table order_fills is 'Attempts to take an order, each settled by a swap.';
comment on column order_fills.order_hash is 'The order.';
comment on column order_fills.fill_index is 'Which fill; 0 is the only one of a whole fill.';
comment on column order_fills.swap_id is 'Swap that settles it.';
comment on column order_fills.taker is 'Taker, raw bytes.';
comment on column order_fills.mode is 'managed or external.';
comment on column order_fills.settlement_state is 'State of the swap.';
comment on column order_fills.source_amount is 'Smallest unit of the source token.';
comment on column order_fills.destination_amount is 'Price of the fill, smallest unit of the destination token.';
comment on column order_fills.is_consumed is 'The source escrow exists on the chain as it is followed now.';
comment on column order_fills.created_at is 'When the taker was matched.';
comment on column order_fills.updated_at is 'When it last changed.';
select lockstep_publish('order_fills', 'select, insert, update');
