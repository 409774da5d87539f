"""Transactions, orders, fills and swaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.client.decoding import Model
from lockstep.client.orders import SwapOrder

FINAL_TRANSACTION_STATES = frozenset(
    {"final", "reverted_final", "cancelled", "expired", "dropped", "replaced_externally"}
)
"""A transaction in one of these does not change any more; only `final` means that it did what it should."""
FINAL_SWAP_STATES = frozenset({"settled", "refunded", "cancelled", "lost"})
"""A swap in one of these does not change any more; only `settled` means that both sides were paid."""


@dataclass(frozen=True, kw_only=True)
class Transaction(Model):
    """A transaction as it stands. Amounts in wei."""

    id: str
    wallet_id: str
    chain: str
    sender: str = field(metadata={"name": "from"})
    to: str | None
    value: int
    selector: str | None
    type: int
    speed: str
    is_private: bool
    state: str
    version: int
    reason: str | None
    nonce: int | None
    hash: str | None
    gas_limit: int | None
    max_fee_per_gas: int | None
    max_priority_fee_per_gas: int | None
    block_number: int | None
    block_hash: str | None
    succeeded: bool | None
    gas_used: int | None
    effective_gas_price: int | None
    data_fee: int
    fee_paid: int | None
    contract_address: str | None
    revert_reason: str | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    correlation_id: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether it does not change any more."""
        return self.state in FINAL_TRANSACTION_STATES


@dataclass(frozen=True, kw_only=True)
class TransactionStep(Model):
    """One entry of a transaction's timeline."""

    version: int
    from_state: str | None
    to_state: str
    reason: str | None
    facts: Mapping[str, Any]
    time: datetime


@dataclass(frozen=True, kw_only=True)
class TransactionDetail(Transaction):
    """A transaction with its calldata, every hash that it was signed under, and its timeline."""

    data: bytes
    hashes: tuple[str, ...]
    timeline: tuple[TransactionStep, ...]


@dataclass(frozen=True, kw_only=True)
class Fill(Model):
    """An attempt to take an order."""

    fill_index: int
    swap_id: str
    taker: str
    mode: str
    settlement_state: str
    source_amount: int
    destination_amount: int


@dataclass(frozen=True, kw_only=True)
class BookOrder(Model):
    """An order in the book."""

    hash: str
    maker: str
    source_chain: str
    source_factory: str
    source_token: str
    destination_chain: str
    destination_token: str
    order: SwapOrder
    signature: bytes
    signature_kind: str
    permit: bytes
    state: str
    validity: str
    remaining: int
    fills: tuple[Fill, ...]
    cancel_requested_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class BlockPoint(Model):
    """The block that something was computed at."""

    chain: str
    block_number: int
    block_hash: str
    timestamp: int


@dataclass(frozen=True, kw_only=True)
class Price(Model):
    """What a taker owes the maker at a moment of the source chain."""

    order_hash: str
    at: int
    rate_bump: int
    destination_amount: int
    as_of: BlockPoint


@dataclass(frozen=True, kw_only=True)
class ReleasedSecret:
    """The released secret of a fill."""

    order_hash: str
    fill_index: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HeldSecret(Model):
    """That the deployment holds the secret of a fill, and since when."""

    order_hash: str
    fill_index: int
    held_at: datetime


@dataclass(frozen=True, kw_only=True)
class SwapSide(Model):
    """One side of a swap."""

    chain: str
    factory: str
    token: str
    amount: int
    escrow: str | None


@dataclass(frozen=True, kw_only=True)
class Swap(Model):
    """One attempt to fill one order, from the match to the end."""

    id: str
    order_hash: str
    fill_index: int
    state: str
    version: int
    reason: str
    waiting_for: str | None
    mode: str
    hashlock: str
    maker: str
    receiver: str
    taker: str
    source: SwapSide
    destination: SwapSide
    is_secret_released: bool
    created_at: datetime
    updated_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether it does not change any more."""
        return self.state in FINAL_SWAP_STATES


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Model):
    """Something that happened to a swap."""

    at: datetime
    what: str
    name: str
    detail: str | None
    facts: Mapping[str, Any]
