"""Private transactions: only the private node gets their bytes, receipts come from anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evm import config
from tests.support.stub_node import StubNode
from tests.support.transactions import Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, transaction_hash
from lockstep.kit.database import Database
from lockstep.transactions import NoPrivateNode, State
from lockstep.transactions.evm.rules import goes_private

pytestmark = pytest.mark.chain

OpenDesk = Callable[..., Awaitable[Desk]]
heads = st.integers(0, 10**9)


@pytest.fixture
async def relay() -> AsyncIterator[StubNode]:
    """A private node that takes everything and passes nothing on."""
    async with StubNode() as node:
        node.answers["eth_sendRawTransaction"] = lambda params: (
            "0x" + transaction_hash(bytes.fromhex(params[0][2:])).hex()
        )
        yield node


@pytest.fixture
async def open_desk(database: Database, anvil: Anvil, relay: StubNode) -> AsyncIterator[OpenDesk]:
    opened: list[ChainRegistry] = []

    async def open_(**changes: object) -> Desk:
        settings = {"private_rpc_url": relay.url, "block_seconds": 0.05} | changes
        opened.append(ChainRegistry([config(anvil, **settings)]))
        return Desk(database, opened[-1])

    yield open_
    for chains in opened:
        await chains.close()


@given(st.none() | heads, heads, st.none() | st.integers(1, 1000))
def test_goes_private__any__public_only_after_the_fallback(first: int | None, head: int, fallback: int | None) -> None:
    assert not goes_private(False, first, head, fallback)
    hidden = goes_private(True, first, head, fallback)
    assert hidden or (first is not None and fallback is not None and head >= first + fallback)


@pytest.mark.parametrize("by_default", [True, False])
async def test_private__no_fallback__only_the_private_node_gets_it_and_its_receipt_counts(
    open_desk: OpenDesk, relay: StubNode, by_default: bool
) -> None:
    desk = await open_desk(private_by_default=by_default)
    hidden = await desk.submit(value=7, is_private=None if by_default else True)
    assert hidden.is_private
    sent = await desk.run_until(hidden.id, State.BROADCAST)
    assert sent.hash is not None
    sends = relay.count("eth_sendRawTransaction")
    async with asyncio.timeout(15):  # sent again, and made dearer, where only the private node sees it
        while (await desk.get(hidden.id)).attempt < 2 or relay.count("eth_sendRawTransaction") <= sends:
            await desk.mine()
            await desk.engine.step()
    assert await desk.client.find_transaction(sent.hash) is None
    raw = await first_raw(desk, hidden.id)
    await desk.client.call("eth_sendRawTransaction", ["0x" + raw.hex()])  # the private node's builder makes a block
    mined = await desk.run_until(hidden.id, State.MINED, State.FINAL)
    assert (mined.hash, mined.succeeded) == (sent.hash, True)


async def test_private__unmined_for_the_fallback__sent_to_all(open_desk: OpenDesk, relay: StubNode) -> None:
    desk = await open_desk(private_fallback_blocks=3)
    hidden = await desk.submit(is_private=True)
    sent = await desk.run_until(hidden.id, State.BROADCAST)
    assert sent.hash is not None
    assert await desk.client.find_transaction(sent.hash) is None
    await desk.mine(3)
    assert (await desk.run_until(hidden.id, State.MINED)).hash == sent.hash


async def test_private__node_away__waits_and_holds_up_no_public_one(open_desk: OpenDesk, relay: StubNode) -> None:
    relay.status = 503
    desk = await open_desk()
    hidden = await desk.submit(is_private=True)
    public = await desk.submit(index=1)
    assert (await desk.run_until(public.id, State.MINED, State.FINAL)).succeeded
    waiting = await desk.get(hidden.id)
    assert waiting.state is State.SIGNED
    assert "sent again" in (waiting.reason or "")
    relay.status = 200
    assert (await desk.run_until(hidden.id, State.BROADCAST)).hash is not None


async def test_private__chain_without_a_private_node__refused_and_never_sent(open_desk: OpenDesk) -> None:
    desk = await open_desk(private_rpc_url=None)
    with pytest.raises(NoPrivateNode):
        await desk.submit(is_private=True)
    assert not (await desk.submit()).is_private


async def first_raw(desk: Desk, transaction_id: str) -> bytes:
    async with desk.database.system("test") as uow:
        row = await uow.get(
            "select raw from transaction_attempts where transaction_id = %s and attempt = 1", (transaction_id,)
        )
    return bytes(row["raw"])
