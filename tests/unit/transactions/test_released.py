"""A worker dies after custody gave it a signature and before it wrote so: the nonce stays with what was signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.evm import address, config
from tests.support.office import Office

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry
from lockstep.custody.errors import WalletFrozen
from lockstep.kit import crash
from lockstep.kit.database import Database
from lockstep.transactions import State, Transaction

pytestmark = pytest.mark.chain


class Died(Exception):
    """The worker is gone."""


@pytest.fixture
async def office(database: Database, anvil: Anvil) -> AsyncIterator[Office]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Office(database, chains)
    await chains.close()


async def signed_by_the_dead(office: Office, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Transaction:
    """A reserved transaction whose signature was released to nobody."""

    def die(step: str, place: str) -> None:
        if (step, place) == ("transaction.signed", "after_effect"):
            raise Died

    queued = await office.submit(**changes)
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(crash, "point", die)
        await office.run_until(queued.id, State.SIGNED)
    found = await office.get(queued.id)
    assert (found.state, len(office.keys.signed)) == (State.RESERVED, 1)
    return found


async def test_released__cancelled_before_it_was_written__is_cancelled_by_a_self_send(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = await signed_by_the_dead(office, monkeypatch, value=7)
    await office.cancel(reserved.id)

    await office.run_until(reserved.id, State.BROADCAST, State.MINED)
    await office.mine_until(reserved.id, State.CANCELLED)

    first, again, self_send = office.keys.signed
    assert first == again
    assert (self_send.nonce, self_send.to, self_send.value) == (first.nonce, address(0), 0)
    assert await office.received() == 0
    assert (await office.run_until((await office.submit()).id, State.BROADCAST, State.MINED)).nonce == 1


async def test_released__deadline_passed_and_may_be_late__goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = office.clock.now() + timedelta(seconds=1)
    reserved = await signed_by_the_dead(office, monkeypatch, value=7, deadline_at=soon, cancels_late=False)
    await asyncio.sleep(1.1)

    await office.run_until(reserved.id, State.MINED)

    assert await office.received() == 7


async def test_released__refused_since__its_nonce_is_used_up_and_not_given_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = await signed_by_the_dead(office, monkeypatch, value=7)
    office.keys.refusals[7] = WalletFrozen()

    await office.run_until(reserved.id, State.BROADCAST, State.MINED)
    ended = await office.mine_until(reserved.id, State.CANCELLED)

    assert [tx.to for tx in office.keys.signed] == [address(5), address(0)]
    assert (ended.nonce, await office.received()) == (0, 0)


async def test_released__self_send_refused_as_well__waits_with_its_nonce(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = await signed_by_the_dead(office, monkeypatch, value=7)
    office.keys.refusals[7] = office.keys.no_cancellations = WalletFrozen()
    await office.engine.step()

    waiting = await office.get(reserved.id)
    assert (waiting.state, waiting.nonce) == (State.RESERVED, 0)
    assert "refused" in (waiting.reason or "")
    assert (await office.run_until((await office.submit(value=2)).id, State.SIGNED)).nonce == 1
