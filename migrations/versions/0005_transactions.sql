create table transactions (
    id text primary key,
    app_id text not null,
    wallet_id text not null,
    decision_id text not null,
    chain text not null check (chain ~ '^[a-z0-9-]{3,8}:[-_a-zA-Z0-9]{1,32}$'),
    from_address text not null check (from_address ~ '^0x[0-9a-f]{40}$'),
    to_address text check (to_address ~ '^0x[0-9a-f]{40}$'),
    value numeric(78, 0) not null check (value >= 0),
    data bytea not null check (octet_length(data) <= 131072),
    gas_limit_ceiling bigint check (gas_limit_ceiling > 0),
    max_fee_ceiling numeric(78, 0) check (max_fee_ceiling >= 0),
    max_priority_fee_ceiling numeric(78, 0) check (max_priority_fee_ceiling >= 0),
    idempotency_key text not null check (length(idempotency_key) between 1 and 256),
    priority integer not null default 0,
    deadline_at timestamptz,
    correlation_id text,
    wakes_kind text,
    wakes_id text,
    state text not null check (state in ('queued', 'reserved', 'signed', 'broadcast', 'mined', 'final', 'reverted_final',
        'replaced', 'cancelled', 'expired', 'dropped', 'replaced_externally')),
    version integer not null default 1,
    due_at timestamptz,
    failures integer not null default 0,
    reason text,
    nonce bigint check (nonce >= 0),
    attempt integer not null default 0,
    gas_limit bigint,
    max_fee_per_gas numeric(78, 0),
    max_priority_fee_per_gas numeric(78, 0),
    hash bytea check (octet_length(hash) = 32),
    block_number bigint,
    block_hash bytea check (octet_length(block_hash) = 32),
    succeeded boolean,
    gas_used bigint,
    effective_gas_price numeric(78, 0),
    contract_address text,
    revert_reason text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (app_id, wallet_id, idempotency_key),
    check ((wakes_kind is null) = (wakes_id is null)),
    check ((due_at is null) = (state in ('final', 'reverted_final', 'cancelled', 'expired', 'dropped', 'replaced_externally'))),
    check (state not in ('reserved', 'signed', 'broadcast', 'mined', 'replaced') or nonce is not null),
    check (state not in ('mined', 'final', 'reverted_final') or block_hash is not null)
);
create index transactions_work on transactions (chain, state, from_address, nonce) where due_at is not null;
create index transactions_app on transactions (app_id, id);
create index transactions_wallet on transactions (app_id, wallet_id, id);
comment on table transactions is 'Every transaction that is sent, from the decision that allows it to its final outcome.';
comment on column transactions.id is 'Id of the transaction.';
comment on column transactions.app_id is 'App of the wallet.';
comment on column transactions.wallet_id is 'Wallet that signs.';
comment on column transactions.decision_id is 'Decision of custody that allows it.';
comment on column transactions.chain is 'Chain, CAIP-2.';
comment on column transactions.from_address is 'Address of the wallet; 0x and lower-case hex.';
comment on column transactions.to_address is 'Recipient or contract; null creates a contract.';
comment on column transactions.value is 'Native coin that is sent, smallest unit.';
comment on column transactions.data is 'Calldata or creation code.';
comment on column transactions.gas_limit_ceiling is 'Gas limit that was decided on; null: an estimate.';
comment on column transactions.max_fee_ceiling is 'Highest fee per gas that was decided on, wei; null: that of the chain.';
comment on column transactions.max_priority_fee_ceiling is 'Highest tip per gas that was decided on, wei; null: none.';
comment on column transactions.idempotency_key is 'The same key for the same wallet is the same transaction.';
comment on column transactions.priority is 'Higher goes first among those that wait.';
comment on column transactions.deadline_at is 'Not sent any more when it still waits then.';
comment on column transactions.correlation_id is 'Request or process that asked for it.';
comment on column transactions.wakes_kind is 'Kind of the durable process that waits for the outcome.';
comment on column transactions.wakes_id is 'Id of that process.';
comment on column transactions.state is 'Where it stands; replaced: a dearer form of it waits for its signature.';
comment on column transactions.version is 'Counts changes of the state.';
comment on column transactions.due_at is 'Next look, host clock; null when it has ended.';
comment on column transactions.failures is 'Looks in a row that failed in passing.';
comment on column transactions.reason is 'Why it waits or ended where it did, one sentence.';
comment on column transactions.nonce is 'Reserved nonce.';
comment on column transactions.attempt is 'Newest attempt; 0 before the first.';
comment on column transactions.gas_limit is 'Gas limit of the newest attempt.';
comment on column transactions.max_fee_per_gas is 'Fee cap of the newest attempt, wei.';
comment on column transactions.max_priority_fee_per_gas is 'Tip cap of the newest attempt, wei.';
comment on column transactions.hash is 'Hash that was mined, or that of the newest signed attempt.';
comment on column transactions.block_number is 'Block of inclusion.';
comment on column transactions.block_hash is 'Hash of that block; compared again before it counts as final.';
comment on column transactions.succeeded is 'Whether it did not revert.';
comment on column transactions.gas_used is 'Gas that it took.';
comment on column transactions.effective_gas_price is 'Price that was paid, wei per gas.';
comment on column transactions.contract_address is 'Contract that it created.';
comment on column transactions.revert_reason is 'Decoded reason when it reverted.';
comment on column transactions.created_at is 'When it was queued.';
comment on column transactions.updated_at is 'Last change of the state.';
select lockstep_protect('transactions', 'select, insert, update', 'select, insert, update');

create table transaction_attempts (
    transaction_id text not null references transactions (id),
    attempt integer not null check (attempt > 0),
    app_id text not null,
    nonce bigint not null,
    gas_limit bigint not null,
    max_fee_per_gas numeric(78, 0) not null,
    max_priority_fee_per_gas numeric(78, 0) not null,
    digest bytea not null check (octet_length(digest) = 32),
    hash bytea check (octet_length(hash) = 32),
    raw bytea,
    created_at timestamptz not null,
    sent_at timestamptz,
    sent_block bigint,
    sends integer not null default 0,
    outcome text,
    message text,
    primary key (transaction_id, attempt),
    check ((hash is null) = (raw is null))
);
comment on table transaction_attempts is 'Every form in which a transaction was signed; any of them may be the one that is mined.';
comment on column transaction_attempts.transaction_id is 'The transaction.';
comment on column transaction_attempts.attempt is '1 for the first form, one more for each replacement.';
comment on column transaction_attempts.app_id is 'App of the wallet.';
comment on column transaction_attempts.nonce is 'Its nonce.';
comment on column transaction_attempts.gas_limit is 'Its gas limit.';
comment on column transaction_attempts.max_fee_per_gas is 'Its fee cap, wei; stored before the signature so that signing again gives the same bytes.';
comment on column transaction_attempts.max_priority_fee_per_gas is 'Its tip cap, wei.';
comment on column transaction_attempts.digest is 'What is signed.';
comment on column transaction_attempts.hash is 'Hash of the signed transaction; null before the signature.';
comment on column transaction_attempts.raw is 'The signed bytes, resent as they are.';
comment on column transaction_attempts.created_at is 'When the fees were fixed.';
comment on column transaction_attempts.sent_at is 'When a node was last given the bytes.';
comment on column transaction_attempts.sent_block is 'Head of the chain when a node was first given the bytes.';
comment on column transaction_attempts.sends is 'How often a node was given the bytes.';
comment on column transaction_attempts.outcome is 'What the node answered last, as one word.';
comment on column transaction_attempts.message is 'What the node answered last, in its words.';
select lockstep_protect('transaction_attempts', 'select', 'select, insert, update');

create table transaction_steps (
    transaction_id text not null references transactions (id),
    version integer not null,
    app_id text not null,
    from_state text,
    to_state text not null,
    reason text,
    facts jsonb not null,
    created_at timestamptz not null,
    primary key (transaction_id, version)
);
comment on table transaction_steps is 'Timeline of every transaction; append-only.';
comment on column transaction_steps.transaction_id is 'The transaction.';
comment on column transaction_steps.version is 'Version of the transaction after the step.';
comment on column transaction_steps.app_id is 'App of the wallet.';
comment on column transaction_steps.from_state is 'State before; null for the first.';
comment on column transaction_steps.to_state is 'State after.';
comment on column transaction_steps.reason is 'Why, one sentence.';
comment on column transaction_steps.facts is 'What the step rests on: nonce, hash, fees, block; amounts as strings.';
comment on column transaction_steps.created_at is 'When the step was made.';
select lockstep_protect('transaction_steps', 'select, insert', 'select, insert');

create table nonce_reservations (
    chain text not null,
    address text not null check (address ~ '^0x[0-9a-f]{40}$'),
    nonce bigint not null check (nonce >= 0),
    app_id text not null,
    transaction_id text references transactions (id),
    created_at timestamptz not null,
    primary key (chain, address, nonce)
);
create index nonce_reservations_transaction on nonce_reservations (transaction_id);
comment on table nonce_reservations is 'The one authority for nonces, next to the chain: a nonce belongs to one transaction.';
comment on column nonce_reservations.chain is 'Chain, CAIP-2.';
comment on column nonce_reservations.address is 'Account; 0x and lower-case hex.';
comment on column nonce_reservations.nonce is 'The nonce.';
comment on column nonce_reservations.app_id is 'App of the wallet.';
comment on column nonce_reservations.transaction_id is 'Transaction that has it; null: signed for the caller, who sends it.';
comment on column nonce_reservations.created_at is 'When it was reserved.';
select lockstep_protect('nonce_reservations', 'select, insert', 'select, insert, update, delete');

create table signed_digests (
    chain text not null,
    address text not null check (address ~ '^0x[0-9a-f]{40}$'),
    nonce bigint not null check (nonce >= 0),
    digest bytea not null check (octet_length(digest) = 32),
    app_id text not null,
    content bytea not null check (octet_length(content) = 32),
    max_fee_per_gas numeric(78, 0) not null,
    max_priority_fee_per_gas numeric(78, 0) not null,
    created_at timestamptz not null,
    primary key (chain, address, nonce, digest),
    foreign key (chain, address, nonce) references nonce_reservations (chain, address, nonce)
);
comment on table signed_digests is 'Defence against signing twice: a digest stands here before its signature is asked for; a second one for a nonce must be a dearer form of the same transaction.';
comment on column signed_digests.chain is 'Chain, CAIP-2.';
comment on column signed_digests.address is 'Account; 0x and lower-case hex.';
comment on column signed_digests.nonce is 'The nonce.';
comment on column signed_digests.digest is 'What is signed.';
comment on column signed_digests.app_id is 'App of the wallet.';
comment on column signed_digests.content is 'SHA-256 over recipient, value and data; the digest itself where they are not known.';
comment on column signed_digests.max_fee_per_gas is 'Fee cap, wei.';
comment on column signed_digests.max_priority_fee_per_gas is 'Tip cap, wei.';
comment on column signed_digests.created_at is 'When it was entered.';
select lockstep_protect('signed_digests', 'select, insert', 'select, insert, delete');
