"""The client's own arithmetic and hashing against the server's, which is checked against the contracts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import auctions
from lockstep.auctions import rules
from lockstep.auctions.codec import order_digest, typed_data
from lockstep.auctions.schemas import OrderIn
from lockstep.chains.evm import keccak256
from lockstep.client import (
    Deposits,
    Destination,
    PriceCurve,
    PricePoint,
    SwapOrder,
    TimeLocks,
    destination_amount,
    hashlock,
    order_hash,
    order_typed_data,
    rate_bump,
)
from lockstep.client.decoding import read

FACTORY = "0x" + "fa" * 20
words = st.integers(0, 2**32 - 1)
amounts = st.integers(0, 2**256 - 1)
raw_addresses = st.binary(min_size=20, max_size=20)
addresses = raw_addresses.map(lambda raw: "0x" + raw.hex())


@st.composite
def curves(draw: st.DrawFn) -> PriceCurve:
    points = draw(st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 1000)), max_size=5))
    duration = sum(delay for _, delay in points) + draw(st.integers(1, 1000))
    return PriceCurve(
        start_time=draw(st.integers(0, 2**40)),
        duration=duration,
        end_amount=draw(st.integers(1, 2**128)),
        initial_rate_bump=draw(st.integers(0, 10**8)),
        points=tuple(PricePoint(rate_bump=bump, delay=delay) for bump, delay in points),
    )


@st.composite
def orders(draw: st.DrawFn) -> SwapOrder:
    return SwapOrder(
        maker=draw(addresses),
        source_token=draw(addresses),
        source_amount=draw(amounts),
        destination=Destination(
            chain="eip155:31338",
            factory=draw(raw_addresses),
            token=draw(raw_addresses),
            receiver=draw(st.binary(min_size=1, max_size=64)),
        ),
        price=draw(curves()),
        deposits=Deposits(source=draw(amounts), destination=draw(amounts)),
        time_locks=TimeLocks(**{name: draw(words) for name in TimeLocks.__slots__}),
        hashlock_info=draw(st.binary(min_size=32, max_size=32)),
        allowed_takers=tuple(draw(st.lists(addresses, max_size=3))),
        nonce=draw(amounts),
        expiry=draw(st.integers(0, 2**64 - 1)),
    )


def _theirs(order: SwapOrder) -> auctions.Order:
    return OrderIn.model_validate(order.wire()).to_order("eip155:31337", FACTORY)


@given(orders())
def test_order__posted__same_document_and_hash_as_the_server(order: SwapOrder) -> None:
    theirs = _theirs(order)
    assert order_hash(order, 31337, FACTORY) == order_digest(theirs)
    document = order_typed_data(order, 31337, FACTORY)
    assert document["types"] == typed_data(theirs)["types"]
    assert document["domain"] == typed_data(theirs)["domain"]
    assert read(SwapOrder, order.wire()) == order


@given(curves(), st.integers(-10, 7000))
def test_price__any_moment__same_as_the_server(curve: PriceCurve, after: int) -> None:
    at = max(0, curve.start_time + after)
    theirs = auctions.PriceCurve(
        start_time=curve.start_time,
        duration=curve.duration,
        end_amount=curve.end_amount,
        initial_rate_bump=curve.initial_rate_bump,
        points=tuple(auctions.PricePoint(rate_bump=p.rate_bump, delay=p.delay) for p in curve.points),
    )
    assert rate_bump(curve, at) == rules.rate_bump(theirs, at)
    assert destination_amount(curve, at) == rules.destination_amount(theirs, at)


def test_hashlock__secret__keccak_of_32_bytes() -> None:
    assert hashlock(bytes(32)) == keccak256(bytes(32))
    with pytest.raises(ValueError, match="32 bytes, was 31"):
        hashlock(bytes(31))


@pytest.mark.parametrize("member", ["nonce", "source_amount"])
def test_order_hash__number_outside_its_type__refused(member: str) -> None:
    order = _plain(**{member: 2**256})
    with pytest.raises(ValueError, match="expected uint256"):
        order_hash(order, 31337, FACTORY)


def _plain(**changed: Any) -> SwapOrder:
    members: dict[str, Any] = {
        "maker": FACTORY,
        "source_token": FACTORY,
        "source_amount": 1,
        "destination": Destination(chain="eip155:1", factory=bytes(20), token=bytes(20), receiver=bytes(20)),
        "price": PriceCurve(start_time=1, duration=1, end_amount=1, initial_rate_bump=0),
        "deposits": Deposits(source=0, destination=0),
        "time_locks": TimeLocks(**dict.fromkeys(TimeLocks.__slots__, 1)),
        "hashlock_info": bytes(32),
        "nonce": 0,
        "expiry": 1,
    }
    return SwapOrder(**{**members, **changed})
