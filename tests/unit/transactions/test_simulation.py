"""Transactions that would fail: refused before they cost gas, unless earlier ones of their account may change that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.evm import address, config, deploy
from tests.support.transactions import Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, Contract, RpcFault
from lockstep.kit.database import Database
from lockstep.transactions import EngineSettings, State

TOKEN = Contract.load("DemoToken")
pytestmark = pytest.mark.chain


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.05)])
    yield Desk(database, chains, EngineSettings(resend_seconds=0.3, estimate_attempts=3))
    await chains.close()


@pytest.fixture
async def token(desk: Desk) -> str:
    """A token whose owner, account 0, mints."""
    return await deploy(desk.client, "DemoToken", ["Alpha", "ALP", 6])


@pytest.mark.parametrize("gas_limit", [None, 200_000])
async def test_would_revert__nothing_before_it__dropped_with_the_decoded_reason_and_without_cost(
    desk: Desk, token: str, gas_limit: int | None
) -> None:
    before = await desk.client.balance(address(1), await desk.client.head())
    data = TOKEN.encode("transfer", [address(3), 5])
    bad = await desk.submit(to=token, value=0, data=data, gas_limit=gas_limit, index=1)
    good = await desk.submit(index=1)
    dropped = await desk.run_until(bad.id, State.DROPPED)
    assert (dropped.nonce, dropped.attempt) == (None, 0)
    assert "it would fail: ERC20InsufficientBalance" in (dropped.reason or "")
    mined = await desk.run_until(good.id, State.MINED, State.FINAL)
    after = await desk.client.balance(address(1), await desk.client.head())
    assert before - after == (mined.fee_paid or 0) + 1


async def test_would_revert__an_earlier_one_on_its_way__waits_until_it_is_mined_and_then_goes(
    desk: Desk, token: str
) -> None:
    await desk.client.call("evm_setAutomine", [False])
    mint = await desk.submit(to=token, value=0, data=TOKEN.encode("mint", [address(0), 5]), gas_limit=200_000)
    spend = await desk.submit(to=token, value=0, data=TOKEN.encode("transfer", [address(3), 5]), gas_limit=200_000)
    await desk.run_until(mint.id, State.BROADCAST)
    await look_often(desk, spend.id)
    waiting = await desk.get(spend.id)
    assert (waiting.state, waiting.nonce) == (State.QUEUED, None)
    assert "1 earlier of its account" in (waiting.reason or "")
    await desk.client.call("evm_setAutomine", [True])
    await desk.mine()
    assert (await desk.run_until(spend.id, State.MINED, State.FINAL)).succeeded


async def test_would_revert__an_earlier_one_waits_for_a_lower_fee__waits_with_it(desk: Desk, token: str) -> None:
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**10)])
    await desk.mine()
    mint = await desk.submit(
        to=token, value=0, data=TOKEN.encode("mint", [address(0), 5]), gas_limit=200_000, max_fee_per_gas=10**9
    )
    spend = await desk.submit(to=token, value=0, data=TOKEN.encode("transfer", [address(3), 5]), gas_limit=200_000)
    await look_often(desk, spend.id)
    assert [(await desk.get(one.id)).state for one in (mint, spend)] == [State.QUEUED, State.QUEUED]
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**8)])
    await desk.mine()
    assert (await desk.run_until(spend.id, State.MINED, State.FINAL)).succeeded


async def test_would_revert__the_earlier_one_did_not_help__dropped_after_it(desk: Desk, token: str) -> None:
    await desk.client.call("evm_setAutomine", [False])
    first = await desk.submit()
    spend = await desk.submit(to=token, value=0, data=TOKEN.encode("transfer", [address(3), 5]), gas_limit=200_000)
    await desk.run_until(first.id, State.BROADCAST)
    await look_often(desk, spend.id)
    assert (await desk.get(spend.id)).state is State.QUEUED
    await desk.mine()
    await desk.run_until(first.id, State.MINED)
    assert (await desk.run_until(spend.id, State.DROPPED)).nonce is None


async def test_simulation__node_that_cannot_make_it__refuses_nothing(
    desk: Desk, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = desk.client.batch

    async def batch(calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers = await ask(calls)
        lost = RpcFault(-32000, "required historical state unavailable")
        return [lost if method == "eth_call" else answer for (method, _), answer in zip(calls, answers, strict=True)]

    monkeypatch.setattr(desk.client, "batch", batch)
    data = TOKEN.encode("mint", [address(0), 5])
    sent = await desk.submit(to=token, value=0, data=data, gas_limit=200_000)
    assert (await desk.run_until(sent.id, State.MINED)).succeeded


async def test_simulation__switched_off__sent_and_paid_for(desk: Desk, token: str) -> None:
    careless = Desk(desk.database, desk.chains, replace(desk.settings, simulates=False))
    data = TOKEN.encode("transfer", [address(3), 5])
    sent = await careless.submit(to=token, value=0, data=data, gas_limit=200_000, index=1)
    assert (await careless.run_until(sent.id, State.MINED)).succeeded is False


async def look_often(desk: Desk, transaction_id: str) -> None:
    """Step until the transaction was looked at more often than a refusal alone would let it live."""
    looks, due = 0, (await desk.get(transaction_id)).due_at
    while looks <= 2 * desk.settings.estimate_attempts:
        await desk.engine.step()
        now = await desk.get(transaction_id)
        if now.state is not State.QUEUED:
            return
        looks, due = looks + (now.due_at != due), now.due_at
