"""Puts the HTTP side together: shell around the modules' routers. Builds no service and reads no settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from lockstep import __version__
from lockstep.app.http.authentication import Authenticate, CredentialsChecker, make_authenticate
from lockstep.app.http.body import BodyGuard
from lockstep.app.http.edge import Edge
from lockstep.app.http.health import Probe, ReadyCheck, health_router
from lockstep.app.http.limits import Limiter, RateLimits
from lockstep.app.http.openapi import make_openapi
from lockstep.app.http.problems import install_problem_handlers
from lockstep.custody import RequestSignatures

DESCRIPTION = """\
Wallets, swaps and settlement behind one policy-guarded signer.

Amounts are decimal strings of the smallest unit, times RFC 3339 in UTC, ids UUIDs, chains CAIP-2, assets CAIP-19.
Errors are problem documents (RFC 9457) with a stable `code`. Writes that move value or sign need an `Idempotency-Key`.
Changes are followed on the WebSocket `/v1/stream`."""


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """What the shell must know."""

    public_url: str
    trusted_hosts: Sequence[str]
    cors_origins: Sequence[str] = ()
    max_body_bytes: int = 1 << 20
    per_address: str = "50/second;1000/minute"
    per_app: str = "2000/second"
    per_user: str = "100/second"
    limits_url: str | None = field(default=None, repr=False)


MakeRouters = Callable[[Authenticate], Sequence[APIRouter]]
"""Builds the modules' routers for ``/v1``, given the dependency that says who calls."""


def create_app(
    config: HttpConfig,
    *,
    checker: CredentialsChecker,
    probes: Mapping[str, Probe],
    routers: MakeRouters,
    websockets: Sequence[BaseRoute] = (),
    signatures: RequestSignatures | None = None,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """The application.

    Args:
        checker: custody's authenticator.
        probes: by part ("database", "chain eip155:1", "signer"): what `/health/ready` asks.
        routers: the modules' routers, mounted under ``/v1``.
        websockets: routes of the stream, mounted as they are.
        signatures: reads owners' signatures of requests.
        lifespan: opens what the routes need and closes it after the last request.
    """
    app = FastAPI(
        title="Lockstep",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    limiter = Limiter(
        per_address=config.per_address,
        per_app=config.per_app,
        per_user=config.per_user,
        storage_url=config.limits_url,
    )
    authenticate = make_authenticate(checker, limiter, signatures)
    app.include_router(health_router(ReadyCheck(probes)))
    for router in routers(authenticate):
        app.include_router(router, prefix="/v1")
    app.router.routes.extend(websockets)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(make_openapi(app, authenticate))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema

    @app.get("/openapi.json", include_in_schema=False)
    async def get_openapi() -> dict[str, Any]:
        return openapi()

    install_problem_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyGuard, max_bytes=config.max_body_bytes)
    app.add_middleware(RateLimits, limiter=limiter)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "X-App-Id",
                "X-App-Secret",
                "X-Authorization-Key-Id",
                "X-Authorization-Signature",
                "X-Request-Expiry",
                "X-Request-ID",
                "traceparent",
            ],
            expose_headers=[
                "Idempotency-Replay",
                "Retry-After",
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
                "X-Request-ID",
            ],
            max_age=600,
        )
    app.add_middleware(
        Edge,
        trusted_hosts=config.trusted_hosts,
        allowed_origins=[config.public_url, *config.cors_origins],
        is_https=config.public_url.startswith("https://"),
    )
    return app
