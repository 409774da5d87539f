"""Fees, nonces and replacements, as properties."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import FeeHistory, FeeMarket, Fees, Speed, market_of_gas_price, market_of_history
from lockstep.transactions.engine.rules import AfterRefusal, after_refusal, backoff_seconds
from lockstep.transactions.evm.rules import (
    bound_fees,
    bump_fees,
    content_hash,
    cost,
    free_nonces,
    helps_to_pay_more,
    is_replacement,
    kept_for_data,
    with_headroom,
)

gwei = st.integers(0, 10**13)
wei = st.integers(0, 10**25)
kinds = st.booleans()
GAS_CAP = 2**24


@st.composite
def fees(draw: st.DrawFn, *, is_legacy: bool = False) -> Fees:
    tip = draw(gwei)
    return Fees(tip, tip) if is_legacy else Fees(tip + draw(gwei), tip)


@st.composite
def markets(draw: st.DrawFn) -> tuple[FeeMarket, bool]:
    """Markets as nodes make them, and whether a transaction of type 0 is sent; chains without EIP-1559 take no other."""
    if draw(st.booleans()):
        return market_of_gas_price(draw(gwei), draw(gwei)), True
    base_fees = draw(st.lists(gwei, min_size=1, max_size=5))
    rewards = draw(st.lists(st.tuples(gwei, gwei, gwei).map(sorted).map(tuple), max_size=5))
    market = market_of_history(FeeHistory(base_fees=tuple(base_fees), rewards=tuple(rewards)), draw(gwei))
    return market, draw(kinds)


@given(markets(), st.sampled_from(Speed), gwei, st.none() | gwei)
def test_bound_fees__any_ceiling__never_above_it_and_enough_for_the_next_block(
    sent: tuple[FeeMarket, bool], speed: Speed, ceiling: int, tip_ceiling: int | None
) -> None:
    market, is_legacy = sent
    offer = market.offer(speed, is_legacy=is_legacy)
    bound = bound_fees(market, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
    if bound is None:
        least_tip = 0 if is_legacy else market.least_tip
        no_tip = not is_legacy and tip_ceiling is not None and tip_ceiling < least_tip
        assert no_tip or ceiling < market.least_fee + least_tip
        return
    assert bound.max_fee_per_gas <= min(ceiling, offer.max_fee_per_gas)
    assert bound.max_priority_fee_per_gas <= bound.max_fee_per_gas
    assert bound.max_fee_per_gas >= market.least_fee
    if is_legacy:
        assert bound.max_priority_fee_per_gas == bound.max_fee_per_gas
    else:
        assert tip_ceiling is None or bound.max_priority_fee_per_gas <= tip_ceiling
        assert bound.max_priority_fee_per_gas <= offer.max_priority_fee_per_gas
        assert bound.max_priority_fee_per_gas >= market.least_tip


@given(markets(), st.sampled_from(Speed), gwei, st.none() | gwei)
def test_bound_fees__ceilings_with_room__leave_it_for_one_replacement(
    sent: tuple[FeeMarket, bool], speed: Speed, ceiling: int, tip_ceiling: int | None
) -> None:
    market, is_legacy = sent
    offer = market.offer(speed, is_legacy=is_legacy)
    bound = bound_fees(market, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
    tip = 0 if is_legacy else offer.max_priority_fee_per_gas
    fits = ceiling >= 9 and ceiling * 8 // 9 >= market.least_fee + tip
    if not is_legacy and tip_ceiling is not None:
        fits = fits and tip_ceiling >= 9 and tip_ceiling * 8 // 9 >= market.least_tip
    if fits:
        assert bound is not None
        assert bump_fees(bound, Fees(0, 0), ceiling, tip_ceiling, is_legacy=is_legacy) is not None


@given(st.data(), kinds, gwei, st.none() | gwei)
def test_bump_fees__any_fees__a_replacement_under_the_ceilings_or_none(
    data: st.DataObject, is_legacy: bool, ceiling: int, tip_ceiling: int | None
) -> None:
    old, offer = data.draw(fees(is_legacy=is_legacy)), data.draw(fees(is_legacy=is_legacy))
    new = bump_fees(old, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
    if new is not None:
        assert is_replacement(old, new)
        assert new.max_priority_fee_per_gas <= new.max_fee_per_gas <= ceiling
        if is_legacy:
            assert new.max_priority_fee_per_gas == new.max_fee_per_gas
        else:
            assert tip_ceiling is None or new.max_priority_fee_per_gas <= tip_ceiling


@given(st.data(), kinds)
def test_bump_fees__no_ceiling_in_reach__always_finds_one(data: st.DataObject, is_legacy: bool) -> None:
    old, offer = data.draw(fees(is_legacy=is_legacy)), data.draw(fees(is_legacy=is_legacy))
    new = bump_fees(old, offer, 10**20, None, is_legacy=is_legacy)
    assert new is not None
    assert new.max_fee_per_gas >= offer.max_fee_per_gas


@given(gwei, gwei)
def test_is_replacement__any_caps__as_geth_compares_them(before: int, after: int) -> None:
    # core/txpool/legacypool: new > old, and new >= old * (100 + 10) / 100 rounded down
    expected = after > before and after >= before * 110 // 100
    ours = is_replacement(Fees(before, before), Fees(after, after))
    assert not ours or expected  # ours is never laxer
    assert ours or not expected or after * 100 < before * 110


def test_bump_fees__room__an_eighth_more_rounded_up() -> None:
    def bump(old: Fees, offer: Fees, ceiling: int, tip_ceiling: int | None = None) -> Fees | None:
        return bump_fees(old, offer, ceiling, tip_ceiling, is_legacy=False)

    assert bump(Fees(100, 9), Fees(0, 0), 10**6) == Fees(113, 11)
    assert bump(Fees(100, 0), Fees(0, 0), 10**6) == Fees(113, 1)
    assert bump(Fees(100, 9), Fees(500, 50), 10**6) == Fees(500, 50)
    assert bump(Fees(100, 9), Fees(0, 0), 109) is None
    assert bump(Fees(100, 10), Fees(0, 0), 10**6, 10) is None
    assert bump_fees(Fees(100, 100), Fees(0, 0), 10**6, 10, is_legacy=True) == Fees(113, 113)


def test_helps_to_pay_more__sequencer__only_below_the_base_fee() -> None:
    market = market_of_history(FeeHistory(base_fees=(100,), rewards=()), 0)
    assert helps_to_pay_more(Fees(200, 0), market, has_fee_auction=True)
    assert not helps_to_pay_more(Fees(100, 0), market, has_fee_auction=False)
    assert helps_to_pay_more(Fees(99, 0), market, has_fee_auction=False)


@given(st.integers(0, 5), st.integers(1, 20), st.integers(1, 10))
def test_after_refusal__earlier_ones_open__never_ends_then_a_few_looks(earlier: int, looks: int, most: int) -> None:
    decided = after_refusal(earlier, looks, most)
    if earlier:
        assert decided is AfterRefusal.WAIT
    else:
        assert decided is (AfterRefusal.END if looks >= most else AfterRefusal.LOOK_AGAIN)


@given(wei, st.integers(0, 10**9), wei, wei)
def test_cost__any__covers_what_can_be_taken(value: int, gas: int, fee: int, data_fee: int) -> None:
    assert cost(value, gas, fee, data_fee) == value + gas * fee + data_fee
    assert kept_for_data(data_fee) * 1000 >= data_fee * 1423  # three full blocks: 1.125^3, rounded down
    assert kept_for_data(data_fee) <= data_fee * 2


@given(st.integers(0, 50), st.sets(st.integers(0, 60)))
def test_free_nonces__reservations__lowest_free_first(mined: int, reserved: set[int]) -> None:
    found = list(islice(free_nonces(mined, reserved), 5))
    assert found == sorted(set(found))
    assert all(nonce >= mined and nonce not in reserved for nonce in found)
    assert all(nonce in reserved for nonce in range(mined, found[0]))


def test_small_rules__values__as_written() -> None:
    assert with_headroom(100_000, GAS_CAP) == 120_000
    assert with_headroom(2**24 - 1, GAS_CAP) == 2**24
    assert with_headroom(2**24 + 5, GAS_CAP) == 2**24 + 5
    assert with_headroom(2**25, None) == 40_265_319
    assert backoff_seconds(0) == 0.2
    assert backoff_seconds(99) == 5.0
    assert content_hash(None, 1, b"") != content_hash(None, 11, b"")
