create table seals (
    kind text not null check (kind ~ '^[a-z_]{1,32}$'),
    id text not null,
    app_id text not null,
    revision bigint not null check (revision > 0),
    code bytea not null check (octet_length(code) = 32),
    primary key (id, kind)
);
comment on table seals is 'A keyed code over every row that carries authority: who edits such a row, or brings back an older one, gets nothing signed.';
comment on column seals.kind is 'What is sealed: wallet, session, policy, app, secret and so on.';
comment on column seals.id is 'Id of the sealed row; of a kill switch its app, or empty for the deployment.';
comment on column seals.app_id is 'App of the row; empty for what belongs to the deployment.';
comment on column seals.revision is 'Counts the changes; the newest one is also noted outside the database.';
comment on column seals.code is 'HMAC-SHA256 over kind, id, revision and what carries authority; its key is not in the database.';
select lockstep_protect('seals', 'select, insert, update, delete', 'select, insert, update, delete');
create policy deployment on seals for select to lockstep_tenant using (app_id = '');

alter table login_tokens add column seal bytea check (octet_length(seal) = 32);
comment on column login_tokens.seal is 'Keyed code over the token: one that was written past the service lets nobody in.';

alter table signing_decisions add column seal bytea check (octet_length(seal) = 32);
comment on column signing_decisions.seal is 'Keyed code over the decision: one that was written past the service signs nothing.';

create function lockstep_owner_ids(of_app text, of_key text, of_quorum text) returns text[] language sql stable as $$
    with quorums as (
        select of_quorum as id where of_quorum is not null
        union select m.child_id from key_quorum_members m
        where m.app_id = of_app and m.quorum_id = of_quorum and m.child_id is not null
    )
    select array_agg(found.id) from (
        select of_key as id
        union all select q.id from quorums q
        union all select m.key_id from key_quorum_members m
            where m.app_id = of_app and m.quorum_id in (select q.id from quorums q) and m.key_id is not null
    ) found where found.id is not null
$$;
comment on function lockstep_owner_ids(text, text, text) is 'The keys and quorums in an owner, whose seals are read with it; which of them must be there is not left to this.';
