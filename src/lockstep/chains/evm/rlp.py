"""RLP, both ways, canonical only. Knows byte strings and lists; numbers are the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Item: TypeAlias = "bytes | Sequence[Item]"
Decoded: TypeAlias = "bytes | list[Decoded]"

MAX_DEPTH = 8


def encode(item: Item) -> bytes:
    """RLP of a byte string or a list of items."""
    if isinstance(item, bytes | bytearray):
        if len(item) == 1 and item[0] < 0x80:
            return bytes(item)
        return _prefix(0x80, len(item)) + bytes(item)
    body = b"".join(encode(part) for part in item)
    return _prefix(0xC0, len(body)) + body


def decode(raw: bytes) -> Decoded:
    """The one item that `raw` holds.

    Raises:
        ValueError: cut off, trailing bytes, a length that is not minimal, a single byte with a prefix, or nested deeper than 8.
    """
    item, end = _decode(raw, 0, len(raw), 0)
    if end != len(raw):
        raise ValueError("trailing bytes behind the RLP item")
    return item


def encode_number(value: int) -> bytes:
    """Big-endian without leading zeros; zero is the empty string."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_number(item: Decoded) -> int:
    """The number of a byte string.

    Raises:
        ValueError: a list, or a leading zero.
    """
    if not isinstance(item, bytes):
        raise ValueError("expected a number, was a list")
    if item[:1] == b"\x00":
        raise ValueError("a number with a leading zero")
    return int.from_bytes(item, "big")


def _prefix(base: int, length: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = encode_number(length)
    return bytes([base + 55 + len(size)]) + size


def _decode(raw: bytes, at: int, end: int, depth: int) -> tuple[Decoded, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"RLP lists nested deeper than {MAX_DEPTH}")
    if at >= end:
        raise ValueError("RLP is cut off")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    is_list = first >= 0xC0
    short = first - (0xC0 if is_list else 0x80)
    start, length = (at + 1, short) if short < 56 else _long_length(raw, at, end, short - 55)
    stop = start + length
    if stop > end:
        raise ValueError("RLP is cut off")
    if not is_list:
        if length == 1 and raw[start] < 0x80:
            raise ValueError("a single byte below 0x80 must not have a prefix")
        return raw[start:stop], stop
    items: list[Decoded] = []
    while start < stop:
        item, start = _decode(raw, start, stop, depth + 1)
        items.append(item)
    return items, stop


def _long_length(raw: bytes, at: int, end: int, size: int) -> tuple[int, int]:
    start = at + 1 + size
    if start > end:
        raise ValueError("RLP is cut off")
    length = int.from_bytes(raw[at + 1 : start], "big")
    if raw[at + 1] == 0 or length < 56:
        raise ValueError("an RLP length that is not minimal")
    return start, length
