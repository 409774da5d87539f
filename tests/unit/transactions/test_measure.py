"""What operators are shown about accounts: balances, who is low, the age of what is pending, jams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.support.evm import address, config
from tests.support.transactions import Desk, evm_engine

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry
from lockstep.transactions import EngineSettings, State, list_senders
from lockstep.transactions.evm.measure import _balance

pytestmark = pytest.mark.chain
ETHER = 10**18


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    _balance.clear()  # figures of a process: other tests have left theirs
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    made = Desk(database, chains, EngineSettings(resend_seconds=0.3, jam_blocks=4))
    low = {made.client.chain: 10_000 * ETHER}
    made.engine = evm_engine(database, chains, made.keys, made.clock, made.settings, low_balances=low)
    yield made
    await chains.close()


def figure(desk: Desk, name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"lockstep_{name}", {"chain": desk.client.chain, **labels})


async def measured(desk: Desk) -> None:
    desk.lane.measured_at = None
    await desk.engine.step()


async def test_balances__of_accounts_that_send__shown_and_low_ones_said_once(desk: Desk) -> None:
    await desk.client.call("anvil_setBalance", [address(1), hex(20_000 * ETHER)])
    for index in (0, 1):
        await desk.run_until((await desk.submit(index=index)).id, State.MINED)

    desk.lane.balances = {}
    with capture_logs() as logs:
        await measured(desk)
        await measured(desk)

    assert figure(desk, "account_balance_wei", address=address(1)) == pytest.approx(20_000 * ETHER, rel=1e-6)
    assert figure(desk, "account_balance_wei", address=address(2)) is None
    assert figure(desk, "accounts_low_on_balance") == 1
    assert [entry["address"] for entry in logs if entry["event"] == "account_low"] == [address(0)]
    await desk.client.call("anvil_setBalance", [address(0), hex(30_000 * ETHER)])
    await desk.mine()
    await measured(desk)
    assert figure(desk, "accounts_low_on_balance") == 0


async def test_oldest_pending__something_waits__its_age_and_none_afterwards(desk: Desk) -> None:
    desk.keys.refusals[1] = Retry("the signer is restarting")
    waiting = await desk.submit()
    await measured(desk)
    assert (figure(desk, "transaction_oldest_pending_seconds") or 0) > 0
    desk.keys.refusals.clear()
    await desk.run_until(waiting.id, State.MINED)
    await measured(desk)
    assert figure(desk, "transaction_oldest_pending_seconds") == 0


async def test_jam__first_one_stays_unmined__counted_and_said_once_until_it_is_mined(desk: Desk) -> None:
    await desk.client.call("evm_setAutomine", [False])
    stuck = await desk.run_until((await desk.submit()).id, State.BROADCAST)
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            while not figure(desk, "transaction_jammed_accounts"):
                await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex((stuck.max_fee_per_gas or 0) * 2)])
                await desk.mine()
                await desk.engine.step()
        await desk.engine.step()
    (said,) = [entry for entry in logs if entry["event"] == "account_jammed"]
    assert (said["transaction_id"], said["nonce"]) == (stuck.id, 0)

    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**8)])
    await desk.client.call("evm_setAutomine", [True])
    await desk.mine()
    await desk.run_until(stuck.id, State.MINED)
    await desk.engine.step()
    assert figure(desk, "transaction_jammed_accounts") == 0


async def test_list_senders__many_accounts__each_once_and_only_lately_active(desk: Desk) -> None:
    for index in (3, 1, 3, 2):
        await desk.run_until((await desk.submit(index=index)).id, State.MINED)
    now = desk.clock.now()
    async with desk.database.system("test") as uow:
        await uow.execute(
            "update nonce_reservations set created_at = created_at - interval '8 days' where address = %s",
            (address(2),),
        )
        found = await list_senders(uow, desk.client.chain, now - timedelta(days=7))
        assert found == sorted([address(1), address(3)])
        assert len(await list_senders(uow, desk.client.chain, now - timedelta(days=9), limit=2)) == 2
        assert await list_senders(uow, "eip155:1", now - timedelta(days=9)) == []
