"""Errors on the wire: RFC 9457 problem documents with a stable code and the request id.

Says nothing of an error that nobody expected beyond its request id, and never repeats what a caller sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from lockstep.app.http.errors import (
    BodyTooLarge,
    InternalError,
    MalformedJson,
    MediaTypeNotSupported,
    MethodNotAllowed,
    RouteNotFound,
    ValidationFailed,
)
from lockstep.kit.errors import BadRequest, LockstepError, Stop
from lockstep.kit.problems import PROBLEM_JSON
from lockstep.kit.telemetry import correlation_id

log = structlog.get_logger(__name__)

MAX_FAULTS = 50
_BY_STATUS: dict[int, type[LockstepError]] = {
    400: BadRequest,
    404: RouteNotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: MediaTypeNotSupported,
}


def problem_document(error: LockstepError, instance: str) -> bytes:
    """The problem as JSON."""
    document = {**error.problem(), "instance": instance, "request_id": correlation_id.get()}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def problem_headers(error: LockstepError) -> dict[str, str]:
    """Headers that belong to an error beside its document."""
    headers: dict[str, str] = {}
    after = error.fields.get("retry_after_seconds", getattr(error, "retry_after_seconds", None))
    if after is not None:
        headers["Retry-After"] = str(after)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def problem_response(error: LockstepError, scope: Scope, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error."""
    return Response(
        problem_document(error, scope.get("path", "")),
        status_code=error.http_status,
        headers={**problem_headers(error), **(headers or {})},
        media_type=PROBLEM_JSON,
    )


def unexpected(error: Exception) -> InternalError:
    """Log an error that nobody expected; the answer says only that it happened."""
    log.error("request_failed", error=type(error).__name__, exc_info=error)
    return InternalError()


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every refusal, known or not, with a problem document."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, LockstepError)
        if isinstance(error, Stop) or error.http_status >= 500:
            log.error("request_stopped", code=error.code, detail=error.detail, exc_info=error)
        return problem_response(error, request.scope)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(validation_problem(error.errors()), request.scope)

    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = _BY_STATUS.get(error.status_code)
        if kind is None:
            return problem_response(unexpected(error), request.scope)
        allow = (error.headers or {}).get("Allow")
        detail = None
        if kind is RouteNotFound:
            detail = f"there is no {request.url.path[:100]}; /openapi.json shows what there is"
        elif kind is MethodNotAllowed:
            detail = f"expected {allow or 'another method'}, was {request.method}"
        return problem_response(kind(detail), request.scope, {"Allow": allow} if allow else None)

    app.add_exception_handler(LockstepError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_framework)


def validation_problem(faults: Sequence[Mapping[str, Any]]) -> LockstepError:
    """One problem for all faults of a request: where (part of the request and JSON pointer) and what, never the value."""
    if any(fault["type"] == "json_invalid" for fault in faults):
        return MalformedJson()
    errors = []
    for fault in faults[:MAX_FAULTS]:
        part, *path = fault["loc"] or ("body",)
        errors.append(
            {
                "in": str(part),
                "pointer": "".join(f"/{_escape(step)}" for step in path),
                "kind": str(fault["type"]),
                "detail": str(fault["msg"]).removeprefix("Value error, ")[:300],
            }
        )
    words = "; ".join(f"{each['in']}{each['pointer']}: {each['detail']}" for each in errors[:3])
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return ValidationFailed(f"{words}{more}", errors=errors)


def _escape(step: object) -> str:
    """One step of a JSON pointer (RFC 6901), short enough to be shown."""
    return str(step)[:64].replace("~", "~0").replace("/", "~1")
