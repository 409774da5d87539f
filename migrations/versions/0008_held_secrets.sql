create table order_secrets (
    order_hash bytea not null references orders (hash),
    fill_index integer not null check (fill_index >= 0),
    sealed bytea not null,
    held_at timestamptz not null,
    primary key (order_hash, fill_index)
);
comment on table order_secrets is 'Secrets that makers left here to be released for them; gone once they are released or of no use.';
comment on column order_secrets.order_hash is 'The order.';
comment on column order_secrets.fill_index is 'Which fill.';
comment on column order_secrets.sealed is 'The secret, sealed for this order and fill under a key that the database does not have.';
comment on column order_secrets.held_at is 'When the maker left it.';
select lockstep_hide('order_secrets', 'select, insert, update, delete');
