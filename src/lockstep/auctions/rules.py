"""Pure rules of orders: the price at a moment, and everything about an order that can be checked without asking anyone.

Knows no database, node or clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from lockstep.auctions.errors import (
    AllowedTakersInvalid,
    AuctionNotStarted,
    DepositTooLow,
    DestinationInvalid,
    ExtensionUnsupported,
    FactoryUnknown,
    HashlockInvalid,
    MakerInvalid,
    OrderAmountInvalid,
    OrderExpired,
    OrderTimesInvalid,
    PermitInvalid,
    PriceCurveInvalid,
    TakerNotAllowed,
)
from lockstep.auctions.types import BUMP_ONE, NO_EXTENSION, Order, OrderState, PriceCurve, SignedOrder, Validity
from lockstep.chains.evm import ZERO_ADDRESS, Address
from lockstep.kit.money import MAX_UINT256, ceil_div
from lockstep.settlement import TimeLocks

MOST_POINTS = 32
MOST_TAKERS = 32
MOST_BUMP = 100 * BUMP_ONE
"""A start price of 101 times the end price; more is a slip of the decimals."""
LONGEST_AUCTION = 30 * 86_400
FURTHEST_EXPIRY = 90 * 86_400
"""Seconds from now; the signature of an order should not live for ever."""
LONGEST_LOCK = 30 * 86_400
PERMIT_BYTES = 160


@dataclass(frozen=True, slots=True)
class BookRules:
    """What this deployment accepts."""

    factories: Mapping[str, Address]
    """Our escrow factory per chain."""
    minimum_deposits: Mapping[str, int]
    """Least safety deposit per chain, wei: a multiple of the gas of the public duties. Missing: 0."""


# --- price ------------------------------------------------------------------------------------------------------------


def rate_bump(curve: PriceCurve, at: int) -> int:
    """Premium over the end amount at a moment, in 1/10,000,000, rounded down inside a segment.

    Before the start the initial bump holds; from the end on it is 0. Straight lines between the points; a moment on a
    point belongs to the earlier segment. Source: 1inch auction formula without gas bump; equals PriceLib of the contracts.
    """
    finish = curve.start_time + curve.duration
    if at >= finish:
        return 0
    if at <= curve.start_time:
        return curve.initial_rate_bump
    since, bump = curve.start_time, curve.initial_rate_bump
    for point in curve.points:
        until = since + point.delay
        if at <= until:
            return ((at - since) * point.rate_bump + (until - at) * bump) // (until - since)
        since, bump = until, point.rate_bump
    return (finish - at) * bump // (finish - since)


def destination_amount(curve: PriceCurve, at: int) -> int:
    """Amount that a taker owes at a moment, smallest unit of the destination token, rounded up: the maker gains."""
    return ceil_div(curve.end_amount * (BUMP_ONE + rate_bump(curve, at)), BUMP_ONE)


# --- validation -------------------------------------------------------------------------------------------------------


def check_order(order: Order, rules: BookRules, chain_time: int) -> None:
    """Everything that can be said about an order at a moment of its source chain, apart from signature and state.

    Raises:
        Refuse: one class per fault, see the errors of this module.
    """
    _check_parties(order, rules)
    _check_amounts(order, rules)
    _check_price(order.price)
    _check_times(order, chain_time)
    if order.hashlock == bytes(32):
        raise HashlockInvalid
    if order.extension_hash != NO_EXTENSION:
        raise ExtensionUnsupported("expected extensionHash 0: one whole fill")


def check_permit(permit: bytes) -> None:
    """
    Raises:
        PermitInvalid: neither empty nor 160 bytes.
    """
    if permit and len(permit) != PERMIT_BYTES:
        raise PermitInvalid(f"expected no permit or 160 bytes (value, deadline, v, r, s), was {len(permit)} bytes")


def check_takeable(signed: SignedOrder, state: OrderState, taker: Address, chain_time: int) -> None:
    """Whether a taker could open the source escrow at this moment.

    Raises:
        OrderExpired, AuctionNotStarted, TakerNotAllowed.
    """
    order = signed.order
    if chain_time >= order.expiry:
        raise OrderExpired(f"the order expired at {order.expiry}; its chain is at {chain_time}")
    if state is OrderState.SCHEDULED and chain_time < order.price.start_time:
        raise AuctionNotStarted(f"the auction starts at {order.price.start_time}; its chain is at {chain_time}")
    if order.allowed_takers and taker not in order.allowed_takers:
        raise TakerNotAllowed


def check_windows(locks: TimeLocks, minimum: int) -> None:
    """Whether the factory's least window (seconds) is kept; it refuses the order at the fill otherwise.

    Raises:
        OrderTimesInvalid.
    """
    source = (
        0,
        locks.source_withdrawal,
        locks.source_public_withdrawal,
        locks.source_cancellation,
        locks.source_public_cancellation,
    )
    destination = (
        0,
        locks.destination_withdrawal,
        locks.destination_public_withdrawal,
        locks.destination_cancellation,
    )
    shortest = min(after - before for side in (source, destination) for before, after in pairwise(side))
    if shortest < minimum:
        raise OrderTimesInvalid(f"expected windows of at least {minimum} seconds each, the shortest was {shortest}")


def state_at(order: Order, chain_time: int) -> OrderState:
    """State of a fresh order that nobody has taken."""
    if chain_time >= order.expiry:
        return OrderState.EXPIRED
    return OrderState.SCHEDULED if chain_time < order.price.start_time else OrderState.OPEN


def validity_of(order: Order, *, balance: int, allowance: int, has_permit: bool, is_nonce_used: bool) -> Validity:
    """What the maker's chain says about an order. A permit may raise the allowance at the fill, so it counts as enough."""
    if is_nonce_used:
        return Validity.NONCE_USED
    if balance < order.source_amount:
        return Validity.BALANCE_LOW
    if allowance < order.source_amount and not has_permit:
        return Validity.ALLOWANCE_LOW
    return Validity.OK


def _check_parties(order: Order, rules: BookRules) -> None:
    if rules.factories.get(order.source_chain) != order.source_factory:
        raise FactoryUnknown(f"the factory on {order.source_chain} is not ours")
    other = order.destination
    ours = rules.factories.get(other.chain)
    if ours is None or other.factory != bytes.fromhex(ours[2:]):
        raise FactoryUnknown(f"the factory on {other.chain} is not ours")
    if ZERO_ADDRESS in (order.maker, order.source_token) or order.maker == order.source_factory:
        raise MakerInvalid
    for name, raw in (("token", other.token), ("receiver", other.receiver)):
        if len(raw) != 20 or raw == bytes(20):
            raise DestinationInvalid(f"expected a {name} of 20 bytes that is not zero")
    if other.receiver == other.factory:
        raise DestinationInvalid("the receiver must not be the factory")
    if order.source_chain == other.chain:
        raise DestinationInvalid("source and destination must be two chains")
    takers = order.allowed_takers
    if len(takers) > MOST_TAKERS or len(set(takers)) != len(takers) or ZERO_ADDRESS in takers:
        raise AllowedTakersInvalid(f"expected at most {MOST_TAKERS} different addresses, none of them zero")


def _check_amounts(order: Order, rules: BookRules) -> None:
    if order.source_amount == 0 or order.price.end_amount == 0:
        raise OrderAmountInvalid("both amounts must be positive")
    highest = order.price.end_amount * (BUMP_ONE + MOST_BUMP)
    if highest > MAX_UINT256 or order.source_amount > MAX_UINT256 // 2:
        raise OrderAmountInvalid("an amount is too large to be computed with on chain")
    for chain, deposit in (
        (order.source_chain, order.source_deposit),
        (order.destination.chain, order.destination_deposit),
    ):
        least = rules.minimum_deposits.get(chain, 0)
        if deposit < least:
            raise DepositTooLow(f"expected at least {least} wei on {chain}, was {deposit}")
        if deposit > 10**24:
            raise OrderAmountInvalid("a safety deposit of more than a million coins is a slip of the decimals")


def _check_price(curve: PriceCurve) -> None:
    if not 0 < curve.duration <= LONGEST_AUCTION:
        raise PriceCurveInvalid(f"expected a duration of 1 to {LONGEST_AUCTION} seconds, was {curve.duration}")
    if len(curve.points) > MOST_POINTS:
        raise PriceCurveInvalid(f"expected at most {MOST_POINTS} points, was {len(curve.points)}")
    if curve.initial_rate_bump > MOST_BUMP:
        raise PriceCurveInvalid(f"expected a rate bump of at most {MOST_BUMP}, was {curve.initial_rate_bump}")
    bump, elapsed = curve.initial_rate_bump, 0
    for point in curve.points:
        elapsed += point.delay
        if point.rate_bump > bump:
            raise PriceCurveInvalid("the price of a Dutch auction must not rise")
        bump = point.rate_bump
    if elapsed > curve.duration:
        raise PriceCurveInvalid("the points reach beyond the end of the auction")


def _check_times(order: Order, chain_time: int) -> None:
    start, expiry = order.price.start_time, order.expiry
    if expiry <= start:
        raise OrderTimesInvalid(f"expected an expiry after the start {start}, was {expiry}")
    if expiry <= chain_time:
        raise OrderExpired(f"the order expired at {expiry}; its chain is at {chain_time}")
    if expiry > chain_time + FURTHEST_EXPIRY:
        raise OrderTimesInvalid(f"expected an expiry within {FURTHEST_EXPIRY} seconds, was {expiry - chain_time}")
    locks = order.time_locks
    if max(locks.source_public_cancellation, locks.destination_cancellation) > LONGEST_LOCK:
        raise OrderTimesInvalid(f"expected time locks of at most {LONGEST_LOCK} seconds")
