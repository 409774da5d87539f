"""Amounts, ids, cursors and times: pure rules."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from lockstep.kit.clock import epoch_ms, rfc3339
from lockstep.kit.ids import is_id, new_id
from lockstep.kit.money import MAX_UINT256, Amount, AmountIn, ceil_div, from_numeric, parse_amount
from lockstep.kit.paging import BadCursor, decode_cursor, encode_cursor, page_of


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    amount: AmountIn


class Answer(BaseModel):
    amount: Amount


@given(st.integers(0, MAX_UINT256))
def test_amount__any_uint256__survives_the_wire_exactly(value: int) -> None:
    wire = Answer(amount=value).model_dump_json()
    assert wire == f'{{"amount":"{value}"}}'
    assert Body.model_validate_json(wire).amount == value


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "0x1", "१", "1_000", "9" * 300, str(MAX_UINT256 + 1)]
)
def test_parse_amount__not_canonical__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_amount(text)


@pytest.mark.parametrize("json", ['{"amount": 5}', '{"amount": 5.0}', '{"amount": true}', '{"amount": null}'])
def test_amount_in__json_number__is_refused(json: str) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate_json(json)


@given(st.integers(0, 10**90), st.integers(1, 10**40))
def test_ceil_div__any__is_the_smallest_integer_not_below(numerator: int, denominator: int) -> None:
    quotient = ceil_div(numerator, denominator)
    assert quotient * denominator >= numerator > (quotient - 1) * denominator


def test_from_numeric__fraction__is_refused() -> None:
    assert from_numeric(Decimal("7")) == 7
    with pytest.raises(ValueError, match="whole number"):
        from_numeric(Decimal("7.5"))


def test_new_id__many__are_unique_sorted_uuid7() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(is_id(text) and text[14] == "7" and text[19] in "89ab" for text in ids)


def test_rfc3339__any_zone__is_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-01-02T01:04:05.678Z"
    assert epoch_ms(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC)) == 1000


@given(st.text().filter(lambda text: "\x00" not in text), st.integers(-(2**60), 2**60))
def test_cursor__round_trip__keeps_the_key(text: str, number: int) -> None:
    assert decode_cursor(encode_cursor(text, number), str, int) == (text, number)


@pytest.mark.parametrize("cursor", ["", "!", "e30", "WzFd", "bnVsbA", "W251bGwsIDFd", "Ww" * 4000, "WyJcdTAwMDAiLDFd"])
def test_cursor__forged__is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(cursor, str, int)


@pytest.mark.parametrize(("text", "number"), [("\ud800", 1), ("x", 2**63), ("x", -(2**63) - 1), ("x", 10**300)])
def test_cursor__with_what_no_database_takes__is_refused(text: str, number: int) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(encode_cursor(text, number), str, int)


def test_page_of__one_row_too_many__gives_the_way_on() -> None:
    page = page_of([1, 2, 3], 2, lambda row: (row,))
    assert page.items == [1, 2]
    assert page.next_cursor is not None
    assert decode_cursor(page.next_cursor, int) == (2,)
    assert page_of([1, 2], 2, lambda row: (row,)).next_cursor is None
