"""A strict ABI decoder: one pass, canonical layout only.

General decoders follow offsets wherever they point, so a few kilobytes that point many times at one array cost
seconds. Canonical data has each dynamic part exactly where the part before it ends; demanding that makes decoding
linear in the input and the reading unique. Compared with eth-abi in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MAX_TYPE_DEPTH = 12
_ARRAY = re.compile(r"(.+)\[([0-9]{0,5})\]", re.DOTALL)
_INTEGER = re.compile(r"(u?)int([0-9]{1,3})")
_FIXED_BYTES = re.compile(r"bytes([0-9]{1,2})")


class NotCanonical(ValueError):
    """The bytes are not the canonical encoding of these types."""


@dataclass(frozen=True)
class _Type:
    kind: str
    """uint, int, address, bool, bytesN, bytes, string, array or tuple."""
    size: int = 0
    """Bits of an integer, length of bytesN, or length of a fixed array (-1: dynamic length)."""
    parts: tuple[_Type, ...] = ()
    is_dynamic: bool = False
    head: int = 32
    """Bytes in the enclosing head when the type is static."""


def decode_values(types: Sequence[str], raw: bytes) -> tuple[Any, ...]:
    """Decode a tuple of values. Integers as int, addresses as lower-case 0x hex, bytes as bytes, tuples as tuples.

    Raises:
        NotCanonical: anything that the canonical encoder would not have written.
        ValueError: a type that is not known.
    """
    values, end = _decode_parts(_parse_all(tuple(types)), raw, 0)
    if end != len(raw):
        raise NotCanonical("trailing bytes")
    return tuple(values)


@lru_cache(maxsize=4096)
def _parse_all(types: tuple[str, ...]) -> tuple[_Type, ...]:
    return tuple(_parse(kind, 0) for kind in types)


def split_types(inner: str) -> list[str]:
    """The comma-separated types of a tuple, without its parentheses."""
    types, depth, start = [], 0, 0
    for at, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            types.append(inner[start:at])
            start = at + 1
    return [*types, inner[start:]] if inner else []


def _parse(kind: str, depth: int) -> _Type:
    if depth > MAX_TYPE_DEPTH:
        raise ValueError(f"types nested deeper than {MAX_TYPE_DEPTH}")
    array = _ARRAY.fullmatch(kind)
    if array is not None:
        inner = _parse(array.group(1), depth + 1)
        length = int(array.group(2)) if array.group(2) else -1
        if length == 0 or inner.head == 0:
            raise ValueError(f"{kind!r} has elements without a size")
        dynamic = length < 0 or inner.is_dynamic
        return _Type("array", length, (inner,), dynamic, 32 if dynamic else length * inner.head)
    if kind.startswith("(") and kind.endswith(")"):
        parts = tuple(_parse(part, depth + 1) for part in split_types(kind[1:-1]))
        dynamic = any(part.is_dynamic for part in parts)
        return _Type("tuple", 0, parts, dynamic, 32 if dynamic else sum(part.head for part in parts))
    if kind in ("bytes", "string"):
        return _Type(kind, is_dynamic=True)
    if kind in ("address", "bool"):
        return _Type(kind)
    integer = _INTEGER.fullmatch(kind)
    if integer is not None and int(integer.group(2)) in range(8, 257, 8):
        return _Type("uint" if integer.group(1) else "int", int(integer.group(2)))
    fixed = _FIXED_BYTES.fullmatch(kind)
    if fixed is not None and 1 <= int(fixed.group(1)) <= 32:
        return _Type("bytesN", int(fixed.group(1)))
    if kind == "function":
        return _Type("bytesN", 24)
    raise ValueError(f"{kind!r} is not an ABI type")


def _decode_parts(parts: Sequence[_Type], raw: bytes, base: int) -> tuple[list[Any], int]:
    """Values of consecutive parts whose head starts at `base`; returns them and where their tails end."""
    tail = base + sum(part.head for part in parts)
    if tail > len(raw):
        raise NotCanonical("cut off")
    values: list[Any] = []
    at = base
    for part in parts:
        if part.is_dynamic:
            if _word(raw, at) != tail - base:
                raise NotCanonical("an offset that does not point behind the part before")
            value, tail = _decode_tail(part, raw, tail)
        else:
            value = _decode_static(part, raw, at)
        values.append(value)
        at += part.head
    return values, tail


def _decode_tail(part: _Type, raw: bytes, at: int) -> tuple[Any, int]:
    if part.kind == "tuple":
        values, end = _decode_parts(part.parts, raw, at)
        return tuple(values), end
    if part.kind == "array" and part.size >= 0:
        values, end = _decode_parts(part.parts * part.size, raw, at)
        return tuple(values), end
    if at + 32 > len(raw):
        raise NotCanonical("cut off")
    length, start = _word(raw, at), at + 32
    if part.kind == "array":
        if length * part.parts[0].head > len(raw) - start:
            raise NotCanonical("an array longer than the data")
        values, end = _decode_parts(part.parts * length, raw, start)
        return tuple(values), end
    padded = (length + 31) // 32 * 32
    if padded > len(raw) - start:
        raise NotCanonical("bytes longer than the data")
    content, padding = raw[start : start + length], raw[start + length : start + padded]
    if any(padding):
        raise NotCanonical("padding that is not zero")
    return (_text(content) if part.kind == "string" else content), start + padded


def _decode_static(part: _Type, raw: bytes, at: int) -> Any:
    if part.kind == "tuple":
        return tuple(_decode_parts(part.parts, raw, at)[0])
    if part.kind == "array":
        return tuple(_decode_parts(part.parts * part.size, raw, at)[0])
    word = raw[at : at + 32]
    if part.kind == "bytesN":
        if any(word[part.size :]):
            raise NotCanonical("padding that is not zero")
        return word[: part.size]
    if part.kind == "address":
        if any(word[:12]):
            raise NotCanonical("an address with non-zero upper bytes")
        return "0x" + word[12:].hex()
    number = int.from_bytes(word, "big", signed=part.kind == "int")
    if part.kind == "bool":
        if number > 1:
            raise NotCanonical("a bool that is neither 0 nor 1")
        return bool(number)
    bits = part.size
    if part.kind == "uint" and number >= 2**bits:
        raise NotCanonical(f"out of the range of uint{bits}")
    if part.kind == "int" and not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise NotCanonical(f"out of the range of int{bits}")
    return number


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 32], "big")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NotCanonical("text that is not UTF-8") from error
