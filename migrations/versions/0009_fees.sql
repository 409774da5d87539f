alter table transactions
    add column type smallint not null default 2 check (type in (0, 2)),
    add column speed text not null default 'standard' check (speed in ('slow', 'standard', 'fast')),
    add column data_fee numeric(78, 0) not null default 0 check (data_fee >= 0),
    add column is_private boolean not null default false;
comment on column transactions.type is 'Type of its signed forms: 0 has one gas price in both fee columns, 2 a fee cap and a tip cap.';
comment on column transactions.speed is 'How soon it should be mined; decides what is offered under the ceilings.';
comment on column transactions.data_fee is 'Fee of the parent chain for its bytes, wei: before it is mined what is kept back for it, then what its receipt says; 0 where there is none beside the gas.';
comment on column transactions.is_private is 'Sent to the private node of its chain only, as the settings of the chain say.';
