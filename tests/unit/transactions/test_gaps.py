"""Nonces that nobody sends do not hold up their account for long: the next transaction takes them, or a self-send does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.evm import account, address, config, send, sign
from tests.support.transactions import APP, Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, UnsignedTransaction
from lockstep.custody.errors import SigningStopped, WalletFrozen
from lockstep.kit.database import Database
from lockstep.kit.errors import Forbidden, LockstepError
from lockstep.transactions import EngineSettings, NonceTaken, State, Transaction
from lockstep.transactions.store import rows

pytestmark = pytest.mark.chain
SETTINGS = EngineSettings(resend_seconds=0.3, gap_blocks=2, claim_grace_seconds=600)


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Desk(database, chains, SETTINGS)
    await chains.close()


async def all_of(desk: Desk) -> list[Transaction]:
    async with desk.database.tenant(APP) as uow:
        return await rows.list_page(uow, APP, wallet_ids=None, chain=None, state=None, before=None, limit=50)


async def fills(desk: Desk) -> list[Transaction]:
    return [t for t in await all_of(desk) if t.idempotency_key.startswith("gap:")]


async def refuse_the_middle(desk: Desk) -> Transaction:
    """Three transactions of which the second loses its nonce again; the last one."""
    desk.keys.refusals[2] = Forbidden("the session signer was revoked")
    _, refused, last = [await desk.submit(value=value) for value in (1, 2, 3)]
    dropped = await desk.run_until(refused.id, State.DROPPED)
    assert "revoked" in (dropped.reason or "")
    return last


def claimed(nonce: int, **changes: int) -> UnsignedTransaction:
    fields = {"value": 9, "gas_limit": 21_000, "max_fee_per_gas": 3 * 10**9, "max_priority_fee_per_gas": 10**9}
    return UnsignedTransaction(chain_id=31337, nonce=nonce, to=address(6), data=b"", **(fields | changes))  # type: ignore[arg-type]  # numbers by name


async def claim(desk: Desk, tx: UnsignedTransaction) -> None:
    async with desk.database.tenant(APP) as uow:
        await desk.sender.claim(uow, desk.client.chain, address(0), tx.nonce, tx.digest())


async def test_gap__nothing_else_queued__used_up_by_a_self_send_of_the_engine(desk: Desk) -> None:
    last = await refuse_the_middle(desk)

    assert (await desk.run_until(last.id, State.MINED)).nonce == 2

    (fill,) = await fills(desk)
    assert (fill.nonce, fill.to, fill.value, fill.data) == (1, address(0), 0, b"")
    ((caller, intent),) = desk.keys.decided
    assert (caller.label, intent.to, intent.value) == ("module:engine", address(0), 0)
    await desk.mine(2)
    assert (await desk.run_until(fill.id, State.FINAL)).gas_used == 21_000
    async with desk.database.tenant(APP) as uow:
        steps = await rows.list_steps(uow, APP, fill.id)
    assert f"holds up transaction {last.id}" in (steps[0].reason or "")


async def test_gap__another_is_queued_in_time__takes_the_nonce_and_nothing_is_filled(desk: Desk) -> None:
    last = await refuse_the_middle(desk)
    next_one = await desk.submit(value=4)

    assert (await desk.run_until(next_one.id, State.MINED)).nonce == 1
    await desk.run_until(last.id, State.MINED)
    assert await fills(desk) == []


async def test_gap__several_at_once_and_two_engines__each_is_filled_once(desk: Desk) -> None:
    desk.keys.refusals |= {value: Forbidden("no") for value in (2, 3, 5)}
    submitted = [await desk.submit(value=value) for value in range(1, 7)]
    await desk.run_until(submitted[1].id, State.DROPPED)
    other = Desk(desk.database, desk.chains, SETTINGS)

    async with asyncio.timeout(30):
        while (await desk.get(submitted[5].id)).state is not State.MINED:
            await asyncio.gather(desk.engine.step(), other.engine.step())

    assert sorted(fill.nonce or 0 for fill in await fills(desk)) == [1, 2, 4]
    assert await desk.client.nonces([address(0)], await desk.client.head()) == [6]


@pytest.mark.parametrize("stop", [WalletFrozen(), SigningStopped()])
async def test_gap__wallet_is_stopped__nothing_is_signed_until_it_is_not(desk: Desk, stop: LockstepError) -> None:
    desk.keys.no_cancellations = stop
    last = await refuse_the_middle(desk)
    async with asyncio.timeout(20):
        while not desk.lane.gaps_seen:
            await desk.engine.step()
    for _ in range(20):
        await desk.engine.step()
        await desk.mine()
    assert await fills(desk) == []

    desk.keys.no_cancellations = None
    await desk.run_until(last.id, State.MINED)


async def test_claim__within_its_grace__is_waited_for(desk: Desk) -> None:
    await claim(desk, claimed(0))
    queued = await desk.submit()
    await desk.run_until(queued.id, State.BROADCAST)
    for _ in range(10):
        await desk.engine.step()
        await desk.mine()
    assert await fills(desk) == []
    await send(desk.client, address(6), nonce=0)
    await desk.run_until(queued.id, State.MINED)


async def test_claim__never_sent__is_used_up_after_its_grace_once_it_holds_something_up(
    database: Database, desk: Desk
) -> None:
    hasty = Desk(database, desk.chains, EngineSettings(resend_seconds=0.3, claim_grace_seconds=0))
    await claim(hasty, claimed(0))
    for _ in range(5):
        await hasty.engine.step()
    assert await fills(hasty) == []  # it is in nobody's way

    queued = await hasty.submit()
    assert (await hasty.run_until(queued.id, State.MINED)).nonce == 1

    (fill,) = await fills(hasty)
    assert (fill.nonce, fill.value) == (0, 0)
    async with database.tenant(APP) as uow:
        with pytest.raises(NonceTaken):  # the chain has passed it
            await hasty.sender.claim(uow, hasty.client.chain, address(0), 0, claimed(0).digest())


async def test_claim__its_bytes_turn_up_and_are_mined__the_self_send_has_lost(database: Database, desk: Desk) -> None:
    hasty = Desk(database, desk.chains, EngineSettings(resend_seconds=0.3, claim_grace_seconds=0))
    await hasty.client.call("evm_setAutomine", [False])
    await claim(hasty, claimed(0))
    queued = await hasty.submit()
    async with asyncio.timeout(20):
        while not (found := await fills(hasty)) or found[0].state is not State.BROADCAST:
            await hasty.engine.step()
    await hasty.client.call("anvil_dropTransaction", ["0x" + (found[0].hash or b"").hex()])
    await hasty.client.call("eth_sendRawTransaction", ["0x" + sign(account(0), claimed(0)).hex()])
    await hasty.mine(4)

    assert (await hasty.run_until(found[0].id, State.REPLACED_EXTERNALLY)).succeeded is None
    async with asyncio.timeout(20):
        while (await hasty.get(queued.id)).state is not State.FINAL:
            await hasty.engine.step()
            await hasty.mine()
    assert await hasty.client.balance(address(6), await hasty.client.head()) == 10**22 + 9


async def test_claim__self_send_is_refused__stays_the_callers(database: Database, desk: Desk) -> None:
    hasty = Desk(database, desk.chains, EngineSettings(resend_seconds=0.3, claim_grace_seconds=0))
    hasty.keys.refusals[0] = WalletFrozen()
    await claim(hasty, claimed(0))
    await hasty.submit()
    async with asyncio.timeout(20):
        while not (found := await fills(hasty)) or found[0].state is not State.DROPPED:
            await hasty.engine.step()

    async with database.system("test") as uow:
        held = await uow.get("select transaction_id, claimed_at from nonce_reservations where nonce = 0")
        digests = await uow.fetch("select digest from signed_digests where nonce = 0")
    assert claimed(0).digest() in [bytes(row["digest"]) for row in digests]
    assert held["claimed_at"] is not None
    late = await hasty.submit(value=5)
    await hasty.run_until(late.id, State.BROADCAST)
    assert (await hasty.get(late.id)).nonce != 0
