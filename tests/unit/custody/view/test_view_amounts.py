from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.view import format_units

EXACT = Context(prec=400)


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        (0, 18, "0"),
        (1, 18, "0.000000000000000001"),
        (10**18, 18, "1"),
        (1_234_500, 3, "1,234.5"),
        (1_000 * 10**18, 18, "1,000"),
        (100, 0, "100"),
        (1_000_000, 0, "1,000,000"),
        (-1_500, 3, "-1.5"),
        (120, 2, "1.2"),
    ],
)
def test_format_units__known_amounts__reads_as_people_write_them(amount: int, decimals: int, text: str) -> None:
    assert format_units(amount, decimals) == text


@given(amount=st.integers(-(2**256), 2**256), decimals=st.integers(0, 77), grouping=st.booleans())
def test_format_units__any_amount__never_loses_a_digit(amount: int, decimals: int, grouping: bool) -> None:
    text = format_units(amount, decimals, grouping)
    exact = EXACT.create_decimal(text.replace(",", "")).scaleb(decimals, EXACT)

    assert exact == Decimal(amount)
    assert (Decimal(text.replace(",", "")) == 0) == (amount == 0)
    assert grouping or "," not in text


def test_format_units__decimals_out_of_range__is_refused() -> None:
    with pytest.raises(ValueError, match="decimals"):
        format_units(1, 256)
