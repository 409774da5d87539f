create table chain_checkpoints (
    follower text not null check (follower ~ '^[a-z][a-z_.]{0,40}$'),
    chain text not null check (chain ~ '^[a-z0-9-]{3,8}:[-_a-zA-Z0-9]{1,32}$'),
    block_number bigint not null check (block_number >= -1),
    block_hash bytea not null,
    block_timestamp bigint not null,
    unwound integer not null default 0,
    updated_at timestamptz not null default now(),
    primary key (follower, chain)
);
comment on table chain_checkpoints is 'How far each follower has executed each chain; moves in the same transaction as what it wrote.';
comment on column chain_checkpoints.follower is 'Name of the follower, for example escrows.';
comment on column chain_checkpoints.chain is 'Chain, CAIP-2.';
comment on column chain_checkpoints.block_number is 'Last executed block; -1 before the first.';
comment on column chain_checkpoints.block_hash is 'Its hash, 32 bytes; empty before the first block.';
comment on column chain_checkpoints.block_timestamp is 'Its time, seconds since 1970, as the chain says.';
comment on column chain_checkpoints.unwound is 'Reorganisations undone so far.';
comment on column chain_checkpoints.updated_at is 'When it moved last.';
select lockstep_publish('chain_checkpoints', 'select, insert, update');

create table chain_blocks (
    follower text not null,
    chain text not null,
    number bigint not null,
    hash bytea not null check (octet_length(hash) = 32),
    block_timestamp bigint not null,
    primary key (follower, chain, number),
    foreign key (follower, chain) references chain_checkpoints (follower, chain)
);
comment on table chain_blocks is 'Recent executed blocks, to find the common ancestor when a chain is reorganised.';
comment on column chain_blocks.follower is 'Follower that executed the block.';
comment on column chain_blocks.chain is 'Chain, CAIP-2.';
comment on column chain_blocks.number is 'Height.';
comment on column chain_blocks.hash is 'Hash of the executed block, 32 bytes.';
comment on column chain_blocks.block_timestamp is 'Its time, seconds since 1970, as the chain says.';
select lockstep_publish('chain_blocks', 'select, insert, update, delete');
