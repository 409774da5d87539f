"""Callers and refusals that reach further than they should: foreign swaps of one's own app, a cap used up by nothing."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.swap_stage import AMOUNT, PRICE, Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.custody import Principal
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import WalletId, new_id
from lockstep.settlement import Leg, store

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def test_list_swaps__session_of_another_wallet__sees_none_of_the_apps(stage: Stage) -> None:
    swap = await stage.take_managed(await stage.offer(secrets.token_bytes(32)))

    async def listed_for(wallet_id: WalletId) -> list[str]:
        caller = Principal(kind="session", app_id=stage.app_id, wallet_id=wallet_id, session_id=new_id())
        page = await stage.swaps.list_swaps(caller, state=None, cursor=None, limit=10)
        return [one.id for one in page.items]

    assert await listed_for(stage.wallets[1].id) == [swap.id]
    assert await listed_for(WalletId(new_id())) == []


async def test_sponsorship_cap__refused_duties__use_nothing_up(stage: Stage) -> None:
    swap = await stage.take_managed(await stage.offer(secrets.token_bytes(32)))
    now = SystemClock().now()
    async with stage.database.system("test") as uow:
        for attempt in range(3):
            await store.insert_leg(
                uow,
                swap.id,
                Leg.SOURCE_PUBLIC_CANCEL,
                attempt,
                app_id=None,
                transaction_id=None,
                refusal="no_coordinator",
                now=now,
            )
        assert await store.count_public_legs(uow, now - timedelta(days=1)) == 0
        await store.insert_leg(
            uow, swap.id, Leg.SOURCE_PUBLIC_CANCEL, 3, app_id=stage.app_id, transaction_id=new_id(), now=now
        )
        assert await store.count_public_legs(uow, now - timedelta(days=1)) == 1


async def test_refusal_of_the_takers_policy__is_told_to_its_own_app_only(stage: Stage) -> None:
    swap = await stage.take_managed(await stage.offer(secrets.token_bytes(32)))
    stage.engine.is_revoked = True
    await stage.until(swap.id, "cancelled")
    maker = stage.external(stage.maker)
    seen = await stage.swaps.get_swap(maker, swap.id)
    assert "fake session signer" not in seen.reason
    assert "fake session signer" not in str(await stage.swaps.get_timeline(maker, swap.id))
    assert "fake session signer" in str(await stage.swaps.get_timeline(stage.app, swap.id))


async def test_kill_switch_of_the_takers_app__secret_is_out__maker_is_paid_all_the_same(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    order_hash = await stage.offer(secret)
    swap = await stage.take_managed(order_hash)
    await stage.until(swap.id, "both_final")
    await stage.submit_secret(order_hash, secret)
    stage.engine.is_taker_stopped = True
    await stage.until(swap.id, "settled", seconds=4)
    after = await stage.balances()
    assert (after["taker source"], after["maker source"]) == (AMOUNT, 9 * AMOUNT)
    assert after["maker destination"] >= PRICE


async def test_kill_switch_of_the_takers_app__swap_goes_back__maker_is_refunded_and_the_taker_once_it_goes_on(
    stage: Stage,
) -> None:
    before = await stage.balances()
    swap = await stage.take_managed(await stage.offer(secrets.token_bytes(32)))
    await stage.until(swap.id, "both_final")
    stage.engine.is_taker_stopped = True
    await stage.until(swap.id, "source_cancelling", seconds=5)
    for _ in range(30):
        await stage.pass_time(5)
        await stage.work()
    assert (await stage.balances())["maker source"] == before["maker source"]
    assert (await stage.swaps.get_swap(stage.app, swap.id)).state == "source_cancelling"
    stage.engine.is_taker_stopped = False
    await stage.until(swap.id, "refunded", seconds=5)
    assert await stage.balances() == before
