"""Users of an app: their roles, and that who is disabled is shut out at once, by every road."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from tests.support.custody import BOB, CHAIN, GWEI, START, World, message, send
from tests.support.issuer import TRUSTED, token

from lockstep.chains.evm import UnsignedTransaction
from lockstep.custody import (
    Authenticator,
    AuthorityService,
    CallerNotAllowed,
    NewWallet,
    OwnerRequired,
    Principal,
    SessionTerms,
    TokenVerifier,
    TransactionIntent,
    UserDisabled,
    UserService,
    Wallet,
    WalletNotFound,
)
from lockstep.custody.authority.service import QuorumTerms
from lockstep.custody.errors import SessionRevoked, UserNotFound
from lockstep.kit.ids import new_id


class Team:
    """An app with users who hold tokens."""

    def __init__(self, world: World, headers: dict[str, str]) -> None:
        self.world, self.headers = world, headers
        self.bearers: dict[str, str] = {}
        self.app = Principal(kind="app", app_id=headers["app_id"])  # type: ignore[arg-type]  # an id

    async def user(self, name: str, role: str = "user") -> Principal:
        found = await self.sign_in(name)
        if role != "user":
            await self.world.users.update_user(self.app, str(found.user_id), role=role)  # type: ignore[arg-type]
            found = await self.sign_in(name)
        return found

    async def sign_in(self, name: str) -> Principal:
        bearer = self.bearers.setdefault(name, f"Bearer {token(sub=name)}")
        return await self.world.authenticator.authenticate(**self.headers, authorization=bearer)


@pytest.fixture
async def team(world: World) -> Team:
    app, secret = await world.access.create_app(world.admin, "Alpha", [TRUSTED])
    return Team(world, {"app_id": app.id, "app_secret": secret.text})


def intent_of(wallet: Wallet) -> TransactionIntent:
    return TransactionIntent(
        app_id=wallet.app_id,
        wallet_id=wallet.id,
        chain=CHAIN,
        from_address=wallet.address,
        to=BOB,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
        idempotency_key=new_id(),
    )


def signed_form() -> UnsignedTransaction:
    return UnsignedTransaction(
        chain_id=31337,
        nonce=0,
        to=BOB,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
    )


# --- shutting out -----------------------------------------------------------------------------------------------------


async def test_user__disabled__no_token_holds_any_more(world: World, team: Team) -> None:
    alice = await team.user("alice")

    await world.users.update_user(team.app, str(alice.user_id), status="disabled")

    with pytest.raises(UserDisabled):
        await team.sign_in("alice")
    assert (await team.sign_in("bob")).kind == "user"
    await world.users.update_user(team.app, str(alice.user_id), status="active")
    assert await team.sign_in("alice") == alice


async def test_user__disabled_elsewhere__signs_nothing_although_its_token_is_remembered(
    world: World, team: Team
) -> None:
    """Another process remembers credentials for two seconds; what signs looks at the user in its own transaction."""
    alice = await team.user("alice")
    wallet = await world.wallet(alice)
    async with world.database.tenant(alice.tenant) as uow:
        queued = (await world.custody.decide_transaction(uow, alice, wallet, intent_of(wallet))).id
    elsewhere = Authenticator(world.database, TokenVerifier(world.clock), world.seals, world.clock)
    users = UserService(world.database, world.audit, elsewhere, world.seals, world.clock)
    await users.update_user(team.app, alice.user_id or "", status="disabled")

    assert await team.sign_in("alice") == alice  # remembered
    for body in (message(), send()):
        with pytest.raises(UserDisabled):
            await world.rpc(alice, wallet, body)
    (answer,) = await world.custody.sign_transactions([(queued, signed_form())])
    assert isinstance(answer, UserDisabled)
    assert (await world.custody.preview(alice, wallet.id, message())).ruling.reason_code == "user_disabled"
    assert world.executor.signed == []


async def test_user__disabled_while_the_signer_works__gets_no_signature(world: World, team: Team) -> None:
    alice = await team.user("alice")
    wallet = await world.wallet(alice)
    world.executor.meanwhile = lambda: world.users.update_user(team.app, str(alice.user_id), status="disabled")
    with pytest.raises(UserDisabled):
        await world.rpc(alice, wallet, message())


async def test_user__disabled__takes_its_session_tokens_along_but_no_module(world: World, team: Team) -> None:
    alice, bob = await team.user("alice"), await team.user("bob")
    wallet, others = await world.wallet(alice), await world.wallet(bob)
    terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["personal_sign"])
    bot, friends = await world.session(alice, wallet, terms), await world.session(bob, others, terms)
    module = await world.session(
        alice,
        wallet,
        SessionTerms(
            expires_at=START + timedelta(days=1),
            allowed_methods=["eth_sendTransaction"],
            grantee="module:coordinator",
        ),
    )

    await world.users.update_user(team.app, str(alice.user_id), status="disabled")

    with pytest.raises(SessionRevoked):
        await world.rpc(bot, wallet, message())
    await world.rpc(friends, others, message())
    await world.rpc(module, wallet, send())
    entries = await world.rows("select resource from audit_entries where action = 'session.revoked'")
    assert [entry["resource"] for entry in entries] == [f"session:{bot.session_id}"]


# --- roles ------------------------------------------------------------------------------------------------------------


async def test_operator__sees_the_app__and_begins_nothing_for_its_users(world: World, team: Team) -> None:
    alice, operator = await team.user("alice"), await team.user("olga", "operator")
    wallet, treasury = await world.wallet(alice), await world.wallet(team.app)
    assert operator.role == "operator"

    seen = await world.custody.list_wallets(operator)
    assert {one.id for one in seen.items} == {wallet.id, treasury.id}
    assert await world.custody.get_wallet(operator, wallet.id) == wallet
    assert (await world.custody.list_audit_entries(operator)).items
    async with world.database.tenant(operator.tenant) as uow:
        assert await world.custody.list_visible(uow, operator) is None

    for target in (wallet, treasury):
        for body in (message(), send()):
            with pytest.raises(WalletNotFound):
                await world.rpc(operator, target, body)
        with pytest.raises(WalletNotFound):
            await world.custody.preview(operator, target.id, message())
        with pytest.raises(WalletNotFound):
            await world.custody.update_wallet(operator, target.id, status="frozen")
        with pytest.raises(WalletNotFound):
            await world.custody.set_archived(operator, target.id, True)
        with pytest.raises(WalletNotFound):
            await world.session(
                operator,
                target,
                SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["personal_sign"]),
            )
        async with world.database.tenant(operator.tenant) as uow:
            with pytest.raises(WalletNotFound):
                await world.custody.decide_transaction(uow, operator, target, intent_of(target))
    with pytest.raises(CallerNotAllowed):
        await world.users.update_user(operator, str(operator.user_id), role="admin")
    assert world.executor.signed == []


async def test_operator__who_is_in_a_quorum__still_sees_every_wallet_of_the_app(world: World, team: Team) -> None:
    operator = await team.user("olga", "operator")
    authority = AuthorityService(world.database, world.audit, world.seals, world.clock)
    terms = QuorumTerms(threshold=1, user_ids=[str(operator.user_id)])
    quorum = await authority.create_quorum(team.app, terms)
    shared = await world.custody.create_wallet(team.app, NewWallet(owner_id=quorum.id))
    others = await world.custody.create_wallet(team.app)

    assert {one.id for one in (await world.custody.list_wallets(operator)).items} == {shared.id, others.id}
    await world.users.update_user(team.app, str(operator.user_id), role="user")
    plain = await team.sign_in("olga")
    assert [one.id for one in (await world.custody.list_wallets(plain)).items] == [shared.id]


async def test_operator__takes_back_and_hurries__what_users_sent(world: World, team: Team) -> None:
    alice, bob, operator = await team.user("alice"), await team.user("bob"), await team.user("olga", "operator")
    wallet = await world.wallet(alice)
    async with world.database.tenant(alice.tenant) as uow:
        sent = (await world.custody.decide_transaction(uow, alice, wallet, intent_of(wallet))).id
        await world.custody.check_withdrawal(uow, operator, wallet.id, sent)
        hurried = (await world.custody.decide_replacement(uow, operator, wallet, intent_of(wallet), replaces=sent)).id
        with pytest.raises(WalletNotFound):
            await world.custody.check_withdrawal(uow, bob, wallet.id, sent)
        with pytest.raises(WalletNotFound):
            await world.custody.decide_replacement(uow, bob, wallet, intent_of(wallet), replaces=sent)
        with pytest.raises(OwnerRequired):
            await world.custody.check_withdrawal(uow, team.app, wallet.id, sent)

    (answer,) = await world.custody.sign_transactions([(hurried, signed_form())])

    assert not isinstance(answer, Exception)
    (row,) = await world.rows("select caller from signing_decisions where id = %s", hurried)
    assert row["caller"] == operator.label


async def test_admin__looks_after_users__and_sees_only_its_own_app(world: World, team: Team) -> None:
    admin, alice = await team.user("ada", "admin"), await team.user("alice")
    other, _ = await world.access.create_app(world.admin, "Beta", [TRUSTED])
    stranger = Principal(kind="app", app_id=other.id)

    assert (await world.users.update_user(admin, str(alice.user_id), role="operator")).role == "operator"
    page = await world.users.list_users(admin, limit=1)
    rest = await world.users.list_users(admin, cursor=page.next_cursor, limit=1)
    assert [(one.subject, one.role) for one in (*page.items, *rest.items)] == [("ada", "admin"), ("alice", "operator")]
    with pytest.raises(UserNotFound):
        await world.users.get_user(stranger, str(alice.user_id))
    with pytest.raises(UserNotFound):
        await world.users.update_user(stranger, str(alice.user_id), status="disabled")
    with pytest.raises(UserNotFound):
        await world.users.update_user(admin, new_id(), status="disabled")


async def test_user__plain__sees_itself_only(world: World, team: Team) -> None:
    alice, bob = await team.user("alice"), await team.user("bob")
    assert (await world.users.get_user(alice, str(alice.user_id))).subject == "alice"
    with pytest.raises(UserNotFound):
        await world.users.get_user(alice, str(bob.user_id))
    with pytest.raises(CallerNotAllowed):
        await world.users.list_users(alice)
    with pytest.raises(CallerNotAllowed):
        await world.users.update_user(alice, str(alice.user_id), role="admin")
    with pytest.raises(CallerNotAllowed):
        await world.custody.list_audit_entries(alice)


async def test_user__who_it_is__cannot_be_rewritten_with_the_rights_of_a_tenant(world: World, team: Team) -> None:
    alice = await team.user("alice")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with world.database.tenant(alice.tenant) as uow:
            await uow.execute("update users set subject = 'bob' where app_id = %s", (alice.tenant,))
