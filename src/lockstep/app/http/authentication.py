"""From headers to a principal, as a dependency of routes. Custody checks the credentials; this only finds and counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from starlette.requests import Request
from starlette.types import Scope

from lockstep.app.http.limits import Limiter
from lockstep.custody import NO_BODY, CredentialsMissing, Principal, RequestSignatures

Authenticate = Callable[[Request], Awaitable[Principal]]
"""What routers take: ``principal: Annotated[Principal, Depends(authenticate)]``."""


class CredentialsChecker(Protocol):
    """Custody's authenticator."""

    async def authenticate(
        self,
        *,
        app_id: str | None = None,
        app_secret: str | None = None,
        authorization: str | None = None,
        address: str | None = None,
    ) -> Principal: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a request as they came."""

    app_id: str | None = None
    app_secret: str | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)
    address: str | None = None
    """Of the client: the peer, or what a trusted proxy says of it."""

    @property
    def is_empty(self) -> bool:
        return self.app_id is None and self.app_secret is None and self.authorization is None

    async def check(self, checker: CredentialsChecker) -> Principal:
        """Who they belong to; raises custody's refusals."""
        return await checker.authenticate(
            app_id=self.app_id, app_secret=self.app_secret, authorization=self.authorization, address=self.address
        )


_NAMES = {b"x-app-id": "app_id", b"x-app-secret": "app_secret", b"authorization": "authorization"}


def read_credentials(scope: Scope) -> Credentials:
    """The credentials in the headers.

    Raises:
        CredentialsMissing: a header is there twice, so that it is not clear who calls.
    """
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        member = _NAMES.get(name)
        if member is not None:
            if member in found:
                raise CredentialsMissing(f"expected the header {name.decode()} once, was there twice")
            found[member] = value.decode("latin-1")
    client = scope.get("client")
    return Credentials(**found, address=client[0] if client else None)


def make_authenticate(
    checker: CredentialsChecker, limiter: Limiter, signatures: RequestSignatures | None = None
) -> Authenticate:
    """The dependency that answers who calls, and counts the call.

    Args:
        signatures: reads those of owners, for whoever decides later; None: nobody's signature counts.
    """

    async def authenticate(request: Request) -> Principal:
        """Credentials: ``X-App-Id`` with ``X-App-Secret``, a bearer token, or both."""
        principal = await read_credentials(request.scope).check(checker)
        await limiter.count_principal(request.scope, principal)
        if signatures is None or not signatures.are_in(request.method, request.scope["headers"]):
            return principal
        # The request parses its body once and keeps it: what is verified is the object that the route is given.
        body = await request.json() if await request.body() else NO_BODY
        proof = signatures.read(request.method, _target(request.scope), request.scope["headers"], body)
        return replace(principal, proof=proof)

    return authenticate


def _target(scope: Scope) -> str:
    """Path and query as they arrived."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")
