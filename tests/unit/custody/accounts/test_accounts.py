"""Accounts: nothing tells whether one exists, refresh tokens are good once, and what ends takes its tokens along."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.support.custody import World, message

from lockstep.custody import (
    AccountService,
    CallerNotAllowed,
    CredentialsMissing,
    PasswordHashing,
    Principal,
    TokenExpired,
    TokenInvalid,
    UserDisabled,
)
from lockstep.custody.access.tokens import check_issuer
from lockstep.custody.access.types import Issuer
from lockstep.custody.accounts.rules import FREE_ATTEMPTS, LONGEST_BLOCK
from lockstep.custody.accounts.types import Tokens
from lockstep.custody.errors import (
    AccountNameTaken,
    AccountNotFound,
    AccountsOff,
    IssuerInvalid,
    PasswordTooWeak,
    PasswordWrong,
    RefreshTokenInvalid,
    RegistrationClosed,
    TooManyLogins,
)
from lockstep.kit.ids import AppId, new_id

ALICE, PASSWORD, OTHER = "alice@example.org", "correct horse battery staple", "incorrect horse, other staple"
HOME, CAFE = "203.0.113.5", "198.51.100.7"


class Shop:
    """An app with accounts."""

    def __init__(self, world: World, app_id: AppId, secret: str) -> None:
        self.world, self.id, self.accounts = world, app_id, world.accounts
        self.app = Principal(kind="app", app_id=app_id)
        self.headers = {"app_id": app_id, "app_secret": secret}

    async def terms(self, **changes: object) -> None:
        await self.world.apps.update_app(self.world.admin, self.id, changes)

    async def login(self, name: str = ALICE, password: str = PASSWORD, address: str = HOME) -> Tokens:
        return await self.accounts.login(self.id, name, password, address)

    async def caller(self, access: str, **headers: str) -> Principal:
        return await self.world.authenticator.authenticate(authorization=f"Bearer {access}", **headers)

    async def is_good(self, access: str) -> bool:
        try:
            await self.caller(access)
        except (TokenInvalid, TokenExpired, UserDisabled):
            return False
        return True


async def make_shop(world: World, name: str = "Shop", accounts: str = "open") -> Shop:
    app, secret = await world.access.create_app(world.admin, name)
    shop = Shop(world, app.id, secret.text)
    await shop.terms(accounts=accounts)
    return shop


@pytest.fixture
async def shop(world: World) -> Shop:
    shop = await make_shop(world)
    await shop.accounts.register(shop.id, ALICE, PASSWORD, HOME)
    return shop


# --- registering ------------------------------------------------------------------------------------------------------


async def test_story__register_sign_in_sign_and_refresh(world: World, shop: Shop) -> None:
    tokens = await shop.login("ALICE@example.org")
    alice = await shop.caller(tokens.access)
    assert (alice.kind, alice.app_id, alice.role, alice.user_id) == ("user", shop.id, "user", tokens.user_id)
    assert await shop.caller(tokens.access, **shop.headers) == alice
    wallet = await world.wallet(alice)
    await world.rpc(alice, wallet, message())

    again = await shop.accounts.refresh(tokens.refresh)

    assert (await shop.caller(again.access)) == alice
    assert again.refresh_expires_at == tokens.refresh_expires_at
    actions = [row["action"] for row in await world.rows("select action from audit_entries order by seq")]
    assert {"account.created", "login.made"} <= set(actions)


async def test_register__a_name_that_somebody_has__is_answered_the_same_and_changes_nothing(
    world: World, shop: Shop
) -> None:
    before = await world.rows("select * from accounts")
    assert await shop.accounts.register(shop.id, ALICE.upper(), OTHER, CAFE) is None
    assert await world.rows("select * from accounts") == before
    assert len(await world.rows("select id from users")) == 1
    with pytest.raises(PasswordWrong):
        await shop.login(password=OTHER)
    await shop.login()


async def test_register__where_the_app_makes_accounts_itself__is_refused(world: World) -> None:
    closed, off = await make_shop(world, "Closed", "closed"), await make_shop(world, "Off", "off")
    with pytest.raises(RegistrationClosed):
        await closed.accounts.register(closed.id, ALICE, PASSWORD, HOME)
    for app_id in (off.id, AppId(new_id())):  # one that does not exist looks like one without accounts
        with pytest.raises(AccountsOff):
            await off.accounts.register(app_id, ALICE, PASSWORD, HOME)
        with pytest.raises(AccountsOff):
            await off.accounts.login(app_id, ALICE, PASSWORD, HOME)
    user = await closed.accounts.create_account(closed.app, ALICE, PASSWORD)
    assert (await closed.login()).user_id == user.id
    with pytest.raises(AccountNameTaken):
        await closed.accounts.create_account(closed.app, ALICE, OTHER)
    for caller in (Principal(kind="user", app_id=closed.id, role="operator"), world.admin):
        with pytest.raises(CallerNotAllowed):
            await closed.accounts.create_account(caller, "bob@example.org", PASSWORD)
    assert len(await world.rows("select id from users")) == 1


async def test_register__twenty_at_once_with_one_name__make_one_account(world: World) -> None:
    shop = await make_shop(world)
    await asyncio.gather(*(shop.accounts.register(shop.id, ALICE, PASSWORD, f"10.0.0.{n}") for n in range(20)))
    assert len(await world.rows("select user_id from accounts")) == 1
    assert len(await world.rows("select id from users")) == 1


async def test_accounts__one_name_in_two_apps__are_two_people(world: World, shop: Shop) -> None:
    other = await make_shop(world, "Other")
    with pytest.raises(PasswordWrong):
        await other.login()
    await other.accounts.register(other.id, ALICE, OTHER, HOME)
    mine, theirs = await shop.login(), await other.login(password=OTHER)
    assert mine.user_id != theirs.user_id
    with pytest.raises(TokenInvalid):
        await shop.caller(theirs.access, **shop.headers)


async def test_issuer__of_an_app__never_is_the_one_of_accounts(shop: Shop) -> None:
    """Else its tokens could name the users that sign in here."""
    with pytest.raises(IssuerInvalid):
        check_issuer(Issuer(issuer="urn:lockstep:accounts", audience="a", jwks_url="https://login.example/keys"))


async def test_secrets__of_accounts__are_nowhere_in_the_database(world: World, shop: Shop) -> None:
    tokens = await shop.login()
    rows = str(
        [
            await world.rows(f"select x::text from {table} x")
            for table in ("accounts", "logins", "login_tokens", "login_attempts", "audit_entries", "outbox")
        ]
    )
    for secret in (PASSWORD, tokens.access, tokens.refresh, tokens.access[4:], HOME):
        assert secret not in rows
    assert tokens.access not in repr(tokens)


# --- guessing ---------------------------------------------------------------------------------------------------------


async def test_login__unknown_name_wrong_password_or_disabled__look_the_same(world: World, shop: Shop) -> None:
    await shop.accounts.register(shop.id, "bob@example.org", PASSWORD, HOME)
    bob = (await shop.login("bob@example.org")).user_id
    await world.users.update_user(shop.app, bob, status="disabled")
    seen = []
    for name, password in [("nobody@example.org", PASSWORD), (ALICE, OTHER), ("bob@example.org", PASSWORD)]:
        with pytest.raises(PasswordWrong) as refused:
            await shop.login(name, password)
        seen.append(refused.value.problem())
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", [ALICE, "nobody@example.org"])
async def test_login__guessed_too_often__pauses_whether_or_not_the_account_exists(
    world: World, shop: Shop, name: str
) -> None:
    for number in range(FREE_ATTEMPTS["name"]):
        with pytest.raises(PasswordWrong):
            await shop.login(name, OTHER, address=f"10.0.0.{number}")
    pauses = []
    for number in range(6):
        with pytest.raises(TooManyLogins) as refused:
            await shop.login(name, PASSWORD, address=f"10.0.1.{number}")  # not even the right one is looked at
        pauses.append(refused.value.fields["retry_after_seconds"])
        world.clock.advance(timedelta(seconds=pauses[-1]))
        with pytest.raises(PasswordWrong):
            await shop.login(name, OTHER, address=f"10.0.2.{number}")
    assert pauses == [2, 4, 8, 16, 32, 64]


async def test_login__after_the_pause__works_and_starts_anew(world: World, shop: Shop) -> None:
    for _ in range(FREE_ATTEMPTS["name"]):
        with pytest.raises(PasswordWrong):
            await shop.login(password=OTHER)
    world.clock.advance(LONGEST_BLOCK)
    await shop.login()
    for _ in range(FREE_ATTEMPTS["name"]):
        with pytest.raises(PasswordWrong):
            await shop.login(password=OTHER)


async def test_login__a_hundred_guesses_at_once__get_no_more_tries_than_one_after_the_other(
    world: World, shop: Shop
) -> None:
    tries = await asyncio.gather(
        *(shop.login(password=f"guess number {n:03}!", address=f"10.0.0.{n}") for n in range(100)),
        return_exceptions=True,
    )
    looked_at = sum(isinstance(one, PasswordWrong) for one in tries)
    assert looked_at == FREE_ATTEMPTS["name"]
    assert {type(one) for one in tries} == {PasswordWrong, TooManyLogins}


async def test_login__many_names_from_one_address__pauses_that_address_only(world: World, shop: Shop) -> None:
    for number in range(FREE_ATTEMPTS["address"]):
        with pytest.raises(PasswordWrong):
            await shop.login(f"name-{number}", OTHER, address=CAFE)
    with pytest.raises(TooManyLogins):
        await shop.login(address=CAFE)
    await shop.login(address=HOME)


async def test_login__guessed_from_all_addresses_of_one_customer__pauses_the_customer(world: World, shop: Shop) -> None:
    for number in range(FREE_ATTEMPTS["address"]):
        with pytest.raises(PasswordWrong):
            await shop.login(f"name-{number}", OTHER, address=f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyLogins):
        await shop.login(address="2001:db8:1:2:ffff::1")
    await shop.login(address="2001:db8:1:3::1")


async def test_login__success_from_an_office__does_not_use_its_attempts_up(world: World, shop: Shop) -> None:
    for _ in range(FREE_ATTEMPTS["address"] + 5):
        await shop.login(address=CAFE)


async def test_register__very_many_from_one_address__pauses_it(world: World, shop: Shop) -> None:
    with pytest.raises(TooManyLogins):
        for number in range(FREE_ATTEMPTS["registration"] + 1):
            await shop.accounts.register(shop.id, f"user-{number}", PASSWORD, CAFE)


# --- refreshing -------------------------------------------------------------------------------------------------------


async def test_refresh_token__used_twice__ends_the_login_of_thief_and_owner(world: World, shop: Shop) -> None:
    first = await shop.login()
    elsewhere = await shop.login()
    second = await shop.accounts.refresh(first.refresh)
    third = await shop.accounts.refresh(second.refresh)
    assert await shop.is_good(third.access)

    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(first.refresh)

    for tokens in (first, second, third):
        assert not await shop.is_good(tokens.access)
        with pytest.raises(RefreshTokenInvalid):
            await shop.accounts.refresh(tokens.refresh)
    assert await shop.is_good(elsewhere.access)
    (entry,) = await world.rows("select record from audit_entries where action = 'login.token_reused'")
    assert first.user_id in entry["record"]
    (login,) = await world.rows("select ended_because from logins where ended_at is not null")
    assert login["ended_because"] == "reuse"


async def test_refresh_token__twenty_at_once__is_exchanged_once_at_most(world: World, shop: Shop) -> None:
    first = await shop.login()
    tries = await asyncio.gather(*(shop.accounts.refresh(first.refresh) for _ in range(20)), return_exceptions=True)
    got = [one for one in tries if isinstance(one, Tokens)]
    assert len(got) == 1
    assert {type(one) for one in tries} == {Tokens, RefreshTokenInvalid}
    assert not await shop.is_good(got[0].access)  # nobody can say whose it is


async def test_tokens__at_their_end__are_refused(world: World, shop: Shop) -> None:
    await shop.terms(access_token_seconds=60, login_seconds=3_600)
    tokens = await shop.login()
    assert await shop.is_good(tokens.access)
    world.clock.advance(timedelta(seconds=60))
    with pytest.raises(TokenExpired):
        await shop.caller(tokens.access)
    world.clock.advance(timedelta(seconds=3_510))
    late = await shop.accounts.refresh(tokens.refresh)
    assert late.access_expires_at == late.refresh_expires_at == tokens.refresh_expires_at
    world.clock.advance(timedelta(seconds=30))
    assert not await shop.is_good(late.access)
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(late.refresh)


@pytest.mark.parametrize("text", ["", "x", "lsr_", "lsr_" + "A" * 43, "lsu_" + "A" * 43, "lsr_" + "é" * 43])
async def test_refresh__what_is_no_token__is_refused_and_logout_says_nothing(shop: Shop, text: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(text)
    assert await shop.accounts.logout(text) is None
    with pytest.raises((TokenInvalid, CredentialsMissing)):
        await shop.caller(text)


async def test_access_token__as_refresh_token_and_the_other_way_round__is_refused(shop: Shop) -> None:
    tokens = await shop.login()
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(tokens.access)
    assert not await shop.is_good("lsu_" + tokens.refresh[4:])


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_logout__ends_this_login_and_no_other(shop: Shop) -> None:
    first, second = await shop.login(), await shop.login()
    await shop.accounts.logout(first.refresh)
    await shop.accounts.logout(first.refresh)
    assert [await shop.is_good(one.access) for one in (first, second)] == [False, True]
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(first.refresh)


async def test_user__disabled__ends_its_logins_for_good(world: World, shop: Shop) -> None:
    tokens = await shop.login()
    await world.users.update_user(shop.app, tokens.user_id, status="disabled")
    assert not await shop.is_good(tokens.access)
    await world.users.update_user(shop.app, tokens.user_id, status="active")
    assert not await shop.is_good(tokens.access)
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(tokens.refresh)
    assert await shop.is_good((await shop.login()).access)


@pytest.mark.parametrize("change", [{"accounts": "off"}, {"status": "suspended"}])
async def test_app__without_accounts_any_more__ends_their_tokens(shop: Shop, change: dict[str, str]) -> None:
    tokens = await shop.login()
    assert await shop.is_good(tokens.access)
    await shop.terms(**change)
    assert not await shop.is_good(tokens.access)
    with pytest.raises(RefreshTokenInvalid):
        await shop.accounts.refresh(tokens.refresh)


async def test_password__changed__ends_every_login(world: World, shop: Shop) -> None:
    first, second = await shop.login(), await shop.login()
    alice = await shop.caller(first.access)
    with pytest.raises(PasswordWrong):
        await shop.accounts.change_password(alice, OTHER, OTHER)
    with pytest.raises(PasswordTooWeak):
        await shop.accounts.change_password(alice, PASSWORD, ALICE)

    await shop.accounts.change_password(alice, PASSWORD, OTHER)

    assert [await shop.is_good(one.access) for one in (first, second)] == [False, False]
    with pytest.raises(PasswordWrong):
        await shop.login()
    await shop.login(password=OTHER)
    for caller, refusal in [(shop.app, CallerNotAllowed), (Principal(kind="user", app_id=shop.id), CallerNotAllowed)]:
        with pytest.raises(refusal):
            await shop.accounts.change_password(caller, OTHER, PASSWORD)


async def test_password__guessed_with_a_stolen_access_token__pauses_like_signing_in(shop: Shop) -> None:
    alice = await shop.caller((await shop.login()).access)
    for _ in range(FREE_ATTEMPTS["name"]):
        with pytest.raises(PasswordWrong):
            await shop.accounts.change_password(alice, "a guess of a thief", OTHER)
    with pytest.raises(TooManyLogins):
        await shop.accounts.change_password(alice, PASSWORD, OTHER)


async def test_password__set_by_the_app__opens_a_lost_account_and_ends_its_logins(world: World, shop: Shop) -> None:
    tokens = await shop.login()
    await shop.accounts.set_password(shop.app, tokens.user_id, OTHER)
    assert not await shop.is_good(tokens.access)
    await shop.login(password=OTHER)
    stranger = await make_shop(world, "Other")
    with pytest.raises(AccountNotFound):
        await shop.accounts.set_password(stranger.app, tokens.user_id, PASSWORD)
    with pytest.raises(CallerNotAllowed):
        await shop.accounts.set_password(
            Principal(kind="user", app_id=shop.id, user_id=tokens.user_id, role="user"), tokens.user_id, PASSWORD
        )


async def test_password__set_ten_times_at_once__is_one_of_the_ten_and_nothing_looks_tampered_with(
    world: World, shop: Shop
) -> None:
    user_id = (await shop.login()).user_id
    wanted = [f"correct horse number {number}" for number in range(10)]

    await asyncio.gather(*(shop.accounts.set_password(shop.app, user_id, password) for password in wanted))

    (row,) = await world.rows("select password_hash from accounts")
    hashing = PasswordHashing(passes=1, memory_kib=64)
    (last,) = [password for password in wanted if await hashing.verify(row["password_hash"], password)]
    await shop.login(password=last)


async def test_password__changed_while_an_old_one_is_looked_at__lets_nobody_in(world: World, shop: Shop) -> None:
    tokens = await shop.login()
    verify = world.accounts._passwords.verify

    async def slow(known: str | None, password: str) -> bool:
        is_right = await verify(known, password)
        await shop.accounts.set_password(shop.app, tokens.user_id, OTHER)
        return is_right

    world.accounts._passwords.verify = slow  # type: ignore[method-assign]  # what happens in between
    with pytest.raises(PasswordWrong):
        await shop.login()


async def test_password__hashed_with_lower_parameters__is_hashed_anew_at_the_next_login(
    world: World, shop: Shop
) -> None:
    raised = AccountService(
        world.database,
        world.audit,
        world.authenticator,
        world.seals,
        world.clock,
        PasswordHashing(passes=2, memory_kib=64),
    )
    await raised.login(shop.id, ALICE, PASSWORD, HOME)
    (row,) = await world.rows("select password_hash, password_changed_at = created_at as kept from accounts")
    assert "t=2" in row["password_hash"]
    assert row["kept"]
    await raised.login(shop.id, ALICE, PASSWORD, HOME)


async def test_housekeeping__what_has_ended__is_forgotten_and_the_rest_kept(world: World, shop: Shop) -> None:
    await shop.terms(login_seconds=86_400, login_history_days=10)
    ended, going = await shop.login(), await shop.login()
    await shop.accounts.logout(ended.refresh)
    with pytest.raises(PasswordWrong):
        await shop.login("nobody", PASSWORD)
    world.clock.advance(timedelta(hours=1))
    await world.custody.purge_expired()
    assert len(await world.rows("select id from logins")) == 2
    assert len(await world.rows("select kind from login_tokens")) == 2  # the refresh tokens
    going = await shop.accounts.refresh(going.refresh)
    world.clock.advance(timedelta(days=2))
    await world.custody.purge_expired()
    assert await world.rows("select * from login_attempts") == await world.rows("select * from login_tokens") == []
    assert len(await world.rows("select id from logins")) == 2
    world.clock.advance(timedelta(days=10))
    await world.custody.purge_expired()
    assert await world.rows("select id from logins") == []
    assert len(await world.rows("select user_id from accounts")) == 1
