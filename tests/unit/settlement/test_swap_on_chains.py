"""Swaps on two real chains: settled, undone, reorganised, and what the book says meanwhile."""

import secrets
from collections.abc import AsyncIterator

import pytest
from tests.support.swap_stage import AMOUNT, PRICE, Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import Address
from lockstep.custody import Principal
from lockstep.kit.database import Database
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.processes import list_steps
from lockstep.settlement import (
    Call,
    FillTaken,
    Leg,
    NotAParty,
    SecretMismatch,
    SecretNotReleased,
    SecretTooEarly,
    SwapNotFound,
    TimeLocks,
    escrow_store,
)
from lockstep.settlement.escrows import escrow_call
from lockstep.settlement.types import Side

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def test_swap__managed_taker__settles_and_tells_the_whole_story(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    assert (await stage.take_managed(order_hash)).id == swap.id

    with pytest.raises(SecretTooEarly):
        await stage.submit_secret(order_hash, secret)
    await stage.until(swap.id, "both_final")
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)
    with pytest.raises(SecretMismatch):
        await stage.submit_secret(order_hash, bytes(32))
    await stage.submit_secret(order_hash, secret)
    assert (await stage.submit_secret(order_hash, secret)).secret_released_at is not None
    assert await stage.auctions.get_secret(stage.app, order_hash, 0) == secret
    stranger = Principal(kind="app", app_id=AppId(new_id()))
    with pytest.raises(NotAParty):
        await stage.auctions.get_secret(stranger, order_hash, 0)
    with pytest.raises(SwapNotFound):
        await stage.swaps.get_swap(stranger, swap.id)
    await stage.until(swap.id, "settled")

    settled = await stage.swaps.get_swap(stage.app, swap.id)
    price = settled.terms.destination_amount
    assert PRICE <= price <= PRICE * 11 // 10
    assert await stage.balances() == {
        "maker source": 9 * AMOUNT,
        "maker destination": price,
        "taker source": AMOUNT,
        "taker destination": 10 * PRICE - price,
    }
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.remaining, order.fills[0].settlement_state) == ("filled", 0, "settled")
    async with stage.database.system("test") as uow:
        steps = [step["to_state"] for step in await list_steps(uow, "swap", swap.id)]
        events = await uow.fetch("select topic, type, data from outbox order by id")
        legs = await uow.fetch("select leg, attempt from swap_legs order by created_at")
    assert steps == [
        "source_locking",
        "source_locked",
        "destination_locking",
        "destination_locked",
        "both_final",
        "secret_released",
        "destination_withdrawing",
        "destination_withdrawn",
        "source_withdrawing",
        "settled",
    ]
    assert [leg["leg"] for leg in legs] == [
        "source_lock",
        "destination_lock",
        "destination_withdraw",
        "source_withdraw",
    ]
    assert {event["type"] for event in events} == {
        "order_created",
        "order_updated",
        "swap_updated",
        "escrow_updated",
    }
    assert all(secret.hex() not in str(event["data"]) for event in events)
    timeline = await stage.swaps.get_timeline(stage.app, swap.id)
    names = [entry["name"] for entry in timeline]
    assert {"source_created", "destination_created", "destination_withdrawn", "source_withdrawn"} <= set(names)
    assert secret.hex() not in str(timeline)


async def test_swap__two_takers__only_the_first_gets_the_fill(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    await stage.take_managed(order_hash)
    other = stage.external(stage.accounts[stage.wallets[0].id])
    from lockstep.auctions.schemas import PostFill

    with pytest.raises(FillTaken):
        await stage.auctions.fill_order(other, order_hash, PostFill(mode="external", taker=stage.maker))


async def test_swap__session_revoked_after_the_source__everything_comes_back(stage: Stage) -> None:
    before = await stage.balances()
    order_hash = await stage.offer(secrets.token_bytes(32))
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "source_locked", "destination_locking", seconds=0)
    stage.engine.is_revoked = True
    await stage.until(swap.id, "source_cancelling")
    assert await stage.until(swap.id, "refunded", seconds=5) == "refunded"
    assert await stage.balances() == before
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.fills[0].settlement_state) == ("filled", "refunded")


async def test_swap__external_taker_comes_by_the_chain_only__attached_and_refunded_when_it_stops(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    await stage.create_source(order_hash)
    await stage.work()
    order = await stage.auctions.get_order(order_hash)
    assert (order.fills[0].mode, order.fills[0].taker.hex()) == ("external", stage.taker[2:])
    assert await stage.until(order.fills[0].swap_id, "refunded", seconds=5) == "refunded"
    assert await stage.balance(stage.source, stage.maker) == 10 * AMOUNT


async def test_swap__maker_keeps_the_secret__both_sides_are_whole(stage: Stage) -> None:
    before = await stage.balances()
    order_hash = await stage.offer(secrets.token_bytes(32))
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "refunded", seconds=4)
    async with stage.database.system("test") as uow:
        steps = [step["to_state"] for step in await list_steps(uow, "swap", swap.id)]
    assert "destination_cancelling" in steps
    assert await stage.balances() == before


async def test_swap__destination_lock_waits_too_long_for_its_block__locks_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    send = stage.send

    async def late(chain: str, sender: Address, call: Call) -> str:
        if (chain, call.to) == (stage.destination.chain, stage.destination.factory):
            # The cancellations of both sides would lie four seconds apart; the pair needs eight.
            async with stage.database.system("test") as uow:
                (source,) = await escrow_store.list_locks(uow, order_hash)
            await stage.nodes[chain].call("evm_setNextBlockTimestamp", source.block_time + 110 - 60 - 4)
        return await send(chain, sender, call)

    monkeypatch.setattr(stage, "send", late)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "source_cancelling", seconds=1)
    await stage.work()
    async with stage.database.system("test") as uow:
        assert [lock.side for lock in await escrow_store.list_locks(uow, order_hash)] == ["source"]


async def test_swap__maker_withdraws_itself_and_tells_nobody__its_taker_gets_the_secret(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final", seconds=1)
    async with stage.database.system("test") as uow:
        (lock,) = [one for one in await escrow_store.list_locks(uow, order_hash) if one.side is Side.DESTINATION]
    opens = TimeLocks.unpack(lock.immutables.time_locks)[0].destination(lock.immutables.deployed_at).public_withdrawal
    await stage.pass_time(opens - (await stage.chains.get(lock.chain).head()).timestamp)
    await stage.send(lock.chain, stage.maker, escrow_call(Leg.DESTINATION_PUBLIC_WITHDRAW, lock, secret))
    with pytest.raises(SecretNotReleased):
        await stage.auctions.get_secret(stage.app, order_hash, 0)
    await stage.work()
    assert await stage.auctions.get_secret(stage.app, order_hash, 0) == secret
    with pytest.raises(NotAParty):
        await stage.auctions.get_secret(Principal(kind="app", app_id=AppId(new_id())), order_hash, 0)


async def test_swap__managed_taker_revoked_with_the_secret_out__coordinator_pays_both(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    stage.engine.is_revoked = True
    await stage.until(swap.id, "settled", seconds=4)
    after = await stage.balances()
    assert (after["taker source"], after["maker source"]) == (AMOUNT, 9 * AMOUNT)
    assert after["maker destination"] >= PRICE


async def test_swap__source_reorganised_away__goes_back_and_does_not_lock_the_destination(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    node = stage.nodes[stage.source.chain]
    before = await node.call("evm_snapshot")
    await stage.create_source(order_hash)
    await stage.work()
    order = await stage.auctions.get_order(order_hash)
    swap_id = order.fills[0].swap_id
    await stage.until(swap_id, "source_locked", seconds=0)
    assert (await stage.auctions.get_order(order_hash)).state == "filled"

    await node.call("evm_revert", before)
    for _ in range(4):
        await node.call("evm_mine")
    await stage.until(swap_id, "source_locking", seconds=0)
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.remaining) == ("open", AMOUNT)
    async with stage.database.system("test") as uow:
        assert await uow.fetch("select 1 from escrows") == []

    await stage.create_source(order_hash)
    await stage.until(swap_id, "source_locked", "destination_locking", seconds=0)
    assert (await stage.auctions.get_order(order_hash)).state == "filled"
