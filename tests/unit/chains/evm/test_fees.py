"""Fee markets from what nodes answer, as properties."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import FeeHistory, Fees, Speed, market_of_gas_price, market_of_history
from lockstep.chains.evm.wire import read_receipt

wei = st.integers(0, 10**13)


def test_history__per_speed__median_of_its_percentile_and_room_for_the_base_fee() -> None:
    history = FeeHistory(base_fees=(90, 100, 110), rewards=((1, 5, 9), (2, 1, 7), (3, 2, 30)))
    market = market_of_history(history, 1)
    assert (market.least_fee, market.least_tip) == (110, 1)
    assert market.offer(Speed.SLOW, is_legacy=False) == Fees(138 + 2, 2)  # 137.5 rounded up
    assert market.offer(Speed.STANDARD, is_legacy=False) == Fees(220 + 2, 2)
    assert market.offer(Speed.FAST, is_legacy=False) == Fees(220 + 9, 9)
    assert market_of_history(FeeHistory(base_fees=(10,), rewards=()), 3).offers[Speed.STANDARD] == Fees(23, 3)
    assert market.offer(Speed.FAST, is_legacy=True) == Fees(229, 229)


def test_gas_price__per_speed__a_share_more_rounded_up() -> None:
    market = market_of_gas_price(101, 0)
    assert [market.offers[speed] for speed in Speed] == [Fees(101, 101), Fees(112, 112), Fees(127, 127)]
    assert market_of_gas_price(5, 100).offers[Speed.SLOW] == Fees(100, 100)


@given(
    st.lists(wei, min_size=1, max_size=6),
    st.lists(st.tuples(wei, wei, wei).map(sorted).map(tuple), max_size=6),
    wei,
)
def test_history__any__faster_never_offers_less_and_all_cover_the_next_block(
    base_fees: list[int], rewards: list[tuple[int, ...]], floor: int
) -> None:
    market = market_of_history(FeeHistory(base_fees=tuple(base_fees), rewards=tuple(rewards)), floor)
    offers = [market.offers[speed] for speed in Speed]
    for slower, faster in pairwise(offers):
        assert slower.max_fee_per_gas <= faster.max_fee_per_gas
        assert slower.max_priority_fee_per_gas <= faster.max_priority_fee_per_gas
    for fees in offers:
        assert fees.max_fee_per_gas >= market.least_fee + fees.max_priority_fee_per_gas
        assert fees.max_priority_fee_per_gas >= floor


@given(wei, wei)
def test_gas_price__any__faster_never_offers_less_than_asked(price: int, floor: int) -> None:
    market = market_of_gas_price(price, floor)
    prices = [market.offers[speed].max_fee_per_gas for speed in Speed]
    assert prices == sorted(prices)
    assert prices[0] == market.least_fee == max(price, floor)


def test_receipt__of_the_op_stack__carries_its_data_fee() -> None:
    raw = {
        "transactionHash": "0x" + "11" * 32,
        "blockNumber": "0x1",
        "blockHash": "0x" + "22" * 32,
        "transactionIndex": "0x0",
        "from": "0x" + "33" * 20,
        "status": "0x1",
        "gasUsed": "0x5208",
        "effectiveGasPrice": "0x1",
        "logs": [],
    }
    assert read_receipt(raw).data_fee == 0
    assert read_receipt({**raw, "l1Fee": None}).data_fee == 0
    assert read_receipt({**raw, "l1Fee": "0x2a"}).data_fee == 42
