"""An app behind the real HTTP shell, whose owners sign their requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.support.attacker import Attacker, attacking
from tests.support.custody import ALLOW_ALL, ORIGIN, World, build
from tests.support.keys import Key, signed_headers

from lockstep.app.http import HttpConfig, create_app
from lockstep.custody import (
    ApprovalService,
    AuthorityService,
    RequestSignatures,
    ResponseBox,
    access_router,
    approval_router,
    authority_router,
    router,
)
from lockstep.kit.clock import epoch_ms
from lockstep.kit.database import Database
from lockstep.kit.ids import new_id


@dataclass(frozen=True)
class Caller:
    """A client with its credentials, and the keys that sign what it writes."""

    world: World
    client: httpx.AsyncClient
    headers: dict[str, str] = field(repr=False)
    keys: tuple[Key, ...] = ()

    def signed(self, *keys: Key) -> Caller:
        return replace(self, keys=keys)

    def headers_for(self, method: str, path: str, body: Any, key: str | None, seconds: int = 900) -> dict[str, str]:
        """The headers of a request, signed for so many seconds."""
        plain = {name.lower(): value for name, value in self.headers.items()}
        plain |= {"idempotency-key": key} if key else {}
        if not self.keys:
            return plain
        expires_ms = epoch_ms(self.world.clock.now() + timedelta(seconds=seconds))
        return plain | signed_headers(
            method,
            f"{ORIGIN}/v1{path}",
            body,
            *self.keys,
            expires_ms=expires_ms,
            app_id=plain.get("x-app-id"),
            idempotency_key=key,
        )

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        self.world.clock.advance(timedelta(milliseconds=1))  # so that no two requests are the same
        sent = headers if headers is not None else self.headers_for(method, path, body, key)
        return await self.client.request(method, f"/v1{path}", json=body, headers=sent)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def done(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """The answer of what must succeed."""
        answer = await self.call(method, path, body, key)
        assert answer.status_code < 300, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    async def refused(
        self, status: int, code: str, method: str, path: str, body: Any = None, key: str | None = None
    ) -> dict[str, Any]:
        """The problem of what must not succeed."""
        answer = await self.call(method, path, body, key)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        problem: dict[str, Any] = answer.json()
        assert problem["code"] == code, answer.text
        return problem

    # --- what tests need ready ---

    async def register(self, key: Key, **more: Any) -> str:
        return str((await self.done("POST", "/authorization-keys", {"public_key": key.text, **more}))["id"])

    async def quorum(self, threshold: int, *keys: Key, **more: Any) -> str:
        """A quorum of keys that are registered here."""
        ids = [await self.register(key) for key in keys]
        body = {"authorization_threshold": threshold, "authorization_key_ids": ids, **more}
        return str((await self.done("POST", "/key-quorums", body))["id"])

    async def policy(self, rules: list[dict[str, Any]] | None = None, **more: Any) -> str:
        body = {"name": "p", "chain_type": "ethereum", "rules": rules or ALLOW_ALL, **more}
        return str((await self.done("POST", "/policies", body))["id"])

    async def wallet(self, **more: Any) -> dict[str, Any]:
        """A wallet that may sign everything."""
        body = {"policy_ids": [await self.policy()], **more}
        made: dict[str, Any] = await self.done("POST", "/wallets", body)
        return made


@pytest.fixture
def world(database: Database) -> World:
    return build(database)


@pytest.fixture
def authority(world: World) -> AuthorityService:
    return AuthorityService(world.database, world.audit, world.seals, world.clock)


@pytest.fixture
def approvals(world: World, authority: AuthorityService) -> ApprovalService:
    return ApprovalService(
        database=world.database,
        custody=world.custody,
        authority=authority,
        audit=world.audit,
        seals=world.seals,
        box=ResponseBox(bytes(32)),
        origin=ORIGIN,
        clock=world.clock,
    )


@pytest.fixture
async def client(
    world: World, authority: AuthorityService, approvals: ApprovalService
) -> AsyncIterator[httpx.AsyncClient]:
    web = create_app(
        HttpConfig(public_url=ORIGIN, trusted_hosts=["lockstep.example"], per_address="10000/second"),
        checker=world.authenticator,
        signatures=RequestSignatures(ORIGIN, world.clock),
        probes={},
        routers=lambda authenticate: [
            router(world.custody, world.database, authenticate),
            access_router(world.access, authenticate),
            authority_router(authority, authenticate),
            approval_router(approvals, authenticate),
        ],
    )
    # The address that the request comes in by is not the one that is signed.
    transport = httpx.ASGITransport(web, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://lockstep.example:8080") as client:
        yield client


async def new_app(world: World, client: httpx.AsyncClient, name: str = "Alpha") -> Caller:
    app, secret = await world.access.create_app(world.admin, name)
    return Caller(world, client, {"X-App-Id": app.id, "X-App-Secret": secret.text})


@pytest.fixture
async def app(world: World, client: httpx.AsyncClient) -> Caller:
    return await new_app(world, client)


@pytest.fixture
async def other_app(world: World, client: httpx.AsyncClient) -> Caller:
    return await new_app(world, client, "Beta")


def once() -> str:
    """An idempotency key that nobody has used."""
    return new_id()


@pytest.fixture
async def attacker(admin_dsn: str) -> AsyncIterator[Attacker]:
    async with attacking(admin_dsn) as found:
        yield found
