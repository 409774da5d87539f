"""From the match to the released secret: both escrows are locked, fit, and become final."""

from __future__ import annotations

from lockstep.settlement.rules.facts import Facts, Leg, LegStatus, SwapState
from lockstep.settlement.rules.steps import Decision, Send, go, source_of, wait
from lockstep.settlement.rules.timing import last_destination_lock, last_secret_release, secret_release
from lockstep.settlement.types import Side


def matched(facts: Facts) -> Decision:
    """A taker has the fill; nothing is on a chain."""
    if facts.source is not None:
        return go(SwapState.SOURCE_LOCKING, "the source escrow is on its chain")
    if facts.is_taken_by_other:
        return go(SwapState.CANCELLED, "another taker opened the source escrow first")
    if facts.source_time >= facts.expires_at:
        return go(SwapState.CANCELLED, "the order has expired")
    if facts.is_managed:
        return go(SwapState.SOURCE_LOCKING, "the taker locks the source", Send(Leg.SOURCE_LOCK))
    if facts.source_time >= facts.reserved_until:
        return go(SwapState.CANCELLED, "the taker did not open the source escrow in the time reserved for it")
    return wait(
        SwapState.MATCHED,
        "another_party",
        "the taker has to open the source escrow",
        wakes=((Side.SOURCE, facts.reserved_until),),
        deadline=(Side.SOURCE, facts.reserved_until),
    )


def source_locking(facts: Facts) -> Decision:
    """The source escrow is to appear."""
    if facts.source is not None:
        if facts.source.mismatch is not None:
            return go(
                SwapState.SOURCE_CANCELLING,
                f"the source escrow does not fit the order: {facts.source.mismatch}",
                is_alert=True,
            )
        return go(SwapState.SOURCE_LOCKED, "the source escrow fits the order")
    leg = facts.legs.get(Leg.SOURCE_LOCK)
    if leg is not None and leg.status is LegStatus.PENDING:
        return wait(SwapState.SOURCE_LOCKING, "chain", "the transaction that locks the source is on its way")
    if leg is not None and leg.status is LegStatus.FAILED:
        return go(SwapState.CANCELLED, f"the source was not locked: {leg.reason or 'the transaction failed'}")
    if facts.is_taken_by_other:
        return go(SwapState.CANCELLED, "another taker opened the source escrow first")
    last = facts.expires_at + facts.profile.source_finality
    if facts.source_time >= last and leg is None:
        return go(SwapState.CANCELLED, "the order has expired without a source escrow")
    return wait(
        SwapState.SOURCE_LOCKING, "chain", "the source escrow is awaited on its chain", wakes=((Side.SOURCE, last),)
    )


def source_locked(facts: Facts) -> Decision:
    """The source escrow is there and is to become final."""
    if (other := _off_the_way(facts)) is not None:
        return other
    if not source_of(facts).is_final:
        return wait(SwapState.SOURCE_LOCKED, "chain", "the source escrow is not final yet")
    if facts.destination is not None:
        return go(SwapState.DESTINATION_LOCKING, "the source escrow is final")
    last = last_destination_lock(facts)
    if facts.destination_time > last:
        return go(SwapState.SOURCE_CANCELLING, "too little time is left to lock the destination")
    if facts.is_managed:
        # It is sent already when a node that lags made the source look unfinished for a moment.
        sends = () if Leg.DESTINATION_LOCK in facts.legs else (Send(Leg.DESTINATION_LOCK),)
        return go(SwapState.DESTINATION_LOCKING, "the source escrow is final", *sends)
    return go(SwapState.DESTINATION_LOCKING, "the source escrow is final; the taker has to lock the destination")


def destination_locking(facts: Facts) -> Decision:
    """The destination escrow is to appear."""
    if (other := _off_the_way(facts)) is not None:
        return other
    if not source_of(facts).is_final:
        return go(SwapState.SOURCE_LOCKED, "the source escrow is not final any more")
    if facts.destination is not None:
        return go(SwapState.DESTINATION_LOCKED, "the destination escrow fits the terms")
    leg = facts.legs.get(Leg.DESTINATION_LOCK)
    if leg is not None and leg.status is LegStatus.FAILED:
        return go(
            SwapState.SOURCE_CANCELLING, f"the destination was not locked: {leg.reason or 'the transaction failed'}"
        )
    last = last_destination_lock(facts)
    if facts.destination_time > last:
        return go(SwapState.SOURCE_CANCELLING, "the destination was not locked in time")
    return wait(
        SwapState.DESTINATION_LOCKING,
        "chain" if facts.is_managed else "another_party",
        "the destination escrow is awaited on its chain",
        wakes=((Side.DESTINATION, last + 1),),
        deadline=(Side.DESTINATION, last),
    )


def destination_locked(facts: Facts) -> Decision:
    """The destination escrow is there and is to become final."""
    if (other := _off_the_way(facts)) is not None:
        return other
    if facts.destination is None:
        return go(SwapState.DESTINATION_LOCKING, "the destination escrow left its chain")
    if not source_of(facts).is_final:
        return go(SwapState.SOURCE_LOCKED, "the source escrow is not final any more")
    if facts.destination.is_final:
        return go(SwapState.BOTH_FINAL, "both escrows are final")
    last = last_secret_release(facts)
    if facts.destination_time >= last:
        return go(SwapState.DESTINATION_CANCELLING, "the destination became final too late")
    return wait(
        SwapState.DESTINATION_LOCKED,
        "chain",
        "the destination escrow is not final yet",
        wakes=((Side.DESTINATION, last),),
        deadline=(Side.DESTINATION, last),
    )


def both_final(facts: Facts) -> Decision:
    """The secret is to be released: by the maker's client, or by us where it left its secret here."""
    if (other := _off_the_way(facts)) is not None:
        return other
    if facts.destination is None:
        return go(SwapState.DESTINATION_LOCKING, "the destination escrow left its chain", is_alert=True)
    if not facts.destination.is_final or not source_of(facts).is_final:
        return go(SwapState.DESTINATION_LOCKED, "an escrow is not final any more", is_alert=True)
    if facts.has_secret:
        return go(SwapState.SECRET_RELEASED, "the maker released the secret")
    last = last_secret_release(facts)
    if facts.destination_time >= last:
        return go(SwapState.DESTINATION_CANCELLING, "no secret was released in time")
    refusal = secret_release(facts)
    if refusal is None and facts.is_secret_held:
        return Decision(
            state=SwapState.SECRET_RELEASED,
            reason="the secret that the maker left here is released",
            releases_secret=True,
        )
    return wait(
        SwapState.BOTH_FINAL,
        "chain" if facts.is_secret_held else "another_party",
        f"the secret may not be released: {refusal}" if refusal else "the maker's client has to release the secret",
        wakes=((Side.DESTINATION, last),),
        deadline=(Side.DESTINATION, last),
    )


def _off_the_way(facts: Facts) -> Decision | None:
    """What leads away from the states before the secret: a lost source escrow, or one that is over already."""
    source, destination = facts.source, facts.destination
    if source is None:
        return go(SwapState.SOURCE_LOCKING, "the source escrow left its chain")
    if source.mismatch is not None:
        return go(
            SwapState.SOURCE_CANCELLING, f"the source escrow does not fit the order: {source.mismatch}", is_alert=True
        )
    if source.is_withdrawn or (destination is not None and destination.is_withdrawn):
        if destination is None:
            return go(
                SwapState.SOURCE_CANCELLING, "the source was withdrawn before the destination was locked", is_alert=True
            )
        return go(SwapState.SECRET_RELEASED, "the secret is public on a chain", is_alert=True)
    if source.is_cancelled:
        return go(SwapState.SOURCE_CANCELLING, "the source was cancelled")
    if destination is not None and destination.is_cancelled:
        return go(SwapState.SOURCE_CANCELLING, "the destination was cancelled")
    return None
