"""Rate limits: by network address until a caller is known, by app and by user after that.

A caller with credentials is counted by its address only when nobody found them right, so that a product's server does
not share one count with its address, and a header full of anything buys nothing. Counts live in the process, or in a
store that several machines share; when that store fails, requests go on uncounted, because a cache must not take the
API down.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep.app.http.errors import RateLimited
from lockstep.custody import Principal
from lockstep.kit.settings import SettingsInvalid

log = structlog.get_logger(__name__)

SCOPE_KEY: Final = "lockstep.rate"
_UNCOUNTED: Final = ("/health/", "/metrics")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the narrowest limit that a request was counted against."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-ratelimit-limit", str(self.limit).encode()),
            (b"x-ratelimit-remaining", str(self.remaining).encode()),
            (b"x-ratelimit-reset", str(self.reset_seconds).encode()),
        ]


@dataclass(slots=True)
class _Note:
    """Travels with a request: the allowance that its answer shows, and whether its credentials were found right."""

    limiter: Limiter
    address: str
    allowance: Allowance | None = None
    is_known: bool = False


class Limiter:
    """Counts requests per kind of caller."""

    def __init__(self, *, per_address: str, per_app: str, per_user: str, storage_url: str | None = None) -> None:
        """
        Raises:
            SettingsInvalid: a limit or the address of the store cannot be read.
        """
        try:
            self._rules: dict[str, Sequence[RateLimitItem]] = {
                "address": parse_many(per_address),
                "app": parse_many(per_app),
                "user": parse_many(per_user),
            }
        except ValueError as error:
            raise SettingsInvalid(f'a rate limit cannot be read; expected for example "100/second": {error}') from None
        try:
            storage = (
                storage_from_string(f"async+{storage_url}", implementation="valkey")  # speaks to Redis as well
                if storage_url
                else storage_from_string("async+memory://")
            )
        except ConfigurationError as error:
            raise SettingsInvalid(f"the store of the rate limits cannot be used: {error}") from None
        assert isinstance(storage, Storage)
        self._strategy = FixedWindowRateLimiter(storage)

    async def count(self, kind: str, who: str) -> Allowance | None:
        """Count one request; None when the store cannot say.

        Raises:
            RateLimited: with the seconds after which the next one is allowed.
        """
        try:
            narrowest: Allowance | None = None
            for rule in self._rules[kind]:
                allowed = await self._strategy.hit(rule, kind, who)
                stats = await self._strategy.get_window_stats(rule, kind, who)
                reset = _seconds_until(stats.reset_time)
                if not allowed:
                    raise RateLimited(
                        f"at most {rule.amount} requests per {rule.multiples} {rule.GRANULARITY.name}",
                        limit=rule.amount,
                        retry_after_seconds=reset,
                    )
                if narrowest is None or stats.remaining < narrowest.remaining:
                    narrowest = Allowance(rule.amount, max(0, stats.remaining), reset)
        except RateLimited:
            raise
        except Exception as error:  # each store has its own errors, and none may stop a request
            log.warning("rate_limits_off", error=type(error).__name__)
            return None
        return narrowest

    async def is_spent(self, kind: str, who: str) -> RateLimited | None:
        """Whether a caller has no request left, without counting one."""
        try:
            for rule in self._rules[kind]:
                if not await self._strategy.test(rule, kind, who):
                    stats = await self._strategy.get_window_stats(rule, kind, who)
                    after = _seconds_until(stats.reset_time)
                    return RateLimited(
                        f"at most {rule.amount} requests per {rule.multiples} {rule.GRANULARITY.name}",
                        limit=rule.amount,
                        retry_after_seconds=after,
                    )
        except Exception as error:  # see count
            log.warning("rate_limits_off", error=type(error).__name__)
        return None

    async def count_principal(self, scope: Scope, principal: Principal) -> None:
        """Count a request of a known caller.

        Raises:
            RateLimited: by its app, or by the user, session or address behind it.
        """
        note = scope.get(SCOPE_KEY)
        if note is not None:
            note.is_known = True
        allowance: Allowance | None = None
        if principal.app_id is not None:
            allowance = await self.count("app", principal.app_id)
        if principal.kind not in ("app", "module"):
            own = await self.count("user", principal.label)
            if allowance is None or (own is not None and own.remaining < allowance.remaining):
                allowance = own
        if note is not None:
            note.allowance = allowance


class RateLimits:
    """ASGI middleware: counts callers without credentials, and with credentials that nobody found right, by address."""

    def __init__(self, app: ASGIApp, limiter: Limiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(_UNCOUNTED):
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("unknown", 0))[0]
        brings_credentials = any(name in (b"authorization", b"x-app-secret") for name, _ in scope["headers"])
        note = scope[SCOPE_KEY] = _Note(self._limiter, address)
        if not brings_credentials:
            note.allowance = await self._limiter.count("address", address)
        elif (refusal := await self._limiter.is_spent("address", address)) is not None:
            raise refusal

        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                if note.allowance is not None:
                    message["headers"] = [*message.get("headers", ()), *note.allowance.headers()]
            await send(message)

        await self._app(scope, receive, send_with_headers)
        # Faults of ours count against nobody: else a product's server would be shut out for longer than they last.
        if brings_credentials and not note.is_known and 0 < status < 500:
            with suppress(RateLimited):
                await self._limiter.count("address", address)


async def count_frame(scope: Scope, principal: Principal | None) -> None:
    """Count a frame of an open WebSocket that costs as much as a request: by address while nobody is known.

    Raises:
        RateLimited: see `Limiter`.
    """
    note = scope.get(SCOPE_KEY)
    if note is None:
        return
    if principal is None:
        await note.limiter.count("address", note.address)
    else:
        await note.limiter.count_principal(scope, principal)


def _seconds_until(moment: float) -> int:
    """Whole seconds, at least one, until a moment of the host's clock, in which the library counts."""
    return max(1, math.ceil(moment - time.time()))  # house: direct-clock, because the library counts so
