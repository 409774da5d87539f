"""What one step of a swap may say, and the words with which it is said."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.settlement.rules.facts import EscrowFacts, Facts, Leg, LegFacts, LegStatus, SwapState
from lockstep.settlement.types import Side

MOST_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Send:
    """Submit the transaction of a leg; (swap, leg, attempt) is its idempotency key."""

    leg: Leg
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where the swap goes now, what it does, and what it then waits for."""

    state: SwapState
    reason: str
    sends: tuple[Send, ...] = ()
    releases_secret: bool = False
    """The secret that the maker left with us goes to the taker with this step."""
    waiting_for: str | None = None
    """None: go on at once. chain: blocks. time: a moment of a chain. another_party. operator: somebody must look."""
    wakes: tuple[tuple[Side, int], ...] = ()
    """Moments of the chains at which something can be done that cannot be done now."""
    deadline: tuple[Side, int] | None = None
    """The moment after which the goal of this state cannot be reached any more."""
    is_alert: bool = False
    """An operator has to know, whatever else happens."""


def go(state: SwapState, reason: str, *sends: Send, is_alert: bool = False) -> Decision:
    """On to another state, at once."""
    return Decision(state=state, reason=reason, sends=sends, is_alert=is_alert)


def wait(
    state: SwapState,
    waiting_for: str,
    reason: str,
    *,
    sends: tuple[Send, ...] = (),
    wakes: tuple[tuple[Side, int], ...] = (),
    deadline: tuple[Side, int] | None = None,
    is_alert: bool = False,
) -> Decision:
    """Stay in (or step into) a state until a fact changes."""
    return Decision(
        state=state,
        reason=reason,
        sends=sends,
        waiting_for=waiting_for,
        wakes=wakes,
        deadline=deadline,
        is_alert=is_alert,
    )


def go_or_wait(
    waits: SwapState, goes: SwapState, reason: str, deadline: tuple[Side, int] | None, send: Send
) -> Decision:
    """Send a leg: on to the state that waits for it, or stay when the swap is there already."""
    if waits is goes:
        return wait(goes, "chain", reason, sends=(send,), deadline=deadline)
    return go(goes, reason, send)


def on_its_way(
    state: SwapState, what: str, duty: LegFacts, is_overdue: bool, deadline: tuple[Side, int] | None = None
) -> Decision:
    """Wait for a duty of the coordinator. One that is overdue needs an operator: its wallet may be empty."""
    is_stuck = is_overdue and duty.status is LegStatus.PENDING
    reason = f"{what} is on its way" + (f" for too long: {duty.reason or 'it is not mined'}" if is_stuck else "")
    return wait(state, "chain", reason, deadline=deadline, is_alert=is_stuck)


def source_of(facts: Facts) -> EscrowFacts:
    """The source escrow, which must exist."""
    if facts.source is None:
        raise ValueError("there is no source escrow")
    return facts.source
