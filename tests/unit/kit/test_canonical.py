"""Canonical JSON against the vectors of RFC 8785, and the two encoders against each other."""

from __future__ import annotations

import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from lockstep.kit.canonical import canonical, canonical_json

# RFC 8785, section 3.2.2 and 3.2.3, appendix B.
SAMPLE = r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
SAMPLE_BYTES = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
).encode()
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def test_canonical_json__sample_of_the_standard__agrees() -> None:
    assert canonical_json(json.loads(SAMPLE)) == SAMPLE_BYTES


def test_canonical_json__names__are_sorted_by_utf_16_units() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical_json(dict.fromkeys(names)))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_canonical_json__numbers_of_the_standard__agree(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == text


def test_canonical_json__text_that_others_escape__stays() -> None:
    assert canonical_json("/<>&\x7f\u2028") == '"/<>&\x7f\u2028"'.encode()


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), "\ud800", {1: 2}, b"x", [object()]])
def test_canonical_json__what_others_would_read_differently__is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=126), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_plain)
def test_canonical__whatever_it_takes__is_rfc_8785(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]  # made of what it takes
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return
    assert canonical(value) == canonical_json(value) == expected


@pytest.mark.parametrize("value", [1.5, 2**53, {"ä": 1}, {1: 2}, b"x", [object()]])
def test_canonical__outside_its_limits__is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical(value)
