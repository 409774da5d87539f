"""From the released secret to the end: the maker is paid on the destination, the taker on the source."""

from __future__ import annotations

from lockstep.settlement.rules.facts import Facts, Leg, LegStatus, SwapState
from lockstep.settlement.rules.steps import MOST_ATTEMPTS, Decision, Send, go, go_or_wait, on_its_way, wait
from lockstep.settlement.rules.timing import duty_margin, last_destination_withdrawal
from lockstep.settlement.types import DestinationStages, Side, SourceStages


def secret_released(facts: Facts) -> Decision:
    """The secret is out; the maker is not paid yet and nobody is known to be paying."""
    if (other := _destination_gone(facts)) is not None:
        return other
    if facts.destination is not None and facts.destination.is_withdrawn:
        return go(SwapState.DESTINATION_WITHDRAWING, "the destination was withdrawn")
    if facts.destination_time >= facts.destination_stages().cancellation:
        return go(
            SwapState.DESTINATION_CANCELLING,
            "the destination was not withdrawn before its cancellation although the secret is out",
            is_alert=True,
        )
    return _withdraw(
        facts,
        waits=SwapState.SECRET_RELEASED,
        goes=SwapState.DESTINATION_WITHDRAWING,
        side=Side.DESTINATION,
    )


def destination_withdrawing(facts: Facts) -> Decision:
    """Somebody pays the maker."""
    if (other := _destination_gone(facts)) is not None:
        return other
    if facts.destination is not None and facts.destination.is_withdrawn:
        return go(SwapState.DESTINATION_WITHDRAWN, "the maker is paid on the destination")
    if facts.destination_time >= facts.destination_stages().cancellation:
        return go(
            SwapState.DESTINATION_CANCELLING,
            "the withdrawal did not reach the destination before its cancellation although the secret is out",
            is_alert=True,
        )
    return _withdraw(
        facts,
        waits=SwapState.DESTINATION_WITHDRAWING,
        goes=SwapState.DESTINATION_WITHDRAWING,
        side=Side.DESTINATION,
    )


def destination_withdrawn(facts: Facts) -> Decision:
    """The maker is paid; the taker is not yet."""
    if facts.destination is None or not facts.destination.is_withdrawn:
        return go(SwapState.DESTINATION_WITHDRAWING, "the withdrawal left the destination chain")
    if facts.source is None:
        return wait(SwapState.DESTINATION_WITHDRAWN, "operator", "the source escrow left its chain", is_alert=True)
    if facts.source.is_withdrawn:
        return go(SwapState.SOURCE_WITHDRAWING, "the source was withdrawn")
    return _withdraw(facts, waits=SwapState.DESTINATION_WITHDRAWN, goes=SwapState.SOURCE_WITHDRAWING, side=Side.SOURCE)


def source_withdrawing(facts: Facts) -> Decision:
    """Somebody pays the taker, then both withdrawals become final."""
    if facts.destination is None or not facts.destination.is_withdrawn:
        return go(SwapState.DESTINATION_WITHDRAWING, "the withdrawal left the destination chain")
    if facts.source is None:
        return wait(SwapState.SOURCE_WITHDRAWING, "operator", "the source escrow left its chain", is_alert=True)
    if facts.source.is_withdrawn:
        if facts.source.is_outcome_final and facts.destination.is_outcome_final:
            return go(SwapState.SETTLED, "both withdrawals are final")
        return wait(SwapState.SOURCE_WITHDRAWING, "chain", "both withdrawals are done but not final yet")
    return _withdraw(facts, waits=SwapState.SOURCE_WITHDRAWING, goes=SwapState.SOURCE_WITHDRAWING, side=Side.SOURCE)


def _withdraw(facts: Facts, *, waits: SwapState, goes: SwapState, side: Side) -> Decision:
    """Withdraw an open escrow: the taker first when we act for it, anyone's duty from the public stage on."""
    stages: SourceStages | DestinationStages
    if side is Side.DESTINATION:
        now, stages, last = facts.destination_time, facts.destination_stages(), last_destination_withdrawal(facts)
        own_leg, public_leg = Leg.DESTINATION_WITHDRAW, Leg.DESTINATION_PUBLIC_WITHDRAW
    else:
        now, stages, last = facts.source_time, facts.source_stages(), facts.source_stages().cancellation
        own_leg, public_leg = Leg.SOURCE_WITHDRAW, Leg.SOURCE_PUBLIC_WITHDRAW
    begin, public, end = stages.withdrawal, stages.public_withdrawal, stages.cancellation
    deadline = (side, end)
    if not facts.has_secret:
        return wait(waits, "operator", "the secret is not known although it was released", is_alert=True)
    if now >= end:
        return wait(
            waits,
            "operator",
            f"the {side} was not withdrawn before its cancellation opened",
            deadline=deadline,
            is_alert=True,
        )
    # A pending withdrawal is trusted until the public stage has used half of its window; that of the taker never beyond
    # the time that a duty needs, for who can hold its own up would take the tokens back.
    half = public + (end - public) // 2
    patience = min(half, end - duty_margin(facts.profile, side))
    own = facts.legs.get(own_leg)
    if facts.is_managed and (now < last if own is None else own.status is not LegStatus.FAILED):
        if own is None:
            if now < begin:
                return wait(
                    waits,
                    "time",
                    f"the withdrawal window of the {side} has not opened",
                    wakes=((side, begin),),
                    deadline=deadline,
                )
            return go_or_wait(waits, goes, f"the taker withdraws on the {side}", deadline, Send(own_leg))
        if now < patience:
            return wait(
                goes,
                "chain",
                f"the withdrawal on the {side} is on its way",
                wakes=((side, patience),),
                deadline=deadline,
            )
    duty = facts.legs.get(public_leg)
    if duty is not None and duty.status is not LegStatus.FAILED:
        return on_its_way(goes, f"the public withdrawal on the {side}", duty, now >= half, deadline=deadline)
    if now < public:
        return wait(
            waits,
            "time" if facts.is_managed else "another_party",
            f"the public withdrawal window of the {side} has not opened; the taker may withdraw",
            wakes=((side, public),),
            deadline=deadline,
        )
    attempt = 0 if duty is None else duty.attempt + 1
    if duty is not None and duty.is_refused and now < last:
        return wait(
            waits,
            "operator",
            f"the public withdrawal on the {side} was refused: {duty.reason}",
            sends=(Send(public_leg, attempt),),
            deadline=deadline,
            is_alert=True,
        )
    # The maker gave its secret away trusting in this duty: who uses up the cap must not keep it from being paid.
    may_sponsor = facts.may_sponsor or side is Side.DESTINATION
    if attempt >= MOST_ATTEMPTS or now >= last or not may_sponsor:
        why = "the cap for public duties is reached" if not may_sponsor else "it failed too often or too late"
        return wait(
            waits,
            "operator",
            f"the public withdrawal on the {side} cannot be sent: {why}",
            wakes=((side, end),),
            deadline=deadline,
            is_alert=True,
        )
    return go_or_wait(
        waits,
        goes,
        f"the coordinator withdraws on the {side} for the rightful party",
        deadline,
        Send(public_leg, attempt),
    )


def _destination_gone(facts: Facts) -> Decision | None:
    if facts.destination is None:
        return go(SwapState.DESTINATION_LOCKING, "the destination escrow left its chain", is_alert=True)
    if facts.destination.is_cancelled:
        return go(
            SwapState.SOURCE_CANCELLING, "the destination was cancelled although the secret is out", is_alert=True
        )
    return None
