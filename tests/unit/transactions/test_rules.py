"""Fees, nonces and replacements, as properties."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import FeeHistory
from lockstep.transactions.rules import (
    backoff_seconds,
    bound_fees,
    bump_fees,
    content_hash,
    free_nonces,
    is_replacement,
    market_fees,
    with_headroom,
)
from lockstep.transactions.types import Fees

gwei = st.integers(0, 10**13)


@st.composite
def fees(draw: st.DrawFn) -> Fees:
    tip = draw(gwei)
    return Fees(tip + draw(gwei), tip)


def test_market_fees__history__twice_the_base_fee_and_the_median_tip() -> None:
    history = FeeHistory(base_fees=(90, 100, 110), rewards=((5, 9), (1, 9)))
    assert market_fees(history, 1) == Fees(2 * 110 + 5, 5)
    assert market_fees(FeeHistory(base_fees=(10,), rewards=()), 3) == Fees(23, 3)


@given(fees(), gwei, gwei, st.none() | gwei)
def test_bound_fees__any_ceiling__never_above_it_and_enough_for_the_next_block(
    market: Fees, base: int, ceiling: int, tip_ceiling: int | None
) -> None:
    bound = bound_fees(market, base, ceiling, tip_ceiling)
    if bound is None:
        assert min(ceiling, market.max_fee_per_gas) < base + 1
        return
    assert bound.max_fee_per_gas <= ceiling
    assert bound.max_priority_fee_per_gas <= bound.max_fee_per_gas
    assert bound.max_fee_per_gas >= base
    assert tip_ceiling is None or bound.max_priority_fee_per_gas <= tip_ceiling


@given(fees(), fees(), gwei, st.none() | gwei)
def test_bump_fees__any_fees__a_replacement_under_the_ceilings_or_none(
    old: Fees, market: Fees, ceiling: int, tip_ceiling: int | None
) -> None:
    new = bump_fees(old, market, ceiling, tip_ceiling)
    if new is not None:
        assert is_replacement(old, new)
        assert new.max_priority_fee_per_gas <= new.max_fee_per_gas <= ceiling
        assert tip_ceiling is None or new.max_priority_fee_per_gas <= tip_ceiling


def test_bump_fees__room__an_eighth_more_rounded_up() -> None:
    assert bump_fees(Fees(100, 9), Fees(0, 0), 10**6, None) == Fees(113, 11)
    assert bump_fees(Fees(100, 9), Fees(500, 50), 10**6, None) == Fees(500, 50)
    assert bump_fees(Fees(100, 9), Fees(0, 0), 109, None) is None
    assert bump_fees(Fees(100, 10), Fees(0, 0), 10**6, 10) is None


@given(st.integers(0, 50), st.sets(st.integers(0, 60)))
def test_free_nonces__reservations__lowest_free_first(mined: int, reserved: set[int]) -> None:
    found = list(islice(free_nonces(mined, reserved), 5))
    assert found == sorted(set(found))
    assert all(nonce >= mined and nonce not in reserved for nonce in found)
    assert all(nonce in reserved for nonce in range(mined, found[0]))


def test_small_rules__values__as_written() -> None:
    assert with_headroom(100_000) == 120_000
    assert with_headroom(2**24 - 1) == 2**24
    assert with_headroom(2**24 + 5) == 2**24 + 5
    assert backoff_seconds(0) == 0.2
    assert backoff_seconds(99) == 5.0
    assert content_hash(None, 1, b"") != content_hash(None, 11, b"")
