"""Strict reading of call arguments: a value, or nothing where the bytes could be read in two ways.

Accepts the canonical ABI encoding only, where the tails follow one another without gap or overlap. So the work grows
with the bytes, whatever lengths and offsets they claim; a general decoder can be made to read one tail many times over.
Knows no contract and no policy. Agrees with `chains.evm.abi_decode`, see the tests.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_INTEGER = re.compile(r"(u?)int([0-9]{1,3})")
_FIXED_BYTES = re.compile(r"bytes([0-9]{1,2})")
_ZERO_12 = bytes(12)
_MAX_NESTING = 12


def decode_arguments(types: tuple[str, ...], raw: bytes) -> tuple[Any, ...] | None:
    """The arguments behind the selector, or None when they are not the canonical encoding of these types.

    Addresses come in lower case, integers as int, bytes as bytes, structs and lists as tuples.
    """
    try:
        layout = _layout(types)
        values, end = layout.read(raw, 0)
    except _NotCanonical:
        return None
    return values if end == len(raw) else None


class _NotCanonical(Exception):
    """The bytes are not the canonical encoding, or the type is not one that we read."""


class _Node(ABC):
    """One type: how many bytes it takes in the head, and how it is read."""

    size: int
    """Bytes in the head of what encloses it; for a dynamic type the 32 of its offset."""
    dynamic: bool

    @abstractmethod
    def read(self, raw: bytes, at: int) -> tuple[Any, int]:
        """The value that begins at a position, and the position behind it."""


class _Word(_Node):
    """A type of one word."""

    size, dynamic = 32, False

    def __init__(self, kind: str) -> None:
        self.kind = kind
        integer, fixed = _INTEGER.fullmatch(kind), _FIXED_BYTES.fullmatch(kind)
        self.bits = int(integer.group(2)) if integer else 0
        self.width = int(fixed.group(1)) if fixed else 0
        if kind not in ("address", "bool") and not integer and not fixed:
            raise _NotCanonical
        self.signed = integer is not None and not integer.group(1)

    def read(self, raw: bytes, at: int) -> tuple[Any, int]:
        word = raw[at : at + 32]
        if len(word) != 32:
            raise _NotCanonical
        if self.kind == "address":
            if word[:12] != _ZERO_12:
                raise _NotCanonical
            return "0x" + word[12:].hex(), at + 32
        if self.width:
            if any(word[self.width :]):
                raise _NotCanonical
            return word[: self.width], at + 32
        number = int.from_bytes(word, "big", signed=self.signed)
        if self.kind == "bool":
            if number > 1:
                raise _NotCanonical
            return number == 1, at + 32
        half = 1 << (self.bits - 1)
        if not -half <= number < half if self.signed else number >> self.bits:
            raise _NotCanonical
        return number, at + 32


class _Blob(_Node):
    """`bytes` and `string`: a length, then the content, filled up with zeros."""

    size, dynamic = 32, True

    def __init__(self, text: bool) -> None:
        self.text = text

    def read(self, raw: bytes, at: int) -> tuple[Any, int]:
        length = _number(raw, at)
        start, end = at + 32, at + 32 + (length + 31) // 32 * 32
        if end > len(raw) or any(raw[start + length : end]):
            raise _NotCanonical
        content = raw[start : start + length]
        if not self.text:
            return content, end
        try:
            return content.decode(), end
        except UnicodeDecodeError:
            raise _NotCanonical from None


class _Tuple(_Node):
    """Structs, lists of fixed length and the arguments themselves: all heads, then all tails in order."""

    def __init__(self, parts: Sequence[_Node]) -> None:
        self.parts = parts
        self.head = sum(part.size for part in parts)
        self.dynamic = any(part.dynamic for part in parts)
        self.size = 32 if self.dynamic else self.head

    def read(self, raw: bytes, at: int) -> tuple[Any, int]:
        head, tail = at, at + self.head
        if tail > len(raw):
            raise _NotCanonical
        values = []
        for part in self.parts:
            if part.dynamic:
                if _number(raw, head) != tail - at:
                    raise _NotCanonical
                value, tail = part.read(raw, tail)
            else:
                value, _ = part.read(raw, head)
            values.append(value)
            head += part.size
        return tuple(values), tail


class _List(_Node):
    """A list of any length: the length, then its elements like a struct's members."""

    size, dynamic = 32, True

    def __init__(self, element: _Node) -> None:
        self.element = element

    def read(self, raw: bytes, at: int) -> tuple[Any, int]:
        length = _number(raw, at)
        if length * self.element.size > len(raw) - at - 32:
            raise _NotCanonical
        return _Tuple([self.element] * length).read(raw, at + 32)


def _number(raw: bytes, at: int) -> int:
    word = raw[at : at + 32]
    if len(word) != 32:
        raise _NotCanonical
    return int.from_bytes(word, "big")


@lru_cache(maxsize=1024)
def _layout(types: tuple[str, ...]) -> _Tuple:
    return _Tuple([_node(kind, 0) for kind in types])


def _node(kind: str, depth: int) -> _Node:
    if depth > _MAX_NESTING:
        raise _NotCanonical
    if kind.endswith("]"):
        start = kind.rindex("[")
        element, length = _node(kind[:start], depth + 1), kind[start + 1 : -1]
        if not length:
            return _List(element)
        if not length.isdecimal() or int(length) * element.size > 1 << 20:
            raise _NotCanonical  # longer than any calldata that we sign
        return _Tuple([element] * int(length))
    if kind.startswith("(") and kind.endswith(")"):
        return _Tuple([_node(part, depth + 1) for part in split_types(kind[1:-1])])
    return _Blob(kind == "string") if kind in ("bytes", "string") else _Word(kind)


def split_types(inner: str) -> list[str]:
    """The parts of a tuple type; commas inside of inner tuples do not count."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(inner[start:at])
            start = at + 1
    return [*parts, inner[start:]]
