"""Canonical JSON (RFC 8785): one text for each value, so that it can be hashed, signed and compared.

`canonical` is for records of our own, `canonical_json` for JSON that came from elsewhere. Both give the same bytes for
what both take. Parses nothing: that an object has no member twice is seen while it is read (`app.http.body`).
"""

from __future__ import annotations

import json
from typing import Any, Final

import rfc8785

_SAFE_INTEGER: Final = 2**53 - 1


def canonical(value: object) -> bytes:
    """RFC 8785 form of strings, booleans, nulls, whole numbers up to 2^53 - 1, lists and objects with ASCII names.

    Within these limits the standard encoder with sorted names gives exactly that form, ten times faster than a general
    implementation (compared in the tests).

    Raises:
        ValueError: a value outside these limits.
    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _check(value: object) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is dict:
        for name, member in value.items():  # type: ignore[attr-defined]  # narrowed by the exact type above
            if type(name) is not str or not name.isascii():
                raise ValueError(f"expected an ASCII member name, was {name!r}")
            _check(member)
    elif kind is list or kind is tuple:
        for member in value:  # type: ignore[attr-defined]  # narrowed by the exact type above
            _check(member)
    elif not (kind is int and -_SAFE_INTEGER <= value <= _SAFE_INTEGER):  # type: ignore[operator]  # an int here
        raise ValueError(f"expected text, a whole number up to 2^53 - 1 or a nesting of these, was {kind.__name__}")


def canonical_json(value: Any) -> bytes:
    """RFC 8785 form of any JSON value.

    Raises:
        ValueError: a whole number beyond 2^53 - 1, which other readers would round; a number that is none; half of a
            surrogate pair; something that is no JSON.
    """
    return rfc8785.dumps(value)
