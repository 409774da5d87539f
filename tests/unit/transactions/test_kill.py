"""A worker is killed with SIGKILL in the middle of a step; another engine finishes the work, once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.evm import address, config
from tests.support.transaction_worker import SETTINGS
from tests.support.transactions import Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry
from lockstep.kit.crash import MOMENTS
from lockstep.kit.database import Database
from lockstep.kit.errors import Forbidden
from lockstep.transactions import ENGINE_STEPS, REPAIR_STEPS, REPLACEMENT_STEPS, State

pytestmark = [pytest.mark.chain, pytest.mark.slow]
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Desk(database, chains, SETTINGS)
    await chains.close()


async def _killed_worker(dsn: str, anvil: Anvil, point: str, folder: Path, desk: Desk, *, base_fee: int | None) -> None:
    """Run a worker until it dies at the point; the node mines meanwhile."""
    environment = {**os.environ, "LOCKSTEP_CRASH_FOLDER": str(folder), "LOCKSTEP_CRASH_STEPS": point}
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.transaction_worker",
        dsn,
        anvil.url,
        str(anvil.chain_id),
        cwd=ROOT,
        env=environment,
    )
    try:
        async with asyncio.timeout(40):
            while worker.returncode is None:
                if base_fee is not None:
                    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(base_fee)])
                await desk.mine()
                await asyncio.sleep(0.1)
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert worker.returncode == -signal.SIGKILL
    assert (folder / point).exists()


@pytest.mark.parametrize("step", ENGINE_STEPS)
async def test_kill__after_the_effect_of_each_step__each_transfer_once(
    desk: Desk, dsn: str, anvil: Anvil, tmp_path: Path, step: str
) -> None:
    transactions = [await desk.submit(value=10, index=index % 2) for index in range(6)]
    await _killed_worker(dsn, anvil, f"{step}.after_effect", tmp_path, desk, base_fee=None)
    for transaction in transactions:
        await desk.run_until(transaction.id, State.MINED, State.FINAL)
    await desk.mine(2)
    for transaction in transactions:
        await desk.run_until(transaction.id, State.FINAL)
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 60
    assert await desk.client.nonces([address(0), address(1)], head) == [3, 3]
    async with desk.database.system("test") as uow:
        assert (await uow.get("select count(*) as n from signed_digests"))["n"] == 6


@pytest.mark.parametrize("moment", MOMENTS)
async def test_kill__around_a_cancellation__nonce_is_used_once_and_nothing_moves(
    desk: Desk, dsn: str, anvil: Anvil, tmp_path: Path, moment: str
) -> None:
    await desk.client.call("evm_setAutomine", [False])
    deadline = desk.clock.now() + timedelta(seconds=2)
    sent = await desk.run_until((await desk.submit(value=10, deadline_at=deadline)).id, State.BROADCAST)
    async with asyncio.timeout(10):
        while desk.clock.now() < deadline:
            await asyncio.sleep(0.1)
    # Its fees are below what blocks take, so that nothing but the self-send of its deadline can be mined.
    too_high = (sent.max_fee_per_gas or 0) * 2
    await _killed_worker(dsn, anvil, f"{REPLACEMENT_STEPS[0]}.{moment}", tmp_path, desk, base_fee=too_high)
    while not any(tx.value == 0 for tx in desk.keys.signed):
        await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(too_high)])
        await desk.mine()
        await desk.engine.step()
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await desk.client.call("evm_setAutomine", [True])
    await desk.mine()
    async with asyncio.timeout(30):
        while (await desk.get(sent.id)).state is not State.CANCELLED:
            await desk.engine.step()
            await desk.mine()
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22
    assert await desk.client.nonces([address(0)], head) == [1]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_kill__around_a_replacement__one_form_is_mined(
    desk: Desk, dsn: str, anvil: Anvil, tmp_path: Path, moment: str
) -> None:
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit(value=10)
    sent = await desk.run_until(queued.id, State.BROADCAST)
    too_high = (sent.max_fee_per_gas or 0) * 2
    point = f"{REPLACEMENT_STEPS[0]}.{moment}"
    await _killed_worker(dsn, anvil, point, tmp_path, desk, base_fee=too_high)
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await desk.client.call("evm_setAutomine", [True])
    await desk.mine()
    await desk.run_until(queued.id, State.MINED, State.FINAL)
    await desk.mine(2)
    final = await desk.run_until(queued.id, State.FINAL)
    assert final.nonce == 0
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 10
    assert await desk.client.nonces([address(0)], head) == [1]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_kill__around_the_filling_of_a_gap__nonce_is_used_up_once(
    desk: Desk, dsn: str, anvil: Anvil, tmp_path: Path, moment: str
) -> None:
    desk.keys.refusals[2] = Forbidden("the session signer was revoked")
    _, refused, last = [await desk.submit(value=value) for value in (1, 2, 3)]
    await desk.run_until(refused.id, State.DROPPED)
    await _killed_worker(dsn, anvil, f"{REPAIR_STEPS[0]}.{moment}", tmp_path, desk, base_fee=None)
    await desk.run_until(last.id, State.MINED, State.FINAL)
    await desk.mine(2)
    await desk.run_until(last.id, State.FINAL)
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 4
    assert await desk.client.nonces([address(0)], head) == [3]
    async with desk.database.system("test") as uow:
        assert (await uow.get("select count(*) as n from signed_digests"))["n"] == 3
