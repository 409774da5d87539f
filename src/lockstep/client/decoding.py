"""Reads JSON into frozen dataclasses by their annotations, and writes them back. Unknown members are kept in `raw`.

Integers are read from decimal strings or JSON integers, bytes from 0x hex, times from RFC 3339. A member is looked for
under the name of its field, or under that in camelCase.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lockstep.client.errors import UnexpectedAnswer

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """What answers are read into."""

    raw: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """The whole JSON object, with members that this version of the client does not know."""


def read(kind: type[T], value: object, at: str = "answer") -> T:
    """The value of this type that JSON stands for.

    Raises:
        UnexpectedAnswer: a member is missing or of another type.
    """
    result: T = _read(kind, value, at)
    return result


def write(value: object) -> Any:
    """JSON of a dataclass: camelCase members, big integers as decimal strings where `wire` says so, bytes as 0x hex."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            camel(field.name): str(member) if field.metadata.get("wire") == "text" else write(member)
            for field in dataclasses.fields(value)
            if field.name != "raw"
            for member in (getattr(value, field.name),)
        }
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return [write(member) for member in value]
    return value


def camel(name: str) -> str:
    """snake_case as camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, at: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(arm for arm in get_args(kind) if arm is not type(None)), value, at)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UnexpectedAnswer(f"{at}: expected a list, was {_shown(value)}")
        return tuple(_read(get_args(kind)[0], member, f"{at}[{index}]") for index, member in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _read_object(kind, value, at)
    if kind is Any or origin is not None or kind in (Mapping, dict):
        return value
    return _read_scalar(kind, value, at)


def _read_object(kind: Any, value: Any, at: str) -> Any:
    if not isinstance(value, Mapping):
        raise UnexpectedAnswer(f"{at}: expected an object, was {_shown(value)}")
    hints, members = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name == "raw":
            members["raw"] = value
            continue
        names = (field.metadata.get("name", field.name), camel(field.name))
        name = next((name for name in names if name in value), None)
        if name is not None:
            members[field.name] = _read(hints[field.name], value[name], f"{at}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UnexpectedAnswer(f"{at}.{names[0]}: is missing")
    return kind(**members)


def _read_scalar(kind: Any, value: Any, at: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and not isinstance(value, bool):
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
            return int(value)
    if kind is str and isinstance(value, str):
        return value
    try:
        if kind is bytes and isinstance(value, str) and value.startswith("0x"):
            return bytes.fromhex(value[2:])
        if kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
    except ValueError as error:
        raise UnexpectedAnswer(f"{at}: expected {kind.__name__}, was {_shown(value)}") from error
    raise UnexpectedAnswer(f"{at}: expected {kind.__name__}, was {_shown(value)}")


def _shown(value: object) -> str:
    return repr(value)[:80]
