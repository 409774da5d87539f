"""What outside parties see and do through their own nodes, on two real chains and without Lockstep."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from lockstep.app.demo import external_maker, external_resolver
from lockstep.app.demo.own_node import (
    CANCELLED,
    DESTINATION,
    FACTORY,
    OPEN,
    WITHDRAWN,
    Head,
    OutsideFailed,
    OwnNode,
    destination_difference,
    source_difference,
    time_lock_word,
)
from lockstep.app.demo.resolver_bot import can_be_taken, is_worth_it
from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.contracts import TOKEN_A, TOKEN_B, deploy_contracts, fund, mint
from lockstep.chains.evm import Address
from lockstep.client import AsyncClient, BookOrder, order_hash, order_typed_data

COINS = 10**19
SOLD, LEAST = 10**18, 2 * 10**6


@dataclass(frozen=True)
class Street:
    """Two chains, a maker and a resolver with keys of their own, and the maker's signed order."""

    nodes: tuple[Anvil, Anvil]
    source: OwnNode
    destination: OwnNode
    maker: LocalAccount
    resolver: LocalAccount
    secret: bytes
    posted: BookOrder

    @property
    def hash(self) -> bytes:
        return bytes.fromhex(self.posted.hash[2:])

    async def mine(self, blocks: int = 2, seconds: int = 0) -> None:
        for node in self.nodes:
            if seconds:
                await node.call("evm_increaseTime", seconds)
            await node.call("anvil_mine", hex(blocks))

    async def tokens(self) -> tuple[int, int, int, int]:
        """What maker and resolver have: of the source token, then of the destination token."""
        token = self.posted.order.source_token, "0x" + self.posted.order.destination.token.hex()
        maker, resolver = self.maker.address, self.resolver.address
        return (
            await self.source.tokens_of(token[0], maker),
            await self.source.tokens_of(token[0], resolver),
            await self.destination.tokens_of(token[1], maker),
            await self.destination.tokens_of(token[1], resolver),
        )


@pytest.fixture
async def street(anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Street]:
    first, second = anvil_pair
    maker, resolver = Account.create(), Account.create()
    at_source, at_destination = await deploy_contracts(first, TOKEN_A), await deploy_contracts(second, TOKEN_B)
    for account in (maker, resolver):
        await fund(first, Address(account.address.lower()), COINS)
        await fund(second, Address(account.address.lower()), COINS)
    await mint(first, at_source.token.address, Address(maker.address.lower()), SOLD)
    await mint(second, at_destination.token.address, Address(resolver.address.lower()), 2 * LEAST)
    async with (
        OwnNode(first.chain, first.url, at_source.factory, finality_blocks=2) as source,
        OwnNode(second.chain, second.url, at_destination.factory, finality_blocks=2) as destination,
    ):
        trade = external_maker.Trade(
            source_token=at_source.token.address,
            source_amount=SOLD,
            destination_token=at_destination.token.address,
            least_amount=LEAST,
        )
        secret = secrets.token_bytes(32)
        order = await external_maker.make_order(maker.address, trade, secret, source, destination)
        signed = maker.sign_typed_data(full_message=order_typed_data(order, source.chain_id, source.factory))
        await source.approve(maker, order.source_token, SOLD)
        await destination.approve(resolver, at_destination.token.address, 2 * LEAST)
        posted = BookOrder(
            hash="0x" + order_hash(order, source.chain_id, source.factory).hex(),
            maker=maker.address,
            source_chain=source.chain,
            source_factory=source.factory,
            source_token=order.source_token,
            destination_chain=destination.chain,
            destination_token=at_destination.token.address,
            order=order,
            signature=bytes(signed.signature),
            signature_kind="eip712",
            permit=b"",
            state="open",
            validity="ok",
            remaining=SOLD,
            fills=(),
            cancel_requested_at=None,
            version=1,
            created_at=datetime(2030, 1, 1, tzinfo=UTC),
            updated_at=datetime(2030, 1, 1, tzinfo=UTC),
        )
        yield Street((first, second), source, destination, maker, resolver, secret, posted)


async def mining(street: Street, work: Any) -> Any:
    """The result of some work, while blocks come."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await street.mine(1)
        await asyncio.wait({task}, timeout=0.1)
    return await task


async def test_swap__both_honest__each_has_what_it_wanted(street: Street) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    on_destination = await external_resolver.lock_destination(*parts, on_source, street.destination)
    nodes = street.source, street.destination
    seen = await mining(street, external_maker.wait_for_locks(street.posted.order, street.hash, *nodes))
    assert seen == (on_source, on_destination)
    await street.mine(seconds=5)
    await external_resolver.claim(
        street.resolver, street.secret, street.source, on_source, street.destination, on_destination
    )
    await external_maker.wait_for_payment(street.posted.order, street.destination, on_destination)
    paid = on_destination.immutables["amount"]
    assert LEAST <= paid <= LEAST * 105 // 100
    assert await street.tokens() == (0, SOLD, paid, 2 * LEAST - paid)


async def test_swap__secret_never_comes__each_has_its_own_back(street: Street) -> None:
    before = await street.tokens()
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    on_destination = await external_resolver.lock_destination(*parts, on_source, street.destination)
    await street.mine(seconds=on_source.opens("source_cancellation") - on_source.block_time + 1)
    undone = external_resolver.undo(street.resolver, street.source, on_source, street.destination, on_destination)
    await mining(street, undone)
    assert await street.source.state_of(on_source) == CANCELLED
    assert await street.destination.state_of(on_destination) == CANCELLED
    assert await street.tokens() == before


async def test_swap__maker_withdraws_itself_at_the_last_moment__resolver_still_claims(street: Street) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    on_destination = await external_resolver.lock_destination(*parts, on_source, street.destination)
    await street.mine(seconds=on_destination.opens("destination_public_withdrawal") - on_destination.block_time)
    shown = (street.secret, on_destination.immutables)
    await street.destination.send(street.maker, DESTINATION, on_destination.escrow, "publicWithdraw", *shown)
    await street.mine(seconds=20)
    async with AsyncClient("http://127.0.0.1:1") as unasked:
        secret = await external_resolver.wait_for_secret(unasked, street.posted, street.destination, on_destination)
    assert secret == street.secret
    await external_resolver.claim(street.resolver, secret, street.source, on_source, street.destination, on_destination)
    paid = on_destination.immutables["amount"]
    assert await street.tokens() == (0, SOLD, paid, 2 * LEAST - paid)


async def test_wait_for_locks__escrow_of_a_stranger_and_one_that_differs__passed_over(
    street: Street, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    terms = on_source.terms or {}
    cheap = {
        **on_source.immutables,
        "maker": "0x" + terms["receiver"].hex(),
        "token": "0x" + terms["token"].hex(),
        "amount": 1,
        "safetyDeposit": terms["safetyDeposit"],
    }
    node, until = street.destination, on_source.opens("source_cancellation")
    deposit = terms["safetyDeposit"]
    await node.send(street.resolver, FACTORY, node.factory, "createDestination", cheap, until, value=deposit)
    waiting = asyncio.create_task(
        external_maker.wait_for_locks(street.posted.order, street.hash, street.source, street.destination)
    )
    await street.mine(3)
    await asyncio.sleep(1)
    assert not waiting.done()
    honest = await external_resolver.lock_destination(*parts, on_source, street.destination)
    assert (await mining(street, waiting))[1] == honest
    assert "amount: expected" in capsys.readouterr().out


async def test_source_difference__each_member__found(street: Street) -> None:
    on_source = await mining(
        street,
        external_resolver.lock_source(street.resolver, street.posted, street.source, street.destination),
    )
    order, other = street.posted.order, (street.destination.chain, street.destination.factory)
    assert source_difference(order, street.hash, on_source, other) is None
    changed = {
        "amount": replace(order, source_amount=SOLD + 1),
        "hashlock": replace(order, hashlock_info=bytes(32)),
        "destination amount": replace(order, price=replace(order.price, end_amount=LEAST + 1)),
        "allowed taker": replace(order, allowed_takers=(street.maker.address,)),
        "time locks": replace(order, time_locks=replace(order.time_locks, destination_cancellation=61)),
        "destination deposit": replace(order, deposits=replace(order.deposits, destination=1)),
        "receiver": replace(order, destination=replace(order.destination, receiver=bytes(20))),
    }
    for member, signed in changed.items():
        difference = source_difference(signed, street.hash, on_source, other)
        assert difference is not None
        assert difference.startswith(member + ":")
    assert source_difference(order, bytes(32), on_source, other) is not None
    assert source_difference(order, street.hash, on_source, (other[0], street.maker.address)) is not None
    assert destination_difference(order, on_source, on_source) is not None


async def test_is_final__block_left_the_chain__not_final(street: Street) -> None:
    on_source = await mining(
        street,
        external_resolver.lock_source(street.resolver, street.posted, street.source, street.destination),
    )
    assert await street.source.is_final(on_source)
    assert not await street.source.is_final(replace(on_source, block_hash="0x" + "00" * 32))


async def test_release_secret__too_little_time_left__secret_stays(street: Street) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    locked = await external_resolver.lock_destination(*parts, on_source, street.destination)
    await street.mine(seconds=street.posted.order.time_locks.destination_cancellation - 5)
    asked: Any = None  # nobody is asked: a call would fail
    with pytest.raises(OutsideFailed, match="the secret stays here"):
        await external_maker.release_secret(asked, street.hash, street.secret, street.destination, locked)


async def test_release_secret__own_node_has_stopped__secret_stays(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    locked = await external_resolver.lock_destination(*parts, on_source, street.destination)
    long_ago = time_lock_word(street.posted.order, locked.block_time - 3_600)
    old = replace(locked, immutables={**locked.immutables, "timelocks": long_ago})

    async def stopped() -> Head:
        return Head(locked.block_number, locked.block_time - 3_600)

    monkeypatch.setattr(street.destination, "head", stopped)
    asked: Any = None  # nobody is asked: a call would fail
    with pytest.raises(OutsideFailed, match="the secret stays here"):
        await external_maker.release_secret(asked, street.hash, street.secret, street.destination, old)


async def test_send__would_revert__reason_in_words(street: Street) -> None:
    parts = street.resolver, street.posted
    on_source = await mining(street, external_resolver.lock_source(*parts, street.source, street.destination))
    locked = await external_resolver.lock_destination(*parts, on_source, street.destination)
    await street.mine(seconds=5)
    with pytest.raises(OutsideFailed, match="InvalidSecret"):
        await street.destination.send(
            street.resolver, DESTINATION, locked.escrow, "withdraw", bytes(32), locked.immutables
        )
    assert await street.destination.state_of(locked) == OPEN
    await street.destination.send(
        street.resolver, DESTINATION, locked.escrow, "withdraw", street.secret, locked.immutables
    )
    assert await street.destination.state_of(locked) == WITHDRAWN


async def test_own_node__node_of_another_chain__refused(anvil: Anvil) -> None:
    with pytest.raises(OutsideFailed, match="expected a node of eip155:1, was one of chain 31337"):
        async with OwnNode("eip155:1", anvil.url, "0x" + "00" * 20, finality_blocks=1):
            pass


# --- the bot's decisions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pays", "is_worth"), [(2_059_999, True), (2_060_000, True), (2_060_001, False), (4 * 10**30, False)]
)
def test_is_worth_it__price__exact_to_the_unit(pays: int, is_worth: bool) -> None:
    assert is_worth_it(10**18, pays, Fraction("2060000/1000000000000000000")) is is_worth


@pytest.mark.parametrize(
    ("changed", "can"),
    [
        ({}, True),
        ({"fills": [{"settlement_state": "cancelled"}]}, True),
        ({"fills": [{"settlement_state": "matched"}]}, False),
        ({"state": "scheduled"}, False),
        ({"validity": "balance_low"}, False),
        ({"cancel_requested_at": "2030-01-01T00:00:00.000Z"}, False),
    ],
)
def test_can_be_taken__order_as_it_stands__only_when_free(changed: dict[str, Any], can: bool) -> None:
    order = {"state": "open", "validity": "ok", "fills": [], "cancel_requested_at": None}
    assert can_be_taken({**order, **changed}) is can
