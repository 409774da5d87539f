"""One call, described once for both clients: what is sent, how the answer is read, whether it may be sent twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from lockstep.client.decoding import read

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class Request(Generic[T]):
    """A call. It keeps its idempotency key over every retry."""

    method: str
    path: str
    parse: Callable[[Any], T] = field(repr=False)
    """Reads the JSON of a successful answer; None stands for an empty one."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    idempotency_key: str | None = None
    is_repeatable: bool = False
    """Whether sending it again after a lost answer does nothing twice."""
    accepts: frozenset[int] = frozenset()
    """Statuses above 399 whose answer is read like a success."""

    def headers(self) -> dict[str, str]:
        return {} if self.idempotency_key is None else {"Idempotency-Key": self.idempotency_key}


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next_cursor: str | None
    """Where the next page begins; None on the last one."""


@dataclass(frozen=True, kw_only=True)
class Wait(Generic[T]):
    """Something to be asked again and again until it is so."""

    request: Request[T]
    is_done: Callable[[T], bool] = field(repr=False)
    what: str
    """For the message when it does not happen in time."""
    timeout_seconds: float
    every_seconds: float = 0.25


def get(path: str, parse: Callable[[Any], T], **query: str | int | None) -> Request[T]:
    """A read."""
    return Request(method="GET", path=path, parse=parse, query=_given(query), is_repeatable=True)


def listing(path: str, kind: type[U], **query: str | int | None) -> Request[Page[U]]:
    """A read of one page."""

    def parse(document: Any) -> Page[U]:
        return Page(
            items=read(tuple[kind, ...], document.get("items")),  # type: ignore[valid-type]  # a type at run time
            next_cursor=document.get("next_cursor"),
        )

    return get(path, parse, **query)


def send(
    method: str,
    path: str,
    parse: Callable[[Any], T],
    body: Any = None,
    *,
    idempotency_key: str | None = None,
    is_repeatable: bool = False,
) -> Request[T]:
    """A write. With an idempotency key it may be repeated."""
    return Request(
        method=method,
        path=path,
        parse=parse,
        body=body,
        idempotency_key=idempotency_key,
        is_repeatable=is_repeatable or idempotency_key is not None,
    )


def segment(text: str) -> str:
    """One segment of a path, so that an id can never become two, or none.

    Raises:
        ValueError: nothing that a segment can hold.
    """
    if text in ("", ".", ".."):
        raise ValueError(f"expected an id, was {text!r}")
    return quote(text, safe="")


def new_idempotency_key() -> str:
    """A key for one logical call."""
    return secrets.token_hex(16)


def of(kind: type[T]) -> Callable[[Any], T]:
    """Reads answers into a type."""
    return lambda document: read(kind, document)


def nothing(_: Any) -> None:
    """The answer is empty."""
    return


def next_page(request: Request[Page[T]], cursor: str) -> Request[Page[T]]:
    """The same list from a cursor on."""
    return replace(request, query={**request.query, "cursor": cursor})


def given(**members: object) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _given(query: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}
