"""The release rule at its edges, and matching field by field."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    last_destination_lock,
    last_secret_release,
    match_destination,
    match_source,
    secret_release,
    time_locks_fault,
)
from lockstep.settlement.types import (
    ChainPairProfile,
    DestinationTerms,
    Immutables,
    Lock,
    Side,
    SwapTerms,
    TimeLocks,
)

SOURCE_AT, DESTINATION_AT = 1_000, 1_010


def facts(**changes: object) -> Facts:
    both = EscrowFacts(deployed_at=SOURCE_AT, is_final=True)
    base = Facts(
        mode="managed",
        time_locks=LOCKS,
        profile=PROFILE,
        source_time=1_020,
        destination_time=1_020,
        host_time=1_020,
        reserved_until=1_060,
        expires_at=1_200,
        source=both,
        destination=replace(both, deployed_at=DESTINATION_AT),
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # members by name


def test_release__both_final_in_time__is_allowed() -> None:
    assert secret_release(facts()) is None


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize(
    "change",
    [None, {"is_final": False}, {"mismatch": "taker"}, {"outcome": Outcome.WITHDRAWN}, {"outcome": Outcome.CANCELLED}],
    ids=str,
)
def test_release__one_escrow_not_as_it_must_be__is_refused(side: str, change: dict[str, object] | None) -> None:
    good = facts()
    escrow = getattr(good, side)
    changed = None if change is None else replace(escrow, **change)
    assert secret_release(replace(good, **{side: changed})) is not None


def test_release__at_the_last_moment__is_refused_exactly_then() -> None:
    last = last_secret_release(facts())
    margin = PROFILE.public_duty + PROFILE.destination_inclusion + PROFILE.clock_skew
    assert last == DESTINATION_AT + LOCKS.destination_cancellation - margin
    assert secret_release(facts(source_time=last - 1, destination_time=last - 1)) is None
    assert secret_release(facts(source_time=last, destination_time=last)) is not None


@pytest.mark.parametrize("side", Side)
def test_duty__taker_holds_its_own_withdrawal_up__is_sent_in_time(side: Side) -> None:
    # The shortest public windows that a slow pair of chains accepts; the taker's transaction stays pending.
    profile = replace(PROFILE, source_inclusion=20, destination_inclusion=20)
    locks = replace(
        LOCKS,
        source_public_withdrawal=102,
        source_cancellation=130,
        source_public_cancellation=160,
        destination_cancellation=48,
    )
    assert time_locks_fault(locks, profile) is None
    if side is Side.SOURCE:
        state, own, duty = SwapState.SOURCE_WITHDRAWING, Leg.SOURCE_WITHDRAW, Leg.SOURCE_PUBLIC_WITHDRAW
        opens, closes = SOURCE_AT + locks.source_public_withdrawal, SOURCE_AT + locks.source_cancellation
        outcome = Outcome.WITHDRAWN
    else:
        state, own, duty = SwapState.DESTINATION_WITHDRAWING, Leg.DESTINATION_WITHDRAW, Leg.DESTINATION_PUBLIC_WITHDRAW
        opens = DESTINATION_AT + locks.destination_public_withdrawal
        closes = DESTINATION_AT + locks.destination_cancellation
        outcome = Outcome.OPEN
    seen = facts(
        time_locks=locks,
        profile=profile,
        has_secret=True,
        legs={own: LegFacts(attempt=0, status=LegStatus.PENDING)},
        destination=EscrowFacts(deployed_at=DESTINATION_AT, is_final=True, outcome=outcome),
    )
    sent = [
        now
        for now in range(opens, closes)
        if decide(state, replace(seen, source_time=now, destination_time=now)).sends == (Send(duty),)
    ]
    assert sent
    assert sent[0] <= closes - 20 - profile.clock_skew - profile.public_duty


def test_release__destination_locked_too_late__is_refused_at_any_time() -> None:
    latest = last_destination_lock(facts())
    good = facts(
        destination=EscrowFacts(deployed_at=latest, is_final=True), destination_time=latest + 5, source_time=latest + 5
    )
    assert secret_release(good) is None
    late = replace(good, destination=EscrowFacts(deployed_at=latest + 1, is_final=True))
    assert secret_release(late) is not None


def test_release__source_clock_far_ahead__is_refused() -> None:
    assert secret_release(facts(source_time=1_060)) is not None


@given(st.integers(900, 1_200), st.integers(900, 1_200), st.integers(900, 1_100), st.integers(900, 1_100))
def test_release__allowed__leaves_room_for_the_duty_and_the_taker(
    now: int, other: int, source: int, destination: int
) -> None:
    seen = facts(
        source_time=other,
        destination_time=now,
        source=EscrowFacts(deployed_at=source, is_final=True),
        destination=EscrowFacts(deployed_at=destination, is_final=True),
    )
    if secret_release(seen) is None:
        begin = max(now, destination + LOCKS.destination_public_withdrawal)
        end = destination + LOCKS.destination_cancellation
        assert begin + PROFILE.public_duty + PROFILE.destination_inclusion + PROFILE.clock_skew <= end
        left = source + LOCKS.source_cancellation - end
        assert left >= PROFILE.destination_finality + PROFILE.source_inclusion


@pytest.mark.parametrize(
    "change",
    [
        {"source_withdrawal": 0},
        {"source_public_withdrawal": 6},
        {"source_cancellation": 40},
        {"source_public_cancellation": 90},
        {"destination_withdrawal": 20},
        {"destination_public_withdrawal": 50},
        {"destination_cancellation": 30},
        {"destination_cancellation": 85},
        {"source_cancellation": 60},
    ],
    ids=str,
)
def test_time_locks__that_cannot_carry_a_swap__are_refused(change: dict[str, int]) -> None:
    assert time_locks_fault(replace(LOCKS, **change), PROFILE) is not None


def test_time_locks__slower_chains__need_longer_locks() -> None:
    slow = ChainPairProfile(
        source_finality=64 * 12,
        destination_finality=64 * 12,
        source_inclusion=60,
        destination_inclusion=60,
        clock_skew=15,
        public_duty=60,
    )
    assert time_locks_fault(LOCKS, slow) is not None


# --- matching ---------------------------------------------------------------------------------------------------------

TERMS = SwapTerms(
    order_hash=b"o" * 32,
    fill_index=0,
    hashlock=b"h" * 32,
    maker=b"m" * 20,
    receiver=b"r" * 20,
    taker=b"t" * 20,
    source_chain="eip155:1",
    source_factory=b"f" * 20,
    source_token=b"a" * 20,
    source_amount=100,
    source_deposit=10,
    destination_chain="eip155:2",
    destination_factory=b"g" * 20,
    destination_token=b"b" * 20,
    destination_amount=200,
    destination_deposit=20,
    time_locks=LOCKS,
    expires_at=2_000,
)


def source_lock(terms: SwapTerms = TERMS) -> Lock:
    return Lock(
        side=Side.SOURCE,
        chain=terms.source_chain,
        factory=terms.source_factory,
        address=b"s" * 20,
        fill_index=terms.fill_index,
        immutables=Immutables(
            order_hash=terms.order_hash,
            hashlock=terms.hashlock,
            maker=terms.maker,
            taker=terms.taker,
            token=terms.source_token,
            amount=terms.source_amount,
            safety_deposit=terms.source_deposit,
            time_locks=terms.time_locks.pack(SOURCE_AT),
        ),
        terms=DestinationTerms(
            chain=terms.destination_chain,
            factory=terms.destination_factory,
            token=terms.destination_token,
            receiver=terms.receiver,
            amount=terms.destination_amount,
            safety_deposit=terms.destination_deposit,
        ),
        block_number=1,
        block_hash=b"x" * 32,
        block_time=SOURCE_AT,
        transaction_hash=b"y" * 32,
        log_index=0,
    )


def destination_lock() -> Lock:
    one = source_lock()
    return replace(
        one,
        side=Side.DESTINATION,
        chain=TERMS.destination_chain,
        factory=TERMS.destination_factory,
        terms=None,
        block_time=DESTINATION_AT,
        immutables=replace(
            one.immutables,
            maker=TERMS.receiver,
            token=TERMS.destination_token,
            amount=TERMS.destination_amount,
            safety_deposit=TERMS.destination_deposit,
            time_locks=LOCKS.pack(DESTINATION_AT),
        ),
    )


def test_match__escrows_of_the_terms__fit() -> None:
    assert match_source(TERMS, source_lock()) is None
    assert match_destination(TERMS, source_lock(), destination_lock()) is None


@pytest.mark.parametrize(
    "name", [f.name for f in fields(SwapTerms) if f.name not in ("source_funding", "signature_kind", "expires_at")]
)
def test_match_source__any_term_differs__does_not_fit(name: str) -> None:
    value = getattr(TERMS, name)
    other: object
    if isinstance(value, TimeLocks):
        other = replace(value, source_withdrawal=value.source_withdrawal + 1)
    elif isinstance(value, bytes):
        other = bytes(len(value))
    elif isinstance(value, int):
        other = value + 1
    else:
        other = "eip155:9"
    assert match_source(replace(TERMS, **{name: other}), source_lock()) is not None  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("name", [f.name for f in fields(Immutables)])
def test_match_destination__any_immutable_differs__does_not_fit(name: str) -> None:
    good = destination_lock()
    value = getattr(good.immutables, name)
    other = bytes(len(value)) if isinstance(value, bytes) else value - 1
    if name == "parameters":
        other = b"\x01" * 128
    changed = replace(good, immutables=replace(good.immutables, **{name: other}))
    assert match_destination(TERMS, source_lock(), changed) is not None


@pytest.mark.parametrize("change", [{"chain": "eip155:9"}, {"factory": bytes(20)}, {"side": Side.SOURCE}], ids=str)
def test_match_destination__another_place__does_not_fit(change: dict[str, object]) -> None:
    assert match_destination(TERMS, source_lock(), replace(destination_lock(), **change)) is not None  # type: ignore[arg-type]  # by name


def test_match__deposit_above_the_minimum__fits() -> None:
    rich = source_lock()
    rich = replace(rich, immutables=replace(rich.immutables, safety_deposit=11))
    assert match_source(TERMS, rich) is None
