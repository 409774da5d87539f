create table accounts (
    user_id text primary key references users (id),
    app_id text not null references apps (app_id),
    name text not null check (length(name) between 3 and 254),
    password_hash text not null check (password_hash like '$argon2id$%'),
    created_at timestamptz not null,
    password_changed_at timestamptz not null,
    unique (app_id, name)
);
comment on table accounts is 'Users that sign in here with a name and a password.';
comment on column accounts.user_id is 'The user.';
comment on column accounts.app_id is 'App of the user.';
comment on column accounts.name is 'What the user signs in with, for example an e-mail address; in one form of the letters.';
comment on column accounts.password_hash is 'argon2id in PHC form, with its own salt and parameters.';
comment on column accounts.created_at is 'When it was made.';
comment on column accounts.password_changed_at is 'When the password was set.';
select lockstep_protect('accounts', 'select, insert, update', 'select, insert, update');

create table logins (
    id text primary key,
    app_id text not null references apps (app_id),
    user_id text not null references users (id),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    ended_because text check (ended_because in ('logout', 'reuse', 'password', 'disabled')),
    check ((ended_at is null) = (ended_because is null))
);
create index logins_of_user on logins (app_id, user_id) where ended_at is null;
create index logins_expiry on logins (expires_at);
comment on table logins is 'Times that somebody signed in with a password; all tokens of one end with it.';
comment on column logins.id is 'Id of the login.';
comment on column logins.app_id is 'App of the user.';
comment on column logins.user_id is 'Who signed in.';
comment on column logins.created_at is 'When.';
comment on column logins.expires_at is 'It ends by itself then, however often its tokens were refreshed.';
comment on column logins.ended_at is 'When it was ended before that.';
comment on column logins.ended_because is 'logout; reuse: a refresh token came twice, so one of both was stolen; password: it was changed; disabled: the user was.';
select lockstep_protect('logins', 'select, insert, update', 'select, insert, update, delete');

create table login_tokens (
    token_hash bytea primary key check (octet_length(token_hash) = 32),
    app_id text not null,
    login_id text not null references logins (id) on delete cascade,
    kind text not null check (kind in ('access', 'refresh')),
    expires_at timestamptz not null,
    used_at timestamptz
);
create index login_tokens_login on login_tokens (login_id);
create index login_tokens_expiry on login_tokens (expires_at);
comment on table login_tokens is 'Tokens of logins. A refresh token is good for one use; it is kept, so that a second use is noticed.';
comment on column login_tokens.token_hash is 'SHA-256 of the token, which has 256 random bits.';
comment on column login_tokens.app_id is 'App of the user.';
comment on column login_tokens.login_id is 'Login that it belongs to.';
comment on column login_tokens.kind is 'access: calls; refresh: is exchanged for new tokens.';
comment on column login_tokens.expires_at is 'It is refused from then on.';
comment on column login_tokens.used_at is 'When a refresh token was exchanged.';
select lockstep_protect('login_tokens', 'select, insert, update', 'select, insert, update, delete');

-- Counted for names that no account has, too: else the answer would tell which names there are.
create table login_attempts (
    app_id text not null,
    kind text not null check (kind in ('name', 'address', 'registration')),
    who bytea not null check (octet_length(who) = 32),
    attempts integer not null check (attempts >= 0),
    blocked_until timestamptz,
    counted_at timestamptz not null,
    primary key (app_id, kind, who)
);
create index login_attempts_age on login_attempts (counted_at);
comment on table login_attempts is 'How often signing in failed lately, and until when it is not tried again.';
comment on column login_attempts.app_id is 'App that was to be signed in to.';
comment on column login_attempts.kind is 'name: of an account; address: of the network; registration: of the network, for new accounts.';
comment on column login_attempts.who is 'SHA-256 of the name or address.';
comment on column login_attempts.attempts is 'Attempts that have not succeeded, in a row with at most a day between two.';
comment on column login_attempts.blocked_until is 'No password is looked at before.';
comment on column login_attempts.counted_at is 'The newest attempt.';
select lockstep_protect('login_attempts', 'select, insert, update, delete', 'select, insert, update, delete');
