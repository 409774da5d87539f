"""Bodies: bounded, JSON only, and only JSON that every reader understands the same way.

Reads the whole body before a route runs, so that routes see all of it or nothing. Does not know any shape.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.app.http.errors import (
    BodyTooLarge,
    DuplicateMember,
    MalformedJson,
    MediaTypeNotSupported,
    NestedTooDeep,
    UnusableText,
)
from lockstep.app.http.problems import problem_response
from lockstep.kit.errors import Refuse

MAX_DEPTH: Final = 32
"""Deep enough for EIP-712 messages; far from where recursive readers break."""


class BodyGuard:
    """ASGI middleware that hands a checked body on."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_target(scope)
            message = await self._read(scope, receive)
        except Refuse as error:
            # The rest of a refused body is not read, so the connection cannot be used again.
            await problem_response(error, scope, {"Connection": "close"})(scope, receive, send)
            return
        if message is None:
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return message

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> Message | None:
        """The body as one message; None when the caller has gone."""
        content_type = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit() or int(value) > self._max_bytes:
                    raise BodyTooLarge(f"expected at most {self._max_bytes} bytes")
            elif name == b"content-type":
                content_type = value
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_bytes:
                raise BodyTooLarge(f"expected at most {self._max_bytes} bytes")
            if chunk:
                chunks.append(chunk)
            if not message.get("more_body", False):
                break
        body = b"".join(chunks)
        if body:
            if not is_json(content_type):
                raise MediaTypeNotSupported("expected the header Content-Type: application/json")
            read_json(body)
        return {"type": "http.request", "body": body, "more_body": False}


def check_target(scope: Scope) -> None:
    """Refuse a path or query with text that no database stores.

    Raises:
        UnusableText: a NUL character.
    """
    if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
        raise UnusableText("the address must not contain a NUL character")


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type header means JSON in UTF-8."""
    kind, _, parameters = content_type.decode("latin-1").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    kind = kind.strip()
    is_right_kind = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    return is_right_kind and charset in ("", "utf-8", "utf8")


def read_json(body: bytes | str) -> Any:
    """Parse JSON strictly.

    Raises:
        MalformedJson: not JSON (RFC 8259), not UTF-8, or a number that is none.
        DuplicateMember: an object names a member twice.
        NestedTooDeep: more than `MAX_DEPTH` levels.
        UnusableText: a NUL character or half of a surrogate pair in a string.
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson("the body is not UTF-8") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise NestedTooDeep(f"expected at most {MAX_DEPTH} levels")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded
        )
    except (ValueError, RecursionError) as error:
        raise MalformedJson from error
    if "\\u0000" in text or "\\ud" in text or "\\uD" in text:
        _check_text(value)
    return value


def _depth(text: str) -> int:
    """Greatest nesting of brackets outside strings."""
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded(text: str) -> int:
    if len(text) > 100:
        raise ValueError("a number of more than 100 digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond what a double can hold")
    return value


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise UnusableText("a string holds a NUL character or half of a surrogate pair")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check_text(member)
    elif isinstance(value, list):
        for member in value:
            _check_text(member)
