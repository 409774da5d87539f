"""Whole swaps against a model of the contracts: nobody loses, every swap ends, the secret obeys its rule."""

from hypothesis import given, settings
from hypothesis import strategies as st
from swap_model import LOCKS, PROFILE, Behaviour, World
from tests.support.counts import examples

from lockstep.settlement.rules import (
    OPEN_STATES,
    TERMINAL_STATES,
    EscrowFacts,
    Facts,
    Leg,
    LegFacts,
    LegStatus,
    Outcome,
    SwapState,
    decide,
    secret_release,
    time_locks_fault,
)

S = SwapState
WAY_THERE = [
    S.MATCHED,
    S.SOURCE_LOCKING,
    S.SOURCE_LOCKED,
    S.DESTINATION_LOCKING,
    S.DESTINATION_LOCKED,
    S.BOTH_FINAL,
    S.SECRET_RELEASED,
    S.DESTINATION_WITHDRAWING,
    S.DESTINATION_WITHDRAWN,
    S.SOURCE_WITHDRAWING,
    S.SETTLED,
]


def outcomes(world: World) -> tuple[Outcome | None, Outcome | None]:
    return (
        world.source.outcome if world.source else None,
        world.destination.outcome if world.destination else None,
    )


def test_machine__managed_taker__visits_every_state_of_the_way_and_settles() -> None:
    world = World(Behaviour())
    assert world.play() is S.SETTLED
    assert world.visited == WAY_THERE
    assert outcomes(world) == (Outcome.WITHDRAWN, Outcome.WITHDRAWN)
    assert not world.alerts


def test_machine__external_taker__settles() -> None:
    world = World(Behaviour(mode="external"))
    assert world.play() is S.SETTLED
    assert outcomes(world) == (Outcome.WITHDRAWN, Outcome.WITHDRAWN)


def test_machine__external_taker_stops_after_source__refunds_by_public_cancellation() -> None:
    world = World(Behaviour(mode="external", taker_stops_after=1))
    assert world.play() is S.REFUNDED
    assert outcomes(world) == (Outcome.CANCELLED, None)


def test_machine__external_taker_never_comes__cancels_without_effect() -> None:
    world = World(Behaviour(mode="external", taker_stops_after=0))
    assert world.play() is S.CANCELLED
    assert not world.legs


def test_machine__external_taker_vanishes_with_the_secret__maker_is_paid_and_taker_too() -> None:
    world = World(Behaviour(mode="external", taker_stops_after=2))
    assert world.play() is S.SETTLED
    assert outcomes(world) == (Outcome.WITHDRAWN, Outcome.WITHDRAWN)


def test_machine__maker_never_releases__both_are_whole() -> None:
    world = World(Behaviour(maker_delay=None))
    assert world.play() is S.REFUNDED
    assert outcomes(world) == (Outcome.CANCELLED, Outcome.CANCELLED)
    assert S.DESTINATION_CANCELLING in world.visited
    assert S.SOURCE_CANCELLING in world.visited


def test_machine__secret_is_held__settles_without_the_maker() -> None:
    world = World(Behaviour(maker_delay=None, is_secret_held=True))
    assert world.play() is S.SETTLED
    assert world.visited == WAY_THERE
    assert world.released_at_facts is not None


def test_machine__session_revoked_after_source__stranger_cancellation_refunds() -> None:
    world = World(Behaviour(is_session_revoked_after=1))
    assert world.play() is S.REFUNDED
    assert outcomes(world) == (Outcome.CANCELLED, None)


def test_machine__session_revoked_after_destination__coordinator_pays_both() -> None:
    world = World(Behaviour(is_session_revoked_after=2))
    assert world.play() is S.SETTLED


def test_machine__every_open_state__has_a_step() -> None:
    facts = World(Behaviour()).facts()
    for state in OPEN_STATES:
        assert decide(state, facts).state in S


@settings(max_examples=examples(300), deadline=None)
@given(
    st.builds(
        Behaviour,
        mode=st.sampled_from(["managed", "external"]),
        taker_delay=st.integers(0, 60),
        taker_stops_after=st.integers(0, 5),
        maker_delay=st.one_of(st.none(), st.integers(0, 60)),
        is_secret_held=st.booleans(),
        is_session_revoked_after=st.one_of(st.just(99), st.integers(0, 5)),
        inclusion=st.integers(1, PROFILE.source_inclusion - 1),
        offset=st.integers(-PROFILE.clock_skew + 1, PROFILE.clock_skew - 1),
    )
)
def test_machine__anybody_stops_anywhere__maker_never_loses(behaviour: Behaviour) -> None:
    world = World(behaviour)
    end = world.play()
    source, destination = outcomes(world)
    # The maker's tokens leave only against payment, and come back otherwise.
    if source is Outcome.WITHDRAWN:
        assert destination is Outcome.WITHDRAWN
    if world.released_at_facts is not None:
        assert secret_release(world.released_at_facts) is None
        assert destination is Outcome.WITHDRAWN
    assert end is not S.LOST
    if end is S.SETTLED:
        assert (source, destination) == (Outcome.WITHDRAWN, Outcome.WITHDRAWN)
    if end is S.REFUNDED:
        assert source is Outcome.CANCELLED
        assert destination is not Outcome.WITHDRAWN
    if end is S.CANCELLED:
        assert source is None
    # A managed taker whose session was revoked leaves its destination escrow waiting for it; everything else ends.
    if world.b.mode == "external" or world.b.is_session_revoked_after == 99:
        assert end in (S.SETTLED, S.REFUNDED, S.CANCELLED)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.builds(
        Behaviour,
        maker_delay=st.one_of(st.none(), st.integers(0, 40)),
        is_secret_held=st.booleans(),
        inclusion=st.integers(1, 3),
        stops=st.dictionaries(st.integers(1_000, 1_120), st.integers(1, 12), max_size=6),
    )
)
def test_machine__coordinator_stops_for_a_while__every_token_ends_with_its_side(behaviour: Behaviour) -> None:
    world = World(behaviour)
    end = world.play()
    assert end in (S.SETTLED, S.REFUNDED)
    assert outcomes(world) in (
        (Outcome.WITHDRAWN, Outcome.WITHDRAWN),
        (Outcome.CANCELLED, Outcome.CANCELLED),
        (Outcome.CANCELLED, None),
    )


@settings(max_examples=examples(200), deadline=None)
@given(
    st.builds(
        Behaviour,
        mode=st.sampled_from(["managed", "external"]),
        taker_stops_after=st.integers(0, 5),
        is_secret_held=st.booleans(),
        inclusion=st.integers(1, 3),
        stops=st.dictionaries(st.integers(1_000, 1_120), st.integers(1, 200), max_size=3),
    )
)
def test_machine__coordinator_stops_for_long__ends_and_tells_an_operator_of_a_loss(behaviour: Behaviour) -> None:
    world = World(behaviour)
    end = world.play(800)
    source, destination = outcomes(world)
    if end is S.LOST:
        assert world.alerts
    if end is S.SETTLED:
        assert (source, destination) == (Outcome.WITHDRAWN, Outcome.WITHDRAWN)
    assert end in (S.SETTLED, S.REFUNDED, S.CANCELLED, S.LOST)


def test_time_locks__of_the_model__carry_a_swap() -> None:
    assert time_locks_fault(LOCKS, PROFILE) is None


escrow_facts = st.builds(
    EscrowFacts,
    deployed_at=st.integers(900, 1_100),
    mismatch=st.sampled_from([None, None, None, "amount"]),
    is_final=st.booleans(),
    outcome=st.sampled_from(list(Outcome)),
    is_outcome_final=st.booleans(),
)
leg_facts = st.builds(
    LegFacts,
    attempt=st.integers(0, 6),
    status=st.sampled_from(list(LegStatus)),
    reason=st.one_of(st.none(), st.just("reverted")),
    is_refused=st.booleans(),
)
any_facts = st.builds(
    Facts,
    mode=st.sampled_from(["managed", "external"]),
    time_locks=st.just(LOCKS),
    profile=st.just(PROFILE),
    source_time=st.integers(900, 1_400),
    destination_time=st.integers(900, 1_400),
    host_time=st.integers(900, 1_400),
    reserved_until=st.integers(900, 1_400),
    expires_at=st.integers(900, 1_400),
    source=st.one_of(st.none(), escrow_facts),
    destination=st.one_of(st.none(), escrow_facts),
    is_taken_by_other=st.booleans(),
    has_secret=st.booleans(),
    is_secret_held=st.booleans(),
    may_sponsor=st.booleans(),
    legs=st.dictionaries(st.sampled_from(list(Leg)), leg_facts),
)


@settings(max_examples=examples(1_000), deadline=None)
@given(st.sampled_from(OPEN_STATES), any_facts)
def test_machine__held_secret__goes_out_only_where_a_submitted_one_would_be_taken(
    state: SwapState, facts: Facts
) -> None:
    decision = decide(state, facts)
    if decision.releases_secret:
        assert (state, decision.state) == (S.BOTH_FINAL, S.SECRET_RELEASED)
        assert facts.is_secret_held
        assert not facts.has_secret
        assert secret_release(facts) is None
    elif state is S.BOTH_FINAL and facts.is_secret_held and not facts.has_secret:
        assert secret_release(facts) is not None


@settings(max_examples=examples(1_000), deadline=None)
@given(st.sampled_from(OPEN_STATES), any_facts)
def test_machine__any_facts_in_any_state__come_to_rest_without_circles(state: SwapState, facts: Facts) -> None:
    seen = [state]
    while state not in TERMINAL_STATES:
        decision = decide(state, facts)
        for send in decision.sends:
            # Never lock the destination before the source is final, never cancel a source whose destination was paid.
            if send.leg is Leg.DESTINATION_LOCK:
                assert facts.source is not None
                assert facts.source.is_final
                assert facts.source.mismatch is None
            if send.leg in (Leg.SOURCE_CANCEL, Leg.SOURCE_PUBLIC_CANCEL):
                assert facts.destination is None or not facts.destination.is_withdrawn
        if decision.waiting_for is not None or decision.sends:
            return  # the facts have to change first
        state = decision.state
        seen.append(state)
        assert len(seen) < 12, seen
