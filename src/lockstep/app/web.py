"""The HTTP application of a container: shell, routers of all modules, stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from lockstep import auctions, custody, settlement, transactions
from lockstep.app.container import Container
from lockstep.app.http import HttpConfig, create_app
from lockstep.app.wiring import AttemptsUsedUp, SessionNotGranted
from lockstep.custody import CallerHasNoApp, CallerNotAllowed, OwnerRequired, PolicyDenied, WalletNotFound


def make_app(container: Container, lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None) -> FastAPI:
    """Build the application; `lifespan` opens and closes the container."""
    http, limits = container.settings.http, container.settings.limits
    signed = (custody.AuthorizationInsufficient, custody.RequestReplayed)
    return create_app(
        HttpConfig(
            public_url=http.public_url,
            trusted_hosts=http.trusted_hosts,
            cors_origins=http.cors_origins,
            max_body_bytes=http.max_body_bytes,
            per_address=limits.per_address,
            per_app=limits.per_app,
            per_user=limits.per_user,
            limits_url=limits.storage_url.get_secret_value() if limits.storage_url else None,
        ),
        checker=container.authenticator,
        signatures=custody.RequestSignatures(http.public_url, container.clock),
        probes=container.probes(),
        routers=lambda authenticate: [
            custody.router(
                container.custody,
                container.database,
                authenticate,
                engine_errors=(transactions.NonceTaken, transactions.IdempotencyKeyReused),
            ),
            custody.access_router(container.access, authenticate),
            custody.authority_router(container.authority, authenticate),
            custody.approval_router(container.approvals, authenticate),
            custody.app_router(container.apps, authenticate),
            custody.user_router(container.users, authenticate),
            custody.account_router(container.accounts, authenticate),
            custody.switch_router(container.switches, authenticate),
            custody.trial_router(container.trials, authenticate),
            custody.condition_set_router(container.condition_sets, authenticate),
            custody.aggregation_router(container.aggregations, authenticate),
            transactions.router(
                container.transactions,
                container.database,
                authenticate,
                signing_errors=(CallerHasNoApp, CallerNotAllowed, custody.RequestReplayed, *custody.SIGNING_REFUSALS),
            ),
            auctions.router(
                container.auctions,
                authenticate,
                fill_errors=(WalletNotFound, OwnerRequired, SessionNotGranted, PolicyDenied, *signed),
                cancel_errors=(PolicyDenied, AttemptsUsedUp, *signed),
            ),
            settlement.router(container.swaps, authenticate),
        ],
        websockets=container.stream.routes(),
        lifespan=lifespan,
    )
