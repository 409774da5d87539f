"""The engine over a family without nonces and dearer forms: states, order, timeline and ends are the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.coins import CHAIN, TIME_TO_LIVE, Coins, Network, Notary
from tests.support.evm import address
from tests.support.transactions import APP, WALLET

from lockstep.chains.evm import Speed
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.errors import Forbidden
from lockstep.kit.ids import new_id
from lockstep.transactions import State, Transaction, TransactionEngine
from lockstep.transactions.engine.family import Family
from lockstep.transactions.store import rows


class Till:
    """Queues, steps and looks."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock, self.network, self.notary = database, SystemClock(), Network(), Notary()
        self.coins = Coins(self.network, self.clock)
        family: Family = self.coins
        self.engine = TransactionEngine([family], database, self.notary, self.clock)  # type: ignore[arg-type]  # what it asks here

    async def queue(self, **changes: Any) -> str:
        now, transaction_id = self.clock.now(), new_id()
        fields: dict[str, Any] = dict.fromkeys(Transaction.__dataclass_fields__) | {
            "id": transaction_id,
            "app_id": APP,
            "wallet_id": WALLET,
            "decision_id": new_id(),
            "chain": CHAIN,
            "sender": address(0),
            "value": 1,
            "data": b"",
            "type": 2,
            "speed": Speed.STANDARD,
            "is_private": False,
            "idempotency_key": transaction_id,
            "priority": 0,
            "cancels_late": True,
            "state": State.QUEUED,
            "version": 1,
            "due_at": now,
            "failures": 0,
            "attempt": 0,
            "data_fee": 0,
            "wanted_attempt": 0,
            "created_at": now,
            "updated_at": now,
        }
        async with self.database.tenant(APP) as uow:
            await rows.insert(uow, Transaction(**(fields | changes)))
        return transaction_id

    async def run_until(self, transaction_id: str, state: State) -> list[State]:
        """Step until it stands there; the states through which it went."""
        async with asyncio.timeout(10):
            while True:
                async with self.database.tenant(APP) as uow:
                    states = [step.to_state for step in await rows.list_steps(uow, APP, transaction_id)]
                if states[-1] is state:
                    return [one for one, before in zip(states, [None, *states], strict=False) if one is not before]
                await self.engine.step()


@pytest.fixture
def till(database: Database) -> Till:
    return Till(database)


async def test_family__paid__passes_every_state_to_final(till: Till) -> None:
    paid = await till.queue()
    await till.run_until(paid, State.BROADCAST)
    till.network.mine()
    await till.run_until(paid, State.MINED)
    till.network.mine(2)

    states = await till.run_until(paid, State.FINAL)

    assert [state.value for state in states] == ["queued", "reserved", "signed", "broadcast", "mined", "final"]


async def test_family__lost_by_the_network__same_bytes_again(till: Till) -> None:
    till.network.loses = 2
    paid = await till.queue()
    await till.run_until(paid, State.BROADCAST)
    await asyncio.sleep(0.3)
    while not till.network.pool:
        await till.engine.step()
    till.network.mine()

    await till.run_until(paid, State.MINED)

    assert len(till.network.received) >= 3
    assert len(set(till.network.received)) == 1


async def test_family__time_is_over__expired_and_its_coin_goes_to_who_waits(till: Till) -> None:
    till.network.loses = 10**6
    first, second = await till.queue(), await till.queue()
    await till.run_until(second, State.BROADCAST)
    third = await till.queue()
    await till.engine.step()
    assert till.coins.free == set()
    till.network.mine(TIME_TO_LIVE + 1)
    await asyncio.sleep(0.3)

    await till.run_until(first, State.EXPIRED)
    till.network.loses = 0

    await till.run_until(third, State.BROADCAST)


async def test_family__its_block_is_dropped__goes_back_and_is_included_again(till: Till) -> None:
    paid = await till.queue()
    await till.run_until(paid, State.BROADCAST)
    till.network.mine()
    await till.run_until(paid, State.MINED)
    till.network.drop(1)
    await till.run_until(paid, State.BROADCAST)
    await asyncio.sleep(0.3)
    while not till.network.pool:
        await till.engine.step()
    till.network.mine(3)

    await till.run_until(paid, State.FINAL)

    assert len(set(till.network.received)) == 1


async def test_family__custody_refuses__dropped_and_the_coin_is_free(till: Till) -> None:
    till.notary.refusal = Forbidden("not this one")
    refused = await till.queue()

    await till.run_until(refused, State.DROPPED)

    assert till.coins.free == {0, 1}
