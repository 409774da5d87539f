"""The outermost layer of every request: host, request id, security headers, figures, and the last net for errors.

Accepts ``X-Request-ID`` or W3C ``traceparent`` as the correlation id, which then stands in logs, events and the audit
log, and gives it back. Pure ASGI, so that a request costs no extra task.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.app.http.errors import HostNotAllowed, OriginNotAllowed
from lockstep.app.http.problems import problem_document, problem_headers, problem_response, unexpected
from lockstep.kit.errors import Refuse
from lockstep.kit.ids import CorrelationId, new_id
from lockstep.kit.telemetry import correlation_id

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{8,64}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_QUIET: Final = ("/health/", "/metrics")

_seconds = Histogram(
    "lockstep_http_request_seconds",
    "Duration of requests",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
_failures = Counter("lockstep_http_failures", "Requests that ended with an error nobody expected")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """ASGI middleware around everything else."""

    def __init__(
        self, app: ASGIApp, *, trusted_hosts: Iterable[str], allowed_origins: Iterable[str], is_https: bool
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in trusted_hosts)
        self._origins = frozenset(allowed_origins)
        headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-site",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
            "Cache-Control": "no-store",
        }
        if is_https:
            headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id, host, origin, traceparent = _read_headers(scope)
        token = correlation_id.set(request_id)
        started = time.perf_counter()
        status = 0
        echoed = [(b"x-request-id", request_id.encode())]
        if traceparent is not None:
            echoed.append((b"traceparent", traceparent))

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                given = {name.lower() for name, _ in headers}
                headers += echoed
                headers += [header for header in self._headers if header[0] not in given]
                message["headers"] = headers
            elif message["type"] == "websocket.accept":
                message["headers"] = [*message.get("headers", ()), *echoed]
            await send(message)

        try:
            self._check_caller(kind, host, origin)
            await self._app(scope, receive, send_with_headers)
        except Refuse as error:
            await _refuse(error, scope, receive, send_with_headers)
        except Exception as error:
            _failures.inc()
            failure = unexpected(error)
            if kind == "http" and status == 0:
                await problem_response(failure, scope)(scope, receive, send_with_headers)
            else:
                raise
        finally:
            if kind == "http":
                _record(scope, status, time.perf_counter() - started)
            correlation_id.reset(token)

    def _check_caller(self, kind: str, host: str, origin: str | None) -> None:
        if "*" not in self._hosts and host not in self._hosts:
            raise HostNotAllowed
        # WebSockets are not covered by CORS: a browser lets any page connect.
        if kind == "websocket" and origin is not None and "*" not in self._origins and origin not in self._origins:
            raise OriginNotAllowed


def _read_headers(scope: Scope) -> tuple[CorrelationId, str, str | None, bytes | None]:
    request_id = trace_id = traceparent = origin = None
    host = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = _without_port(value.decode("latin-1").lower())
        elif name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value):
                request_id = value.decode()
        elif name == b"traceparent":
            if found := _TRACEPARENT.fullmatch(value):
                traceparent, trace_id = value, found[1].decode()
        elif name == b"origin":
            origin = value.decode("latin-1")
    return CorrelationId(request_id or trace_id or new_id()), host, origin, traceparent


def _without_port(host: str) -> str:
    """Host without its port; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


async def _refuse(error: Refuse, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a refusal that was raised outside the routes; a WebSocket that is not open yet gets an HTTP answer."""
    if scope["type"] == "http":
        await problem_response(error, scope)(scope, receive, send)
        return
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    headers = {"Content-Type": "application/problem+json", **problem_headers(error)}
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.http_status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "websocket.http.response.body", "body": problem_document(error, scope["path"])})


def _record(scope: Scope, status: int, seconds: float) -> None:
    path = scope["path"]
    route = getattr(scope.get("route"), "path", "(none)")
    method = scope["method"] if scope["method"] in _METHODS else "(other)"
    _seconds.labels(method, route, str(status)).observe(seconds)
    if not path.startswith(_QUIET):
        note = log.debug if status < 400 and method in ("GET", "HEAD") else log.info
        note("request", method=method, path=path, status=status, ms=round(seconds * 1000, 2))
