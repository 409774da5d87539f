"""CBOR as Cardano uses it: a reader for which no bytes have two meanings, and a writer of the shortest form.

Reads definite and indefinite lengths, since nodes take both; refuses doubled map keys, floats, unknown simple values and
trailing bytes. Numbers are those of 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 16
_INDEFINITE, _BREAK = 31, 0xFF


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with its tag."""

    tag: int
    value: Any


def read(raw: bytes) -> Any:
    """The one item that `raw` holds: int, bytes, str, list, dict, `Tagged`, bool or None.

    Raises:
        ValueError: cut off, trailing bytes, nested too deep, or something that is not read here.
    """
    reader = _Reader(raw)
    item = reader.item(0)
    if reader.at != len(raw):
        raise ValueError("trailing bytes behind the CBOR item")
    return item


def write(item: Any) -> bytes:
    """The shortest encoding; maps keep the order that they are given in."""
    if item is None:
        return b"\xf6"
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return _head(0, item) if item >= 0 else _head(1, -1 - item)
    if isinstance(item, bytes):
        return _head(2, len(item)) + item
    if isinstance(item, str):
        content = item.encode()
        return _head(3, len(content)) + content
    if isinstance(item, Mapping):
        return _head(5, len(item)) + b"".join(write(key) + write(value) for key, value in item.items())
    if isinstance(item, Tagged):
        return _head(6, item.tag) + write(item.value)
    if isinstance(item, Sequence):
        return _head(4, len(item)) + b"".join(write(part) for part in item)
    raise TypeError(f"a {type(item).__name__} has no place here")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    raise ValueError("a number of more than 64 bits")


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def item(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"CBOR nested deeper than {MAX_DEPTH}")
        first = self._take(1)[0]
        major, code = first >> 5, first & 31
        if major == 7:
            return self._simple(code)
        if code == _INDEFINITE:
            return self._indefinite(major, depth)
        number = self._number(code)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self._take(number)
        if major == 3:
            return self._take(number).decode()
        if major == 4:
            return [self.item(depth + 1) for _ in range(self._count(number, 1))]
        if major == 5:
            return _mapping([self._pair(depth) for _ in range(self._count(number, 2))])
        return Tagged(number, self.item(depth + 1))

    def _indefinite(self, major: int, depth: int) -> Any:
        if major == 2:
            parts = []
            while not self._ends():
                first = self._take(1)[0]
                if first >> 5 != 2 or first & 31 == _INDEFINITE:
                    raise ValueError("a chunk that is not bytes")
                parts.append(self._take(self._number(first & 31)))
            return b"".join(parts)
        if major == 4:
            items = []
            while not self._ends():
                items.append(self.item(depth + 1))
            return items
        if major == 5:
            pairs = []
            while not self._ends():
                pairs.append(self._pair(depth))
            return _mapping(pairs)
        raise ValueError("a length that is left open where it may not be")

    def _pair(self, depth: int) -> tuple[Any, Any]:
        return self.item(depth + 1), self.item(depth + 1)

    def _simple(self, code: int) -> bool | None:
        if code not in (20, 21, 22):
            raise ValueError("a float, or a simple value that is not known")
        return {20: False, 21: True, 22: None}[code]

    def _number(self, code: int) -> int:
        if code < 24:
            return code
        if code > 27:
            raise ValueError("a length that CBOR does not have")
        return int.from_bytes(self._take(1 << code - 24), "big")

    def _count(self, number: int, least: int) -> int:
        """A length that the bytes can hold: a short input may claim a giant list."""
        if number * least > len(self._raw) - self.at:
            raise ValueError("CBOR is cut off")
        return number

    def _ends(self) -> bool:
        if self._raw[self.at : self.at + 1] == bytes([_BREAK]):
            self.at += 1
            return True
        return False

    def _take(self, size: int) -> bytes:
        taken = self._raw[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError("CBOR is cut off")
        self.at += size
        return taken


def _mapping(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    kinds: set[tuple[type, Any]] = set()
    for key, value in pairs:
        if type(key) not in (int, bytes, str):
            raise ValueError("a map key that is no number, bytes or text")
        if (type(key), key) in kinds:
            raise ValueError("a map names a key twice")
        kinds.add((type(key), key))
        found[key] = value
    return found
