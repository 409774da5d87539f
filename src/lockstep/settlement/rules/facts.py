"""What a decision about a swap rests on: states, legs, and the facts read from both chains at one block each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lockstep.settlement.types import (
    ChainPairProfile,
    DestinationStages,
    SourceStages,
    TakerMode,
    TimeLocks,
)


class SwapState(StrEnum):
    """Where a swap stands. The name says what it has, or what it waits for when it ends in -ing."""

    MATCHED = "matched"
    SOURCE_LOCKING = "source_locking"
    SOURCE_LOCKED = "source_locked"
    DESTINATION_LOCKING = "destination_locking"
    DESTINATION_LOCKED = "destination_locked"
    BOTH_FINAL = "both_final"
    SECRET_RELEASED = "secret_released"  # noqa: S105 - the name of a state
    DESTINATION_WITHDRAWING = "destination_withdrawing"
    DESTINATION_WITHDRAWN = "destination_withdrawn"
    SOURCE_WITHDRAWING = "source_withdrawing"
    DESTINATION_CANCELLING = "destination_cancelling"
    SOURCE_CANCELLING = "source_cancelling"
    SETTLED = "settled"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    LOST = "lost"


TERMINAL_STATES = frozenset({SwapState.SETTLED, SwapState.REFUNDED, SwapState.CANCELLED, SwapState.LOST})
"""settled: both sides paid. refunded: both sides have theirs back. cancelled: nothing was ever locked. lost: one side
was paid and the other cannot be any more; an operator has been alerted."""
OPEN_STATES = tuple(state for state in SwapState if state not in TERMINAL_STATES)


class Outcome(StrEnum):
    """What became of an escrow."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"


class Leg(StrEnum):
    """A transaction of a swap. The public ones are duties that the coordinator performs from its own wallet."""

    SOURCE_LOCK = "source_lock"
    DESTINATION_LOCK = "destination_lock"
    DESTINATION_WITHDRAW = "destination_withdraw"
    DESTINATION_PUBLIC_WITHDRAW = "destination_public_withdraw"
    SOURCE_WITHDRAW = "source_withdraw"
    SOURCE_PUBLIC_WITHDRAW = "source_public_withdraw"
    DESTINATION_CANCEL = "destination_cancel"
    SOURCE_CANCEL = "source_cancel"
    SOURCE_PUBLIC_CANCEL = "source_public_cancel"


PUBLIC_LEGS = frozenset({Leg.DESTINATION_PUBLIC_WITHDRAW, Leg.SOURCE_PUBLIC_WITHDRAW, Leg.SOURCE_PUBLIC_CANCEL})


class LegStatus(StrEnum):
    """How far the newest transaction of a leg is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """The newest attempt of a leg."""

    attempt: int
    """Counts from 0."""
    status: LegStatus
    reason: str | None = None
    is_refused: bool = False
    """The policy said no; asking again is pointless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowFacts:
    """An escrow on the canonical chain; an escrow whose block is gone is no fact."""

    deployed_at: int
    mismatch: str | None = None
    """Why it is not what the terms ask for; None: every field fits. A destination that does not fit is no fact at all."""
    is_final: bool = False
    outcome: Outcome = Outcome.OPEN
    is_outcome_final: bool = False

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.OPEN

    @property
    def is_withdrawn(self) -> bool:
        return self.outcome is Outcome.WITHDRAWN

    @property
    def is_cancelled(self) -> bool:
        return self.outcome is Outcome.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything `decide` may look at; both chains' times are those of the newest block that their node shows."""

    mode: TakerMode
    time_locks: TimeLocks
    profile: ChainPairProfile
    source_time: int
    destination_time: int
    host_time: int
    """The host's clock: a node that has stopped cannot say how late it is."""
    reserved_until: int
    """Source time until which an external taker may open the source escrow."""
    expires_at: int
    """Source time from which the order creates no escrow."""
    source: EscrowFacts | None = None
    destination: EscrowFacts | None = None
    is_taken_by_other: bool = False
    """Another taker holds the source escrow of this fill."""
    has_secret: bool = False
    """Released to us, or seen on a chain."""
    is_secret_held: bool = False
    """The maker left its secret with us, to be released for it."""
    may_sponsor: bool = True
    """The sponsorship cap leaves room for a public duty."""
    legs: Mapping[Leg, LegFacts] = field(default_factory=dict)

    @property
    def is_managed(self) -> bool:
        return self.mode == "managed"

    def source_stages(self) -> SourceStages:
        """Stages of the source escrow, which must exist."""
        if self.source is None:
            raise ValueError("there is no source escrow")
        return self.time_locks.source(self.source.deployed_at)

    def destination_stages(self) -> DestinationStages:
        """Stages of the destination escrow, which must exist."""
        if self.destination is None:
            raise ValueError("there is no destination escrow")
        return self.time_locks.destination(self.destination.deployed_at)
