"""The machine of a swap: one step from a state and the facts to the next state, with the effects of the step.

    matched ─► source_locking ─► source_locked ─► destination_locking ─► destination_locked ─► both_final
                    │                  │                   │                      │                │
                    ▼                  └───────┬───────────┘                      └──────┬─────────┤ secret
                cancelled                      ▼                                         ▼         ▼
                                        source_cancelling ◄──────────── destination_cancelling   secret_released
                                               ▼                                                   ▼
                                           refunded            settled ◄─ source_withdrawing ◄─ destination_withdrawn
                                                                                                   ▲
                                                                                        destination_withdrawing

A step never goes further than one arrow, so that each can be killed and repeated. When an escrow disappears in a
reorganisation the state goes back to the one that waits for it. When a secret is public (released, or seen on either
chain) the only way is forward until the destination's cancellation opens: the maker must be paid.
Source: swap rules 4 to 10, and the failure matrix of escrow pairs.
"""

from __future__ import annotations

from collections.abc import Callable

from lockstep.settlement.rules import cancelling, locking, withdrawing
from lockstep.settlement.rules.facts import Facts, SwapState
from lockstep.settlement.rules.steps import Decision, go


def decide(state: SwapState, facts: Facts) -> Decision:
    """The next step of an open swap. Pure and repeatable: the same facts give the same decision."""
    decision = _find_loss(facts) or _STEPS[state](facts)
    if decision.state is state and decision.waiting_for is None:
        raise AssertionError(f"the state {state} would go on with itself")
    return decision


def _find_loss(facts: Facts) -> Decision | None:
    """One side was paid and the other cannot be any more, finally on both chains."""
    source, destination, profile = facts.source, facts.destination, facts.profile
    if source is None:
        return None
    is_paid = destination is not None and destination.is_withdrawn and destination.is_outcome_final
    if is_paid and source.is_cancelled and source.is_outcome_final:
        return _lost("the maker was paid on the destination and refunded on the source")
    if is_paid and source.is_open and facts.source_time >= facts.source_stages().cancellation + profile.source_finality:
        return _lost("the maker was paid on the destination; the taker did not withdraw the source in time")
    if not (source.is_withdrawn and source.is_outcome_final):
        return None
    if destination is None:
        if facts.source_time >= facts.source_stages().public_cancellation:
            return _lost("the taker was paid on the source and never locked the destination")
        return None
    if destination.is_cancelled and destination.is_outcome_final:
        return _lost("the taker was paid on the source and took the destination back")
    closes = facts.destination_stages().cancellation + profile.destination_finality
    if destination.is_open and facts.destination_time >= closes:
        return _lost("the taker was paid on the source; the maker was not paid on the destination in time")
    return None


def _lost(reason: str) -> Decision:
    return go(SwapState.LOST, reason, is_alert=True)


_STEPS: dict[SwapState, Callable[[Facts], Decision]] = {
    SwapState.MATCHED: locking.matched,
    SwapState.SOURCE_LOCKING: locking.source_locking,
    SwapState.SOURCE_LOCKED: locking.source_locked,
    SwapState.DESTINATION_LOCKING: locking.destination_locking,
    SwapState.DESTINATION_LOCKED: locking.destination_locked,
    SwapState.BOTH_FINAL: locking.both_final,
    SwapState.SECRET_RELEASED: withdrawing.secret_released,
    SwapState.DESTINATION_WITHDRAWING: withdrawing.destination_withdrawing,
    SwapState.DESTINATION_WITHDRAWN: withdrawing.destination_withdrawn,
    SwapState.SOURCE_WITHDRAWING: withdrawing.source_withdrawing,
    SwapState.DESTINATION_CANCELLING: cancelling.destination_cancelling,
    SwapState.SOURCE_CANCELLING: cancelling.source_cancelling,
}
