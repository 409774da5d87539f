"""Types of facts, and values written as text. Every value of a policy is read here, once, when the policy is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lockstep.chains.evm import BadAddress, parse_address
from lockstep.custody.view.types import FieldValue

MAX_TEXT = 4_096
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,77})")
_HEX_NUMBER = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_HEX_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")
_INTEGER = re.compile(r"(u?)int([0-9]{1,3})")
_FIXED_BYTES = re.compile(r"bytes([1-9]|[12][0-9]|3[0-2])")

Kind = Literal["address", "uint", "int", "bool", "bytes", "string"]


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a field."""

    kind: Kind
    size: int = 0
    """Bits of an integer; bytes of a fixed byte string, 0 for any length."""

    def __str__(self) -> str:
        return f"{self.kind}{self.size}" if self.size else self.kind

    @property
    def python_type(self) -> type:
        """The type of its facts in a view."""
        return {"address": str, "string": str, "uint": int, "int": int, "bool": bool, "bytes": bytes}[self.kind]


ADDRESS = ValueType("address")
BOOL = ValueType("bool")
BYTES = ValueType("bytes")
STRING = ValueType("string")
INT256 = ValueType("int", 256)
UINT256 = ValueType("uint", 256)


def atom_type(name: str) -> ValueType | None:
    """The type that Solidity and EIP-712 call so; None for structs, arrays and unknown names."""
    if name in ("address", "bool", "bytes", "string"):
        return {"address": ADDRESS, "bool": BOOL, "bytes": BYTES, "string": STRING}[name]
    if (integer := _INTEGER.fullmatch(name)) is not None:
        bits = int(integer.group(2))
        if bits % 8 == 0 and 8 <= bits <= 256 and not integer.group(2).startswith("0"):
            return ValueType("uint" if integer.group(1) else "int", bits)
    if (fixed := _FIXED_BYTES.fullmatch(name)) is not None:
        return ValueType("bytes", int(fixed.group(1)))
    return None


def parse_value(kind: ValueType, text: object, whole: bool = True) -> FieldValue:
    """Read a value of a condition.

    Args:
        whole: False for a part of a byte string (`contains`, `starts_with`, `ends_with`), which may be shorter.
    Raises:
        ValueError: not of this type; the message says what was expected.
    """
    if not isinstance(text, str):
        raise ValueError("expected text; numbers are written as decimal or 0x hex text")
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters")
    if kind.kind == "string":
        return text
    if kind.kind == "address":
        try:
            return parse_address(text)
        except BadAddress as error:
            raise ValueError(error.detail) from error
    if kind.kind == "bool":
        if text not in ("true", "false"):
            raise ValueError('expected "true" or "false"')
        return text == "true"
    if kind.kind == "bytes":
        return _parse_bytes(kind, text, whole)
    return _parse_integer(kind, text)


def _parse_bytes(kind: ValueType, text: str, whole: bool) -> bytes:
    if not _HEX_BYTES.fullmatch(text):
        raise ValueError("expected bytes as 0x hex, two digits each")
    raw = bytes.fromhex(text[2:])
    if kind.size and (len(raw) != kind.size if whole else len(raw) > kind.size):
        raise ValueError(f"expected {'' if whole else 'at most '}{kind.size} bytes, was {len(raw)}")
    return raw


def _parse_integer(kind: ValueType, text: str) -> int:
    if _DECIMAL.fullmatch(text) and text != "-0":
        number = int(text)
    elif _HEX_NUMBER.fullmatch(text):
        number = int(text, 16)
    else:
        raise ValueError("expected a whole number as decimal or 0x hex text, without plus sign or leading zero")
    bits = kind.size
    low, high = (0, 2**bits - 1) if kind.kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= number <= high:
        raise ValueError(f"out of the range of {kind}")
    return number
