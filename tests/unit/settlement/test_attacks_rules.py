"""Attacks on the pure rules: windows that are too short to be used, chains that hide how late it is, caps that are used up."""

from dataclasses import replace

import pytest
from swap_model import LOCKS, PROFILE

from lockstep.settlement.rules import (
    EscrowFacts,
    Facts,
    Leg,
    LegFacts,
    LegStatus,
    Outcome,
    Send,
    SwapState,
    decide,
    last_secret_release,
    secret_release,
    time_locks_fault,
)


def both_final(**changes: object) -> Facts:
    """Both escrows stand and are final; the source can be cancelled long after the destination."""
    escrow = EscrowFacts(deployed_at=1_000, is_final=True)
    facts = Facts(
        mode="external",
        time_locks=replace(LOCKS, source_cancellation=3_600, source_public_cancellation=4_000),
        profile=PROFILE,
        source_time=1_010,
        destination_time=1_010,
        host_time=1_010,
        reserved_until=1_060,
        expires_at=1_200,
        source=escrow,
        destination=escrow,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]  # members by name


@pytest.mark.parametrize(
    "change",
    [
        {"source_withdrawal": 88, "source_public_withdrawal": 89},
        {"source_public_withdrawal": 79},
    ],
    ids=str,
)
def test_time_locks__source_withdrawal_window_too_short_to_use__are_refused(change: dict[str, int]) -> None:
    # The maker would be paid on the destination and have its tokens back before anybody could withdraw them.
    assert time_locks_fault(replace(LOCKS, **change), PROFILE) is not None
    assert time_locks_fault(replace(LOCKS, source_public_withdrawal=78), PROFILE) is None


def test_time_locks__taker_has_no_time_to_cancel_before_everybody__are_refused() -> None:
    # The maker would keep its secret, cancel first and earn the taker's safety deposit.
    assert time_locks_fault(replace(LOCKS, source_public_cancellation=97), PROFILE) is not None
    assert time_locks_fault(replace(LOCKS, source_public_cancellation=98), PROFILE) is None


@pytest.mark.parametrize("source_time", [1_010, 1_200])
def test_release__node_of_the_destination_has_stopped__is_refused_by_the_hosts_clock(source_time: int) -> None:
    # Its last block says that there is time enough; by now the taker may have its tokens back already.
    last = last_secret_release(both_final())
    late = last + PROFILE.clock_skew
    assert secret_release(both_final(source_time=source_time, host_time=late)) is not None
    assert secret_release(both_final(host_time=late - 1)) is None


def test_lock__source_not_final_for_a_moment__destination_is_not_locked_twice() -> None:
    # Another node that lags behind the first one takes the finality back; the leg is on its way already.
    pending = {Leg.DESTINATION_LOCK: LegFacts(attempt=0, status=LegStatus.PENDING)}
    facts = both_final(mode="managed", destination=None, legs=pending)
    lagging = replace(facts, source=EscrowFacts(deployed_at=1_000))
    assert decide(SwapState.DESTINATION_LOCKING, lagging).state is SwapState.SOURCE_LOCKED
    again = decide(SwapState.SOURCE_LOCKED, facts)
    assert (again.state, again.sends) == (SwapState.DESTINATION_LOCKING, ())


def released(seconds_left: int, **changes: object) -> Facts:
    """The secret is out, the destination open, its cancellation so many seconds away."""
    now = 1_000 + LOCKS.destination_cancellation - seconds_left
    return both_final(has_secret=True, source_time=now, destination_time=now, host_time=now, **changes)


@pytest.mark.parametrize("state", [SwapState.SECRET_RELEASED, SwapState.DESTINATION_WITHDRAWING])
def test_withdrawal__may_miss_the_destinations_window__does_not_show_the_secret(state: SwapState) -> None:
    # Whoever reads it from a transaction that comes too late withdraws the source, and the maker is not paid.
    inclusion = PROFILE.destination_inclusion
    assert decide(state, released(inclusion, mode="managed")).sends == ()
    in_time = decide(state, released(inclusion + 1, mode="managed"))
    assert in_time.sends == (Send(Leg.DESTINATION_WITHDRAW),)


@pytest.mark.parametrize("mode", ["managed", "external"])
def test_withdrawal__secret_is_public_already__is_tried_to_the_last_moment(mode: str) -> None:
    paid = EscrowFacts(deployed_at=1_000, is_final=True, outcome=Outcome.WITHDRAWN)
    assert decide(SwapState.SECRET_RELEASED, released(1, mode=mode, source=paid)).sends


def test_sponsorship_cap__used_up_after_the_release__the_maker_is_paid_all_the_same() -> None:
    # Else a taker that has the secret uses up the cap, takes the destination back, and withdraws the source.
    decision = decide(SwapState.SECRET_RELEASED, released(20, may_sponsor=False))
    assert decision.sends == (Send(Leg.DESTINATION_PUBLIC_WITHDRAW),)


def test_duty__coordinators_wallet_is_empty__an_operator_is_told_while_there_is_time() -> None:
    waiting = LegFacts(attempt=0, status=LegStatus.PENDING, reason="insufficient funds")
    pays = {Leg.DESTINATION_PUBLIC_WITHDRAW: waiting}
    assert not decide(SwapState.DESTINATION_WITHDRAWING, released(20, legs=pays)).is_alert
    late = decide(SwapState.DESTINATION_WITHDRAWING, released(15, legs=pays))
    assert late.is_alert
    assert "insufficient funds" in late.reason
    refunds = both_final(destination=None, legs={Leg.SOURCE_PUBLIC_CANCEL: waiting}, source_time=5_000)
    assert not decide(SwapState.SOURCE_CANCELLING, refunds).is_alert
    late = decide(SwapState.SOURCE_CANCELLING, replace(refunds, source_time=5_000 + 2 * PROFILE.source_inclusion))
    assert late.is_alert
    assert "insufficient funds" in late.reason
