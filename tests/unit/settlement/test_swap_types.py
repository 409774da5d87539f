"""Time locks and immutables: the published worked example, and properties of the packed word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.settlement.types import Immutables, TimeLocks

EXAMPLE = TimeLocks(
    source_withdrawal=10,
    source_public_withdrawal=120,
    source_cancellation=300,
    source_public_cancellation=420,
    destination_withdrawal=12,
    destination_public_withdrawal=100,
    destination_cancellation=250,
)
WORD = 0x6553F100000000FA000000640000000C000001A40000012C000000780000000A
delays = st.integers(0, 2**32 - 1)


def test_time_locks__worked_example__gives_the_word() -> None:
    assert EXAMPLE.pack(1_700_000_000) == WORD


@given(st.builds(TimeLocks, **dict.fromkeys(EXAMPLE.__slots__, delays)), delays)
def test_time_locks__packed_and_unpacked__are_the_same(locks: TimeLocks, deployed_at: int) -> None:
    assert TimeLocks.unpack(locks.pack(deployed_at)) == (locks, deployed_at)


def test_time_locks__sum_above_32_bits__does_not_wrap() -> None:
    locks = TimeLocks.unpack((2**32 - 1) << 64)[0]
    assert locks.source(2**32 - 1).cancellation == 2 * (2**32 - 1)


def test_time_locks__outside_32_bits__are_refused() -> None:
    with pytest.raises(ValueError, match="source_withdrawal"):
        TimeLocks(**{name: -1 if name == "source_withdrawal" else 1 for name in EXAMPLE.__slots__})


def test_immutables__worked_example__gives_the_nine_word_hash() -> None:
    immutables = Immutables(
        order_hash=b"\xaa" * 32,
        hashlock=b"\xbb" * 32,
        maker=b"\x01" * 20,
        taker=b"\x02" * 20,
        token=b"\x03" * 20,
        amount=10**18,
        safety_deposit=10**16,
        time_locks=WORD,
    )
    assert immutables.hash().hex() == "12bd313fa9e0233ffd048225e2f03a4744d68d3edaf5b645915b89b6d45ba6a7"
    assert immutables.deployed_at == 1_700_000_000
