"""Cursor paging: keyset on (sort key, id), an opaque cursor, stable under inserts."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lockstep.kit.errors import BadRequest

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 100


class BadCursor(BadRequest):
    """The cursor is not one that this list gave out."""

    code = "bad_cursor"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list and the way to the next one."""

    items: list[T]
    next_cursor: str | None


def encode_cursor(*key: str | int) -> str:
    """Cursor behind the row with this key."""
    return base64.urlsafe_b64encode(json.dumps(list(key), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[str | int, ...]:
    """The key in a cursor, checked for number and types of its parts.

    Raises:
        BadCursor: anything that `encode_cursor` did not make.
    """
    try:
        key = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadCursor from error
    if not isinstance(key, list) or [type(part) for part in key] != list(types):
        raise BadCursor
    if not all(_is_storable(part) for part in key):
        raise BadCursor
    return tuple(key)


def _is_storable(part: str | int) -> bool:
    """Whether a column may hold it: a bigint, or text without NUL and halves of surrogate pairs."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return not any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in part)


def page_of(rows: list[T], limit: int, key: Callable[[T], tuple[str | int, ...]]) -> Page[T]:
    """Cut `limit + 1` rows to a page."""
    if len(rows) <= limit:
        return Page(rows, None)
    rows = rows[:limit]
    return Page(rows, encode_cursor(*key(rows[-1])))
