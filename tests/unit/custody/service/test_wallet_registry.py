"""The registry of wallets: making many at once, finding them, putting them away; and that nothing is held meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest
from tests.support.custody import START, World, build, message, send

from lockstep.custody import (
    CallerNotAllowed,
    IdempotencyInProgress,
    NewWallet,
    OwnerRequired,
    Principal,
    SessionTerms,
    SignerUnavailable,
    Wallet,
    WalletFilter,
    WalletNotFound,
    claim_for,
)
from lockstep.custody.errors import ExternalIdTaken, PolicyNotFound, TooManyPolicies, UserNotFound, WalletArchived
from lockstep.custody.idempotency import Claim, Outcome
from lockstep.kit.database import Database
from lockstep.kit.ids import new_id


async def user_of(world: World, app: Principal) -> Principal:
    return await world.user(app, new_id())


def claim_of(principal: Principal, key: str = "one") -> Claim:
    return claim_for(principal, "POST", "/v1/wallets/batch", key, {})


def describe(made: list[Wallet]) -> dict[str, object]:
    return {"ids": [wallet.id for wallet in made]}


async def counted(world: World, table: str) -> int:
    return int((await world.rows(f"select count(*) as n from {table}"))[0]["n"])


# --- making -----------------------------------------------------------------------------------------------------------


async def test_batch__a_hundred_wallets__all_sign_with_keys_of_their_own(world: World) -> None:
    app = await world.app()
    policy = await world.policy(app)

    made = await world.custody.create_wallets(
        app, [NewWallet(policy_ids=(policy.id,), external_id=f"till-{number}") for number in range(100)]
    )

    assert [wallet.external_id for wallet in made] == [f"till-{number}" for number in range(100)]
    assert len({wallet.address for wallet in made}) == 100
    for wallet in (made[0], made[99]):
        assert "signature" in (await world.rpc(app, wallet, message()))["data"]
    assert await counted(world, "audit_entries where action = 'wallet.created'") == 100
    assert await counted(world, "outbox where type = 'wallet_created'") == 100


async def test_batch__one_wallet_that_cannot_be__makes_none(world: World) -> None:
    app, user = await world.app(), await user_of(world, await world.app("Other"))
    policy = await world.policy(app)
    await world.custody.create_wallet(app, NewWallet(external_id="taken"))
    good = NewWallet(policy_ids=(policy.id,))
    for bad, refusal in [
        (NewWallet(policy_ids=(new_id(),)), PolicyNotFound),
        (NewWallet(policy_ids=tuple(new_id() for _ in range(11))), TooManyPolicies),
        (NewWallet(owner_user_id=user.user_id), UserNotFound),
        (NewWallet(external_id="taken"), ExternalIdTaken),
    ]:
        with pytest.raises(refusal):
            await world.custody.create_wallets(app, [good, bad])
    with pytest.raises(ExternalIdTaken):
        await world.custody.create_wallets(app, [NewWallet(external_id="x"), NewWallet(external_id="x")])
    assert await counted(world, "wallets") == 1


async def test_create__a_user_for_somebody_else__is_refused(world: World) -> None:
    app = await world.app()
    alice, bob = await user_of(world, app), await user_of(world, app)

    assert (await world.custody.create_wallet(alice)).owner_user_id == alice.user_id
    with pytest.raises(CallerNotAllowed):
        await world.custody.create_wallets(alice, [NewWallet(), NewWallet(owner_user_id=bob.user_id)])
    for stranger in (Principal(kind="admin", name="a"), Principal(kind="external", address="0x" + "11" * 20)):
        with pytest.raises(CallerNotAllowed):
            await world.custody.create_wallet(stranger)


async def test_create__while_the_signer_works__holds_no_connection(dsn: str) -> None:
    """The pool has one connection: whoever held it across the signer would wait here until the pool gave up."""
    database = Database(dsn, name="test", max_size=1, acquire_seconds=2)
    await database.open()
    world = build(database)
    app = await world.app()
    seen: list[int] = []

    async def look() -> None:
        seen.append(await counted(world, "wallets"))

    world.executor.meanwhile = look
    await world.custody.create_wallets(app, [NewWallet(), NewWallet()])
    outcome = await world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe)

    assert (outcome.status, seen) == (201, [0, 2])
    await database.close()


async def test_create__what_it_rests_on_ends_meanwhile__stores_nothing(world: World) -> None:
    app = await world.app()

    async def take_the_name() -> None:
        world.executor.meanwhile = None
        await world.custody.create_wallet(app, NewWallet(external_id="till"))

    world.executor.meanwhile = take_the_name
    with pytest.raises(ExternalIdTaken):
        await world.custody.create_wallet(app, NewWallet(external_id="till"))
    assert await counted(world, "wallets") == 1


async def test_create__twenty_at_once_with_one_external_id__gives_one_wallet(world: World) -> None:
    app = await world.app()
    tries = await asyncio.gather(
        *(world.custody.create_wallet(app, NewWallet(external_id="till")) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(one, Wallet) for one in tries) == 1
    assert {type(one) for one in tries} == {Wallet, ExternalIdTaken}


async def test_create__one_external_id_in_two_apps__is_two_wallets(world: World) -> None:
    first, second = await world.app(), await world.app("Beta")
    made = [await world.custody.create_wallet(app, NewWallet(external_id="till")) for app in (first, second)]
    assert made[0].id != made[1].id


async def test_external_id__of_another_form__is_refused_by_the_database_too(world: World) -> None:
    app = await world.app()
    for name in ("", "a b", "ä", "x" * 65, "a\n"):
        with pytest.raises(psycopg.errors.CheckViolation):
            await world.custody.create_wallet(app, NewWallet(external_id=name))


# --- once -------------------------------------------------------------------------------------------------------------


async def test_once__forty_at_once_with_one_key__make_one_batch(world: World) -> None:
    app = await world.app()
    claim, wanted = claim_of(app), [NewWallet(), NewWallet()]
    tries = await asyncio.gather(
        *(world.custody.create_wallets_once(app, wanted, claim, describe) for _ in range(40)), return_exceptions=True
    )

    assert {type(one) for one in tries} <= {Outcome, IdempotencyInProgress}
    answers = [one for one in tries if isinstance(one, Outcome)]
    assert len({str(one.body) for one in answers}) == 1
    assert await counted(world, "wallets") == 2
    again = await world.custody.create_wallets_once(app, wanted, claim, describe)
    assert (again.replayed, again.body) == (True, answers[0].body)


async def test_once__the_signer_away__may_be_tried_again_at_once(world: World) -> None:
    app = await world.app()
    world.executor.failure = SignerUnavailable()
    with pytest.raises(SignerUnavailable):
        await world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe)
    world.executor.failure = None

    outcome = await world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe)

    assert (outcome.status, outcome.replayed, await counted(world, "wallets")) == (201, False, 1)


async def test_once__an_attempt_that_died__is_taken_over_and_stores_nothing_afterwards(world: World) -> None:
    app = await world.app()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        world.executor.meanwhile = None
        started.set()
        await go_on.wait()

    world.executor.meanwhile = hang
    slow = asyncio.create_task(world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe))
    await started.wait()
    with pytest.raises(IdempotencyInProgress):
        await world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe)
    world.clock.advance(timedelta(seconds=31))
    outcome = await world.custody.create_wallets_once(app, [NewWallet()], claim_of(app), describe)
    go_on.set()
    with pytest.raises(IdempotencyInProgress):
        await slow

    assert [row["id"] for row in await world.rows("select id from wallets")] == outcome.body["ids"]


async def test_once__a_terminal_refusal__is_answered_the_same(world: World) -> None:
    app = await world.app()
    wanted = [NewWallet(policy_ids=tuple(new_id() for _ in range(11)))]
    with pytest.raises(TooManyPolicies):
        await world.custody.create_wallets_once(app, wanted, claim_of(app), describe)
    again = await world.custody.create_wallets_once(app, wanted, claim_of(app), describe)
    assert (again.status, again.body["code"], again.replayed) == (422, "too_many_policies", True)


# --- finding ----------------------------------------------------------------------------------------------------------


async def test_list__every_filter__narrows_and_pages(world: World) -> None:
    app, other = await world.app(), await world.app("Beta")
    alice = await user_of(world, app)
    plain = await world.custody.create_wallets(app, [NewWallet(external_id=f"w{number}") for number in range(5)])
    own = await world.custody.create_wallet(alice)
    await world.custody.create_wallet(other)
    await world.custody.update_wallet(app, plain[1].id, status="frozen")
    await world.custody.set_archived(app, plain[2].id, True)

    async def found(principal: Principal = app, **wanted: object) -> list[str]:
        page = await world.custody.list_wallets(principal, WalletFilter(**wanted))  # type: ignore[arg-type]
        return [wallet.id for wallet in page.items]

    in_use = [plain[0].id, plain[1].id, plain[3].id, plain[4].id, own.id]
    assert await found() == in_use
    assert await found(include_archived=True) == [*(wallet.id for wallet in plain), own.id]
    assert await found(status="frozen") == [plain[1].id]
    assert await found(status="active") == [one for one in in_use if one != plain[1].id]
    assert await found(external_id="w3") == [plain[3].id]
    assert await found(external_id="w2") == []
    assert await found(address=plain[4].address) == [plain[4].id]
    assert await found(user_id=alice.user_id) == [own.id]
    assert await found(chain_type="ethereum") == in_use
    assert await found(alice) == [own.id]
    assert await found(alice, external_id="w0") == []
    assert await found(alice, user_id=new_id()) == []
    assert await found(other, address=own.address) == []
    pages, cursor = [], None
    while True:
        page = await world.custody.list_wallets(app, cursor=cursor, limit=2)
        pages += [wallet.id for wallet in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == in_use


# --- putting away -----------------------------------------------------------------------------------------------------


async def test_archive__signs_nothing_by_any_road__until_it_is_restored(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["personal_sign", "eth_sendTransaction"])
    session = await world.session(app, wallet, terms)

    archived = await world.custody.set_archived(app, wallet.id, True)

    assert (archived.archived_at, archived.version, archived.status) == (START, 2, "active")
    assert await world.custody.set_archived(app, wallet.id, True) == archived
    for caller in (app, session):
        for body in (message(), send()):
            with pytest.raises(WalletArchived):
                await world.rpc(caller, wallet, body)
    shown = await world.custody.preview(app, wallet.id, message())
    assert (shown.ruling.allowed, shown.ruling.reason_code) == (False, "wallet_archived")
    assert world.executor.signed == []

    restored = await world.custody.set_archived(app, wallet.id, False)

    assert (restored.archived_at, restored.version) == (None, 3)
    await world.rpc(app, wallet, message())
    actions = [row["action"] for row in await world.rows("select action from audit_entries order by seq")]
    assert {"wallet.archived", "wallet.restored"} <= set(actions)


async def test_archive__while_the_signer_works__withholds_the_signature(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    world.executor.meanwhile = lambda: world.custody.set_archived(app, wallet.id, True)
    with pytest.raises(WalletArchived):
        await world.rpc(app, wallet, message())


async def test_archive__a_frozen_wallet__stays_frozen_when_it_is_restored(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.custody.update_wallet(app, wallet.id, status="frozen")
    await world.custody.set_archived(app, wallet.id, True)
    assert (await world.custody.set_archived(app, wallet.id, False)).status == "frozen"


async def test_archive__by_somebody_else__is_refused(world: World) -> None:
    app = await world.app()
    alice, bob = await user_of(world, app), await user_of(world, app)
    wallet = await world.wallet(app, owner=alice.user_id)
    session = await world.session(
        alice, wallet, SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["personal_sign"])
    )
    for caller, refusal in [
        (app, OwnerRequired),
        (bob, WalletNotFound),
        (await world.app("Beta"), WalletNotFound),
        (session, CallerNotAllowed),
    ]:
        with pytest.raises(refusal):
            await world.custody.set_archived(caller, wallet.id, True)
    assert (await world.custody.set_archived(alice, wallet.id, True)).archived_at == START
    assert (await world.custody.set_archived(alice, wallet.id, False)).archived_at is None
