"""The way back: every token returns to who locked it, unless somebody was paid already."""

from __future__ import annotations

from dataclasses import replace

from lockstep.settlement.rules.facts import Facts, Leg, LegStatus, SwapState
from lockstep.settlement.rules.steps import MOST_ATTEMPTS, Decision, Send, go, on_its_way, wait
from lockstep.settlement.types import Side


def destination_cancelling(facts: Facts) -> Decision:
    """Take the destination back for a taker that we act for, from its cancellation on."""
    if (forward := _secret_is_public(facts)) is not None:
        return forward
    destination = facts.destination
    if destination is None or not destination.is_open:
        return go(SwapState.SOURCE_CANCELLING, "nothing is locked on the destination any more")
    if not facts.is_managed:
        return go(SwapState.SOURCE_CANCELLING, "only the taker can cancel its destination escrow")
    if facts.source is not None and facts.source_time >= facts.source_stages().cancellation:
        return go(SwapState.SOURCE_CANCELLING, "the cancellation of the source has opened")
    cancel = _cancel_destination(facts, SwapState.DESTINATION_CANCELLING)
    if facts.source is None:
        return cancel
    opens = (Side.SOURCE, facts.source_stages().cancellation)
    return replace(cancel, wakes=(*cancel.wakes, opens))


def source_cancelling(facts: Facts) -> Decision:
    """Refund the maker, and whatever the taker still has on the destination."""
    if (forward := _secret_is_public(facts)) is not None:
        return forward
    source, destination = facts.source, facts.destination
    if source is None:
        return go(SwapState.SOURCE_LOCKING, "the source escrow left its chain")
    destination_sends: tuple[Send, ...] = ()
    wakes: tuple[tuple[Side, int], ...] = ()
    needs_destination = facts.is_managed and destination is not None and destination.is_open
    stuck: Decision | None = None
    if needs_destination:
        cancel = _cancel_destination(facts, SwapState.SOURCE_CANCELLING)
        destination_sends, wakes = cancel.sends, cancel.wakes
        stuck = cancel if cancel.waiting_for == "operator" else None
    if source.is_cancelled:
        if not source.is_outcome_final:
            return wait(
                SwapState.SOURCE_CANCELLING,
                "chain",
                "the cancellation of the source is not final yet",
                sends=destination_sends,
                wakes=wakes,
            )
        if needs_destination:
            return stuck or wait(
                SwapState.SOURCE_CANCELLING,
                "chain",
                "the source is refunded; the destination escrow is still to be cancelled",
                sends=destination_sends,
                wakes=wakes,
            )
        lock = facts.legs.get(Leg.DESTINATION_LOCK)
        if destination is None and lock is not None and lock.status is not LegStatus.FAILED:
            return wait(
                SwapState.SOURCE_CANCELLING,
                "chain",
                "the source is refunded; the transaction that locks the destination may still land",
            )
        if facts.is_managed and destination is not None and not destination.is_outcome_final:
            return wait(SwapState.SOURCE_CANCELLING, "chain", "the cancellation of the destination is not final yet")
        if destination is not None and destination.is_open:
            return go(SwapState.REFUNDED, "the maker is refunded; the destination escrow waits for its taker")
        return go(SwapState.REFUNDED, "every token is back with its owner")
    sent = _cancel_source(facts)
    return replace(
        sent,
        sends=(*destination_sends, *sent.sends),
        wakes=(*wakes, *sent.wakes),
        is_alert=sent.is_alert or stuck is not None,
    )


def _cancel_destination(facts: Facts, state: SwapState) -> Decision:
    """The taker's own cancellation of the destination; there is no public one."""
    opens = facts.destination_stages().cancellation
    leg = facts.legs.get(Leg.DESTINATION_CANCEL)
    if leg is not None and leg.status is not LegStatus.FAILED:
        return wait(state, "chain", "the cancellation of the destination is on its way")
    if facts.destination_time < opens:
        return wait(
            state,
            "time",
            "the cancellation window of the destination has not opened",
            wakes=((Side.DESTINATION, opens),),
        )
    attempt = 0 if leg is None else leg.attempt + 1
    if (leg is not None and leg.is_refused) or attempt >= MOST_ATTEMPTS:
        reason = leg.reason if leg is not None else None
        return wait(
            state,
            "operator",
            f"the destination escrow cannot be cancelled for its taker: {reason or 'it failed too often'}",
            is_alert=True,
        )
    return wait(state, "chain", "the taker cancels the destination", sends=(Send(Leg.DESTINATION_CANCEL, attempt),))


def _cancel_source(facts: Facts) -> Decision:
    """Refund the maker: the taker's cancellation when we act for it, anyone's from the public stage on."""
    state, stages, now = SwapState.SOURCE_CANCELLING, facts.source_stages(), facts.source_time
    patience = stages.public_cancellation + 2 * facts.profile.source_inclusion
    own = facts.legs.get(Leg.SOURCE_CANCEL)
    if facts.is_managed and (own is None or own.status is not LegStatus.FAILED):
        if own is None:
            if now < stages.cancellation:
                return wait(
                    state,
                    "time",
                    "the cancellation window of the source has not opened",
                    wakes=((Side.SOURCE, stages.cancellation),),
                )
            return wait(state, "chain", "the taker cancels the source", sends=(Send(Leg.SOURCE_CANCEL),))
        if now < patience:
            return wait(
                state, "chain", "the cancellation of the source is on its way", wakes=((Side.SOURCE, patience),)
            )
    duty = facts.legs.get(Leg.SOURCE_PUBLIC_CANCEL)
    if duty is not None and duty.status is not LegStatus.FAILED:
        return on_its_way(state, "the public cancellation of the source", duty, now >= patience)
    if now < stages.public_cancellation:
        return wait(
            state,
            "time" if facts.is_managed else "another_party",
            "the public cancellation window of the source has not opened; the taker may cancel",
            wakes=((Side.SOURCE, stages.public_cancellation),),
        )
    attempt = 0 if duty is None else duty.attempt + 1
    if duty is not None and duty.is_refused:
        return wait(
            state,
            "operator",
            f"the public cancellation of the source was refused: {duty.reason}",
            sends=(Send(Leg.SOURCE_PUBLIC_CANCEL, attempt),),
            is_alert=True,
        )
    if attempt >= MOST_ATTEMPTS or not facts.may_sponsor:
        why = "the cap for public duties is reached" if not facts.may_sponsor else "it failed too often"
        return wait(state, "operator", f"the public cancellation of the source cannot be sent: {why}", is_alert=True)
    return wait(
        state,
        "chain",
        "the coordinator cancels the source for the maker",
        sends=(Send(Leg.SOURCE_PUBLIC_CANCEL, attempt),),
    )


def _secret_is_public(facts: Facts) -> Decision | None:
    """From a way back to the way forward: somebody was paid, so the other side must be."""
    source, destination = facts.source, facts.destination
    if destination is not None and destination.is_withdrawn:
        if source is not None and source.is_cancelled:
            return wait(
                SwapState.SOURCE_CANCELLING,
                "chain",
                "the maker was paid and refunded; waiting until both are final",
                is_alert=True,
            )
        return go(SwapState.DESTINATION_WITHDRAWN, "the destination was withdrawn after all")
    if source is None or not source.is_withdrawn:
        return None
    if destination is None or not destination.is_open:
        return wait(
            SwapState.SOURCE_CANCELLING,
            "operator",
            "the taker was paid on the source and the maker cannot be paid",
            wakes=((Side.SOURCE, facts.source_stages().public_cancellation),),
            is_alert=True,
        )
    if facts.destination_time < facts.destination_stages().cancellation:
        return go(SwapState.SECRET_RELEASED, "the source was withdrawn, so the secret is public", is_alert=True)
    return wait(
        SwapState.SOURCE_CANCELLING,
        "operator",
        "the taker was paid on the source and the destination's withdrawal window has closed",
        is_alert=True,
    )
