"""A Dutch-auction order: what the maker signs, and how it stands in the book.

Amounts are integers of the smallest unit, moments whole seconds of the source chain. The source chain of an order is an
EVM chain today; the destination is chain-neutral: a CAIP-2 id and raw bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lockstep.chains.evm import Address
from lockstep.kit.ids import AppId, UserId, WalletId
from lockstep.settlement import TimeLocks

SignatureKind = Literal["eip712", "eip1271"]
BUMP_ONE = 10_000_000
"""A rate bump of 100 %."""
NO_EXTENSION = bytes(32)


class OrderState(StrEnum):
    """How far an order is; its validity and the settlement of its fills are separate fields."""

    RECEIVED = "received"
    VALIDATED = "validated"
    SCHEDULED = "scheduled"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


LIVE_STATES = (OrderState.SCHEDULED, OrderState.OPEN)
"""States in which an order can still be taken or will be."""


class Validity(StrEnum):
    """Whether an order could be taken now, apart from its time; may go back to ok."""

    OK = "ok"
    BALANCE_LOW = "balance_low"
    ALLOWANCE_LOW = "allowance_low"
    NONCE_USED = "nonce_used"
    SIGNATURE_BAD = "signature_bad"
    PREDICATE_FALSE = "predicate_false"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """A bend of the price curve."""

    rate_bump: int
    """Premium over the end amount, in 1/10,000,000."""
    delay: int
    """Seconds after the previous point, the first one after the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCurve:
    """The destination amount that is asked for, as a function of the source chain's time."""

    start_time: int
    duration: int
    end_amount: int
    initial_rate_bump: int
    points: tuple[PricePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where and in what the maker is paid; raw bytes of that chain."""

    chain: str
    factory: bytes
    token: bytes
    receiver: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a maker signs, with the domain (source chain and factory) that it is signed for."""

    source_chain: str
    source_factory: Address
    maker: Address
    source_token: Address
    source_amount: int
    destination: Destination
    price: PriceCurve
    source_deposit: int
    destination_deposit: int
    time_locks: TimeLocks
    hashlock: bytes
    allowed_takers: tuple[Address, ...]
    nonce: int
    expiry: int
    extension_hash: bytes = NO_EXTENSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """An order with what it takes to use it on its chain."""

    order: Order
    hash: bytes
    """EIP-712 digest."""
    signature: bytes = field(repr=False)
    signature_kind: SignatureKind
    permit: bytes = field(default=b"", repr=False)
    """Empty, or an EIP-2612 permit for the factory as the contract takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One attempt to take an order; `swap_id` names the swap that settles it."""

    fill_index: int
    swap_id: str
    taker: bytes
    mode: Literal["managed", "external"]
    settlement_state: str
    source_amount: int
    destination_amount: int
    is_consumed: bool
    """The source escrow exists: the amount is taken for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The app (and user, and wallet) behind a maker."""

    app_id: AppId
    user_id: UserId | None
    wallet_id: WalletId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOrder:
    """An order as it stands in the book."""

    id: str
    signed: SignedOrder
    document: Mapping[str, object]
    """The signed members as they were sent, for readers."""
    state: OrderState
    validity: Validity
    fills: tuple[Fill, ...]
    cancel_requested_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def remaining(self) -> int:
        """Source amount that nobody has taken, derived from the fills."""
        taken = sum(fill.source_amount for fill in self.fills if fill.is_consumed)
        return max(self.signed.order.source_amount - taken, 0)
