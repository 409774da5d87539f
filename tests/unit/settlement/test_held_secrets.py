"""Secrets that makers leave here: released by the same rule as theirs, sealed until then, and theirs to take back."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.swap_stage import Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.auctions import BookKeeper
from lockstep.auctions.errors import NotTheMaker, OrderNotFound
from lockstep.auctions.keeper import FORGET_AFTER
from lockstep.custody import Principal
from lockstep.kit.clock import ManualClock, SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.processes import Advance, ProcessRow, find_process, list_steps
from lockstep.settlement import SecretMismatch, SecretNotReleased, SecretTooLate, SwapProcess

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def sealed(stage: Stage) -> list[bytes]:
    async with stage.database.system("test") as uow:
        return [bytes(row["sealed"]) for row in await uow.fetch("select sealed from order_secrets")]


async def test_hold__before_anybody_took_the_order__settles_without_the_maker(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    held_at = await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    assert await stage.auctions.hold_secret(stage.app, order_hash, 0, secret) == held_at
    (kept,) = await sealed(stage)
    assert secret not in kept
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "destination_locked")
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)
    await stage.until(swap.id, "settled")
    assert await stage.auctions.get_secret(stage.app, order_hash, 0) == secret
    assert await sealed(stage) == [], "a released secret is of no use any more"
    assert (await stage.submit_secret(order_hash, secret)).secret_released_at is not None
    with pytest.raises(SecretTooLate):
        await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    with pytest.raises(SecretTooLate):
        await stage.auctions.take_back_secret(stage.app, order_hash, 0)
    async with stage.database.system("test") as uow:
        steps = await list_steps(uow, "swap", swap.id)
    assert [step["reason"] for step in steps if step["to_state"] == "secret_released"] == [
        "the secret that the maker left here is released"
    ]


async def test_hold__while_the_swap_waits_for_the_secret__releases_it(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    await stage.work()
    assert await stage.auctions.get_secret(stage.app, order_hash, 0) == secret


async def test_hold__by_others_or_another_secret__is_refused_and_stores_nothing(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    for stranger in (Principal(kind="app", app_id=AppId(new_id())), stage.external(stage.taker)):
        with pytest.raises(NotTheMaker):
            await stage.auctions.hold_secret(stranger, order_hash, 0, secret)
        with pytest.raises(NotTheMaker):
            await stage.auctions.take_back_secret(stranger, order_hash, 0)
    with pytest.raises(SecretMismatch):
        await stage.auctions.hold_secret(stage.app, order_hash, 0, secret[::-1])
    with pytest.raises(OrderNotFound):
        await stage.auctions.hold_secret(stage.app, order_hash[::-1], 0, secret)
    assert await sealed(stage) == []


async def test_take_back__before_the_release__leaves_it_to_the_makers_client(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "destination_locked")
    await stage.auctions.take_back_secret(stage.app, order_hash, 0)
    await stage.auctions.take_back_secret(stage.app, order_hash, 0)
    await stage.until(swap.id, "both_final")
    await stage.work()
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)
    await stage.submit_secret(order_hash, secret)
    await stage.until(swap.id, "settled")


async def test_take_back__after_the_look_that_would_release__wins(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    swap = await stage.take_managed(order_hash)
    advance = SwapProcess.advance

    async def overtaken(self: SwapProcess, row: ProcessRow) -> Advance:
        decided = await advance(self, row)
        if decided.state == "secret_released":
            monkeypatch.undo()
            await stage.auctions.take_back_secret(stage.app, order_hash, 0)
        return decided

    monkeypatch.setattr(SwapProcess, "advance", overtaken)
    await stage.until(swap.id, "both_final")
    assert SwapProcess.advance is advance, "the look was never overtaken"
    await stage.work()
    assert (await stage.swaps.get_swap(stage.app, swap.id)).state == "both_final"
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)


async def test_take_back__maker_has_released_it_itself__is_too_late(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    for late in (
        stage.auctions.take_back_secret(stage.app, order_hash, 0),
        stage.auctions.hold_secret(stage.app, order_hash, 0, secret),
    ):
        with pytest.raises(SecretTooLate, match="is released"):
            await late
    assert await sealed(stage) == []


async def test_take_back__order_has_expired__forgets_the_secret_at_once(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    await stage.pass_time(10_000)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "expired"
    await stage.auctions.take_back_secret(stage.app, order_hash, 0)
    assert await sealed(stage) == []


async def test_take_back__swap_goes_back__forgets_the_secret_at_once(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "source_locked", "destination_locking", seconds=0)
    stage.engine.is_revoked = True
    await stage.until(swap.id, "source_cancelling")
    await stage.auctions.take_back_secret(stage.app, order_hash, 0)
    assert await sealed(stage) == []


async def test_release__signing_is_stopped__waits_because_nobody_could_pay_the_maker(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "destination_locked")
    async with stage.database.system("test") as uow:
        await uow.execute(
            "insert into kill_switches (id, reason, engaged_by, engaged_at) values ('x', 'drill', 'admin:x', now())"
        )
    await stage.until(swap.id, "both_final")
    await stage.work()
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)
    async with stage.database.system("test") as uow:
        process = await find_process(uow, "swap", swap.id)
        assert process is not None
        assert process["waiting_for"] == "retry"
        await uow.execute("update kill_switches set released_by = 'admin:x', released_at = now()")
    await stage.until(swap.id, "settled")


async def test_release__secret_does_not_open_any_more__is_left_to_the_makers_client(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    async with stage.database.system("test") as uow:
        await uow.execute("update order_secrets set sealed = sealed || '\\x00'::bytea")
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.work()
    waiting = await stage.swaps.get_swap(stage.app, swap.id)
    assert (waiting.state, waiting.waiting_for) == ("both_final", "another_party")
    await stage.submit_secret(order_hash, secret)
    await stage.until(swap.id, "settled")


async def test_forget__order_that_expired_untaken__keeps_the_secret_for_a_day_only(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    await stage.pass_time(10_000)
    await stage.work()
    order = await stage.auctions.get_order(order_hash)
    assert order.state == "expired"
    with pytest.raises(SecretTooLate):
        await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    clock = ManualClock(SystemClock().now())
    keeper = BookKeeper(stage.database, clock, stage.chains, stage.book)
    assert await keeper.forget_once() == 0
    clock.advance(FORGET_AFTER + timedelta(seconds=60))
    assert await keeper.forget_once() == 1
    assert await sealed(stage) == []


async def test_forget__order_cancelled_on_chain__forgets_the_secret_at_once(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    await stage.auctions.hold_secret(stage.app, order_hash, 0, secret)
    await stage.invalidate_nonce((await stage.auctions.get_order(order_hash)).signed.order.nonce)
    await stage.pass_time(2, blocks=8)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "cancelled"
    assert await sealed(stage) == []
