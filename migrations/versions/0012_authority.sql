create table authorization_keys (
    id text primary key,
    app_id text not null references apps (app_id),
    public_key bytea not null,
    display_name text check (length(display_name) between 1 and 100),
    status text not null default 'active' check (status in ('active', 'revoked')),
    revision integer not null default 1 check (revision >= 1),
    created_at timestamptz not null,
    rotated_at timestamptz,
    revoked_at timestamptz,
    unique (app_id, id),
    check ((status = 'revoked') = (revoked_at is not null))
);
comment on table authorization_keys is 'Public keys whose holders authorise requests about what they own.';
comment on column authorization_keys.id is 'Id of the key; stays when the key pair is rotated.';
comment on column authorization_keys.app_id is 'App that it belongs to.';
comment on column authorization_keys.public_key is 'The P-256 key in force, as DER of SubjectPublicKeyInfo with the uncompressed point.';
comment on column authorization_keys.display_name is 'Name for people.';
comment on column authorization_keys.status is 'active; revoked authorises nothing, for ever.';
comment on column authorization_keys.revision is 'Counts rotations, from 1: what an earlier revision authorised does not stand any more.';
comment on column authorization_keys.created_at is 'When it was registered.';
comment on column authorization_keys.rotated_at is 'Last rotation.';
comment on column authorization_keys.revoked_at is 'When it was revoked.';
select lockstep_protect('authorization_keys', 'select, insert, update', 'select, insert, update');

create table authorization_key_points (
    app_id text not null,
    public_key bytea not null,
    key_id text not null,
    revision integer not null,
    created_at timestamptz not null,
    primary key (app_id, public_key),
    foreign key (app_id, key_id) references authorization_keys (app_id, id)
);
comment on table authorization_key_points is 'Every public key that an app ever registered, once: one holder cannot count twice, and a key that was given up does not come back.';
comment on column authorization_key_points.app_id is 'App of the key.';
comment on column authorization_key_points.public_key is 'DER of SubjectPublicKeyInfo with the uncompressed point.';
comment on column authorization_key_points.key_id is 'Key that it is or was.';
comment on column authorization_key_points.revision is 'Revision of the key in which it is or was in force.';
comment on column authorization_key_points.created_at is 'When it was registered.';
select lockstep_protect('authorization_key_points', 'select, insert', 'select, insert');
create trigger append_only before update or delete on authorization_key_points for each row execute function refuse_change();

create table key_quorums (
    id text primary key,
    app_id text not null references apps (app_id),
    display_name text check (length(display_name) between 1 and 100),
    threshold integer not null check (threshold >= 1),
    version integer not null default 1,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (app_id, id)
);
comment on table key_quorums is 'Groups of which so many must authorise together.';
comment on column key_quorums.id is 'Id of the quorum.';
comment on column key_quorums.app_id is 'App that it belongs to.';
comment on column key_quorums.display_name is 'Name for people.';
comment on column key_quorums.threshold is 'How many members must authorise.';
comment on column key_quorums.version is 'Counts changes.';
comment on column key_quorums.created_at is 'When it was made.';
comment on column key_quorums.updated_at is 'Last change.';
select lockstep_protect('key_quorums', 'select, insert, update, delete', 'select, insert, update, delete');

alter table users add unique (app_id, id);

create table key_quorum_members (
    app_id text not null,
    quorum_id text not null,
    key_id text,
    user_id text,
    child_id text check (child_id <> quorum_id),
    check (num_nonnulls(key_id, user_id, child_id) = 1),
    unique nulls not distinct (app_id, quorum_id, key_id, user_id, child_id),
    foreign key (app_id, quorum_id) references key_quorums (app_id, id) on delete cascade,
    foreign key (app_id, key_id) references authorization_keys (app_id, id),
    foreign key (app_id, user_id) references users (app_id, id),
    foreign key (app_id, child_id) references key_quorums (app_id, id)
);
create index key_quorum_members_key on key_quorum_members (app_id, key_id) where key_id is not null;
create index key_quorum_members_user on key_quorum_members (app_id, user_id) where user_id is not null;
create index key_quorum_members_child on key_quorum_members (app_id, child_id) where child_id is not null;
comment on table key_quorum_members is 'Members of quorums: keys, users, and quorums that have none themselves.';
comment on column key_quorum_members.app_id is 'App of the quorum.';
comment on column key_quorum_members.quorum_id is 'The quorum.';
comment on column key_quorum_members.key_id is 'Authorization key that is a member.';
comment on column key_quorum_members.user_id is 'User that is a member: its token authorises.';
comment on column key_quorum_members.child_id is 'Quorum that is a member: it counts once when its own threshold is met.';
select lockstep_protect('key_quorum_members', 'select, insert, delete', 'select, insert, delete');

create function lockstep_key(of_app text, of_key text) returns jsonb language sql stable as $$
    select jsonb_build_object('id', k.id, 'public_key', encode(k.public_key, 'hex'), 'revision', k.revision,
        'is_active', k.status = 'active')
    from authorization_keys k where k.app_id = of_app and k.id = of_key
$$;
comment on function lockstep_key(text, text) is 'An authorization key with what is needed to check a signature.';

create function lockstep_quorum(of_app text, of_quorum text) returns jsonb language sql stable as $$
    select jsonb_build_object('id', q.id, 'kind', 'key_quorum', 'threshold', q.threshold,
        'keys', (select coalesce(jsonb_agg(lockstep_key(m.app_id, m.key_id) order by m.key_id), '[]'::jsonb)
            from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id and m.key_id is not null),
        'users', (select coalesce(jsonb_agg(m.user_id order by m.user_id), '[]'::jsonb)
            from key_quorum_members m where m.app_id = q.app_id and m.quorum_id = q.id and m.user_id is not null),
        'quorums', '[]'::jsonb)
    from key_quorums q where q.app_id = of_app and q.id = of_quorum
$$;
comment on function lockstep_quorum(text, text) is 'A quorum with its keys and users, without the quorums in it.';

create function lockstep_owner(of_app text, of_key text, of_quorum text) returns jsonb language sql stable as $$
    select coalesce(
        (select jsonb_build_object('id', of_key, 'kind', 'authorization_key', 'threshold', 1, 'keys',
            jsonb_build_array(k.key), 'users', '[]'::jsonb, 'quorums', '[]'::jsonb)
            from (select lockstep_key(of_app, of_key) as key) k where k.key is not null),
        lockstep_quorum(of_app, of_quorum) || jsonb_build_object('quorums',
            (select coalesce(jsonb_agg(lockstep_quorum(m.app_id, m.child_id) order by m.child_id), '[]'::jsonb)
            from key_quorum_members m where m.app_id = of_app and m.quorum_id = of_quorum and m.child_id is not null)))
$$;
comment on function lockstep_owner(text, text, text) is 'A key or a quorum as an owner: everything by which it is decided whether it authorises.';

create function lockstep_nobody() returns jsonb language sql immutable as $$
    select '{"id": "", "kind": "key_quorum", "threshold": 1, "keys": [], "users": [], "quorums": []}'::jsonb
$$;
comment on function lockstep_nobody() is 'An owner that authorises nothing: what a wallet belongs to whose owner is not there.';

alter table wallets
    add column owner_key_id text,
    add column owner_quorum_id text,
    add foreign key (app_id, owner_key_id) references authorization_keys (app_id, id),
    add foreign key (app_id, owner_quorum_id) references key_quorums (app_id, id),
    add constraint wallets_one_owner check (num_nonnulls(owner_user_id, owner_key_id, owner_quorum_id) <= 1);
create index wallets_owner_key on wallets (app_id, owner_key_id) where owner_key_id is not null;
create index wallets_owner_quorum on wallets (app_id, owner_quorum_id) where owner_quorum_id is not null;
comment on column wallets.owner_user_id is 'User whose token every signature needs. Without any owner the app''s secret is enough.';
comment on column wallets.owner_key_id is 'Authorization key that must sign every request about the wallet.';
comment on column wallets.owner_quorum_id is 'Quorum that must sign every request about the wallet.';

alter table policies
    add column owner_key_id text,
    add column owner_quorum_id text,
    add foreign key (app_id, owner_key_id) references authorization_keys (app_id, id),
    add foreign key (app_id, owner_quorum_id) references key_quorums (app_id, id),
    add constraint policies_one_owner check (num_nonnulls(owner_user_id, owner_key_id, owner_quorum_id) <= 1);
create index policies_owner_key on policies (app_id, owner_key_id) where owner_key_id is not null;
create index policies_owner_quorum on policies (app_id, owner_quorum_id) where owner_quorum_id is not null;
comment on column policies.owner_user_id is 'Only this user may change it. Without any owner the app may.';
comment on column policies.owner_key_id is 'Authorization key that must sign every change.';
comment on column policies.owner_quorum_id is 'Quorum that must sign every change.';

alter table session_signers
    add column authorization_key_id text,
    add foreign key (app_id, authorization_key_id) references authorization_keys (app_id, id),
    drop constraint session_signers_grantee_check,
    add constraint session_signers_grantee_check
        check (grantee in ('token', 'key') or grantee ~ '^module:[a-z][a-z_]{1,40}$'),
    add constraint session_signers_key_check check (
        case grantee when 'token' then true when 'key' then authorization_key_id is not null
        else authorization_key_id is null end);
create index session_signers_key on session_signers (app_id, wallet_id) where status = 'active' and grantee = 'key';
comment on column session_signers.grantee is 'token: whoever holds the bearer token; key: whoever signs with the authorization key; module:<name>: that module of this deployment.';
comment on column session_signers.authorization_key_id is 'Authorization key that must sign each request; null: none.';

alter table signing_decisions add column authorized_by text[] not null default '{}';
comment on column signing_decisions.authorized_by is 'Keys (with their revision) and users that authorised it for the owner, or as the session signer; looked at again before it is signed.';

create table used_requests (
    app_id text not null,
    payload_hash bytea not null check (octet_length(payload_hash) = 32),
    use_id text not null,
    expires_at timestamptz not null,
    primary key (app_id, payload_hash)
);
create index used_requests_expiry on used_requests (expires_at);
comment on table used_requests is 'Signed requests that were carried out and have no idempotency key to make them one: the same is not taken twice.';
comment on column used_requests.app_id is 'App of the caller.';
comment on column used_requests.payload_hash is 'SHA-256 of what was signed; signatures have second forms, so they are not what is remembered.';
comment on column used_requests.use_id is 'The one arrival that used it; it may write several things.';
comment on column used_requests.expires_at is 'The request itself is refused from then on.';
select lockstep_protect('used_requests', 'select, insert, update', 'select, insert, update, delete');
