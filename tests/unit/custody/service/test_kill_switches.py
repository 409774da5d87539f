"""Kill switches: while one is engaged nothing is signed under it, what is queued waits, and only who stopped goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.custody import BOB, CHAIN, GWEI, START, World, message, pure, send

from lockstep.chains.evm import UnsignedTransaction
from lockstep.custody import (
    CallerNotAllowed,
    Principal,
    SessionTerms,
    SignedTransaction,
    SwitchService,
    TransactionIntent,
    Wallet,
)
from lockstep.custody.errors import AppNotFound, CallerHasNoApp, SigningStopped
from lockstep.kit.ids import AppId, new_id

FAR = START + timedelta(days=1)


@pytest.fixture
def switches(world: World) -> SwitchService:
    return SwitchService(world.database, world.audit, world.seals, world.clock)


async def decided(world: World, app: Principal, wallet: Wallet) -> str:
    intent = TransactionIntent(
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
    async with world.database.tenant(app.tenant) as uow:
        return (await world.custody.decide_transaction(uow, app, wallet, intent)).id


def queued(nonce: int = 0) -> UnsignedTransaction:
    return UnsignedTransaction(
        chain_id=31337,
        nonce=nonce,
        to=BOB,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
    )


@pytest.mark.parametrize("scope", ["app", "deployment"])
async def test_engage__every_method_and_what_is_queued__waits_until_it_is_released(
    world: World, switches: SwitchService, scope: str
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    decision = await decided(world, app, wallet)
    stopped = app.tenant if scope == "app" else None
    await switches.engage(world.admin, stopped, "keys may be stolen")

    for caller, body in ((app, message()), (app, send()), (app, pure()), (session, message())):
        with pytest.raises(SigningStopped, match=f"kill switch of the {scope}") as refused:
            await world.rpc(caller, wallet, body)
        assert refused.value.http_status == 503
    (answer,) = await world.custody.sign_transactions([(decision, queued())])
    assert isinstance(answer, SigningStopped)
    assert (world.executor.signed, world.engine.queued) == ([], [])
    denied = await world.rows("select reason_code from signing_decisions where not allowed")
    assert {row["reason_code"] for row in denied} == {"signing_stopped"}

    await switches.release(world.admin, stopped)
    await world.rpc(app, wallet, message())
    (answer,) = await world.custody.sign_transactions([(decision, queued())])
    assert isinstance(answer, SignedTransaction), "what waited is signed"


async def test_engage__same_idempotency_key_after_the_release__is_signed(world: World, switches: SwitchService) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await switches.engage(app, app.tenant, "drill")
    with pytest.raises(SigningStopped):
        await world.rpc(app, wallet, message(), "once")
    await switches.release(app, app.tenant)
    assert (await world.rpc(app, wallet, message(), "once"))["method"] == "personal_sign"


async def test_engage__while_the_signer_works__releases_nothing(world: World, switches: SwitchService) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    world.executor.meanwhile = lambda: switches.engage(world.admin, None, "now")
    with pytest.raises(SigningStopped):
        await world.rpc(app, wallet, message())
    assert await world.rows("select 1 as x from released_signatures") == []


async def test_engage__while_the_signer_works_for_the_engine__releases_nothing(
    world: World, switches: SwitchService
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decision = await decided(world, app, wallet)
    world.executor.meanwhile = lambda: switches.engage(world.admin, None, "now")
    (answer,) = await world.custody.sign_transactions([(decision, queued())])
    assert isinstance(answer, SigningStopped)
    assert await world.rows("select 1 as x from released_signatures") == []


async def test_engage__one_app__leaves_the_others_alone(world: World, switches: SwitchService) -> None:
    one, other = await world.app("One"), await world.app("Other")
    wallet, others = await world.wallet(one), await world.wallet(other)
    await switches.engage(one, one.tenant, "mine only")
    with pytest.raises(SigningStopped):
        await world.rpc(one, wallet, message())
    await world.rpc(other, others, message())
    assert [switch.reason for switch in await switches.list_engaged(one)] == ["mine only"]
    assert await switches.list_engaged(other) == []
    await switches.engage(world.admin, None, "everybody")
    for caller in (one, other):
        assert "everybody" in [switch.reason for switch in await switches.list_engaged(caller)]
    assert len(await switches.list_engaged(world.admin)) == 2


async def test_engage__again__keeps_the_first_reason_also_when_two_come_at_once(
    world: World, switches: SwitchService
) -> None:
    first = await switches.engage(world.admin, None, "first")
    assert await switches.engage(replace(world.admin, name="second"), None, "second") == first
    await switches.release(world.admin, None)
    both = await asyncio.gather(*(switches.engage(world.admin, None, f"{n}") for n in range(8)))
    assert len({switch.id for switch in both}) == 1
    rows = await world.rows("select reason, released_by from kill_switches order by engaged_at, id")
    assert rows[0]["reason"] == "first"
    assert len(rows) == 2, "every stop stays on record"


async def test_release__by_the_app_of_what_an_administrator_stopped__is_refused(
    world: World, switches: SwitchService
) -> None:
    app = await world.app()
    await switches.engage(world.admin, app.tenant, "investigation")
    with pytest.raises(CallerNotAllowed, match="only an administrator"):
        await switches.release(app, app.tenant)
    await switches.engage(app, app.tenant, "mine")
    with pytest.raises(CallerNotAllowed):
        await switches.release(app, app.tenant)
    await switches.release(world.admin, app.tenant)
    await switches.engage(app, app.tenant, "mine")
    await switches.release(app, app.tenant)
    await switches.release(app, app.tenant)
    assert await switches.list_engaged(app) == []


async def test_engage__by_an_administrator_of_what_the_app_stopped__is_the_administrators(
    world: World, switches: SwitchService
) -> None:
    app = await world.app()
    await switches.engage(app, app.tenant, "mine")
    taken_over = await switches.engage(world.admin, app.tenant, "investigation")
    assert (taken_over.reason, taken_over.engaged_by) == ("investigation", world.admin.label)
    with pytest.raises(CallerNotAllowed, match="only an administrator"):
        await switches.release(app, app.tenant)
    assert await switches.list_engaged(app) == [taken_over]
    rows = await world.rows("select reason, released_by from kill_switches order by engaged_at, id")
    assert [(row["reason"], row["released_by"]) for row in rows] == [
        ("mine", world.admin.label),
        ("investigation", None),
    ]


async def test_engage__by_others__is_refused_and_tells_nothing(world: World, switches: SwitchService) -> None:
    app, other = await world.app(), await world.app("Other")
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    for caller in (app, session, Principal(kind="external", address=BOB)):
        with pytest.raises(CallerNotAllowed):
            await switches.engage(caller, None, "x")
        with pytest.raises(CallerNotAllowed):
            await switches.release(caller, None)
    with pytest.raises(CallerNotAllowed):
        await switches.engage(session, app.tenant, "x")
    for caller, missing in ((other, app.tenant), (world.admin, AppId(new_id()))):
        with pytest.raises(AppNotFound):
            await switches.engage(caller, missing, "x")
    with pytest.raises(CallerHasNoApp):
        await switches.list_engaged(Principal(kind="external", address=BOB))
    assert await world.rows("select 1 as x from kill_switches") == []


async def test_engage__of_an_app__stands_in_its_audit_log(world: World, switches: SwitchService) -> None:
    app = await world.app()
    await switches.engage(app, app.tenant, "drill")
    await switches.release(app, app.tenant)
    rows = await world.rows("select record from audit_entries where action like 'kill_switch.%%' order by seq")
    assert ["engaged" in row["record"] for row in rows] == [True, False]
    assert all("drill" in row["record"] for row in rows)
