"""Exact numbers: amounts are integers of the smallest unit, on the wire decimal strings, in SQL ``numeric(78,0)``.

No float enters or leaves. Divisions say which way they round; callers say who gains.
"""

import re
from decimal import Decimal
from typing import Annotated, NewType

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

Wei = NewType("Wei", int)

MAX_UINT256 = 2**256 - 1
BPS_ONE = 10_000
_CANONICAL = re.compile(r"0|[1-9][0-9]{0,77}")


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded up, for a non-negative numerator and a positive denominator."""
    return -(-numerator // denominator)


def parse_amount(text: str) -> int:
    """Parse a canonical decimal string into an amount in 0..2^256-1.

    Raises:
        ValueError: sign, leading zero, separator, exponent, more than 78 digits or above 2^256-1.
    """
    if not _CANONICAL.fullmatch(text) or (value := int(text)) > MAX_UINT256:
        raise ValueError("expected a whole number as a decimal string, 0 to 2^256-1, without sign or leading zero")
    return value


def from_numeric(value: Decimal | int) -> int:
    """Integer of a ``numeric(78,0)`` column; refuses a fraction instead of dropping it."""
    whole = int(value)
    if whole != value:
        raise ValueError(f"expected a whole number, was {value}")
    return whole


def _parse_wire(value: object) -> object:
    if isinstance(value, str):
        return parse_amount(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # our own code builds schemas from integers; JSON numbers are refused by `AmountIn`
    raise ValueError("expected a decimal string")


def _parse_wire_strict(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('expected a decimal string, for example "1000000"')
    return parse_amount(value)


def _in_range(value: int) -> int:
    if not 0 <= value <= MAX_UINT256:
        raise ValueError("expected 0 to 2^256-1")
    return value


_SCHEMA = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,77})$", "examples": ["1000000000000000000"]}

AmountIn = Annotated[
    int,
    Field(strict=False),
    BeforeValidator(_parse_wire_strict),
    AfterValidator(_in_range),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(_SCHEMA),
]
"""An amount in a request body: JSON must carry a canonical decimal string."""

Amount = Annotated[
    int,
    Field(strict=False),
    BeforeValidator(_parse_wire),
    AfterValidator(_in_range),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(_SCHEMA),
]
"""An amount in an answer: built from an integer, written as a decimal string."""
