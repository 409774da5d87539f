"""Wire shapes of swaps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lockstep.kit.money import Amount

State = Literal[
    "matched",
    "source_locking",
    "source_locked",
    "destination_locking",
    "destination_locked",
    "both_final",
    "secret_released",
    "destination_withdrawing",
    "destination_withdrawn",
    "source_withdrawing",
    "destination_cancelling",
    "source_cancelling",
    "settled",
    "refunded",
    "cancelled",
    "lost",
]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SideOut(_Wire):
    """One side of a swap."""

    chain: str
    factory: str
    token: str
    amount: Amount
    escrow: str | None


class SwapOut(_Wire):
    """A swap: one attempt to fill one order, from the match to the end."""

    id: str
    order_hash: str
    fill_index: int
    state: State
    version: int
    reason: str
    waiting_for: str | None
    mode: Literal["managed", "external"]
    hashlock: str
    maker: str
    receiver: str
    taker: str
    source: SideOut
    destination: SideOut
    is_secret_released: bool
    created_at: str
    updated_at: str


class SwapPage(_Wire):
    """A page of swaps, the newest first."""

    items: list[SwapOut]
    next_cursor: str | None


class TimelineEntry(_Wire):
    """Something that happened to a swap."""

    at: str
    what: Literal["step", "leg", "transaction", "escrow"]
    name: str
    detail: str | None
    facts: dict[str, Any]


class Timeline(_Wire):
    """Everything that happened to a swap, oldest first."""

    items: list[TimelineEntry]
