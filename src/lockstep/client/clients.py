"""The two clients: the same calls over a blocking and over an awaiting transport. They retry, page and wait."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import isawaitable
from typing import Any, Self, TypeVar

import httpx

from lockstep.client.credentials import Credentials, WalletCredentials, from_environment
from lockstep.client.endpoints import Endpoints
from lockstep.client.endpoints.calls import AsyncCaller, SyncCaller
from lockstep.client.errors import WaitTimeout
from lockstep.client.login import check_login_message
from lockstep.client.requests import Page, Request, Wait, next_page
from lockstep.client.retries import Failure, Retries, failed_to_reach, read_answer
from lockstep.client.signing import SIGNED_METHODS, AuthorizationKey, sign_request
from lockstep.client.stream import Stream, Subscription

T = TypeVar("T")

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_AGENT = {"User-Agent": "lockstep-client", "Accept": "application/json"}


class Client(Endpoints, SyncCaller):
    """Calls Lockstep and blocks until the answer is there. Use as a context, or `close` it."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        timeout: httpx.Timeout | float = TIMEOUT,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            url: of the deployment, without /v1.
            transport: stands in for the network, for tests.
        """
        self.url, self.credentials, self.retries = url.rstrip("/"), credentials, retries or Retries()
        self.keys: tuple[AuthorizationKey, ...] = ()
        self.origin = self.url
        self._http = httpx.Client(base_url=self.url, headers=_AGENT, timeout=timeout, transport=transport)

    @classmethod
    def from_environment(cls) -> Self:
        """A client of the deployment and caller that ``LOCKSTEP_URL`` and its companions name.

        Raises:
            ValueError: there is no address, or half of what an app needs.
        """
        return cls(*from_environment(os.environ))

    def as_caller(self, credentials: Credentials | None) -> Client:
        """The same deployment for another caller, over the same connections."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.credentials = credentials
        return other

    def signed_by(self, *keys: AuthorizationKey, origin: str | None = None) -> Client:
        """The same caller, whose writes are signed with these keys; without any they are not.

        Args:
            origin: public origin of the deployment, where it is not the address that this client uses.
        """
        other = self.as_caller(self.credentials)
        other.keys, other.origin = keys, (origin or self.url).rstrip("/")
        return other

    def login_wallet(self, address: str, chain_id: int, sign: Callable[[bytes], bytes]) -> Client:
        """Sign in with an own key; a client of that caller.

        Args:
            sign: signs a message with `personal_sign` (EIP-191): 65 bytes.
        """
        message = self.make_login_message(address, chain_id)
        login = self.log_in(message, sign(check_login_message(message, address, chain_id)))
        return self.as_caller(WalletCredentials(login.address, login.token))

    def send(self, request: Request[T]) -> T:
        """Send a request, again if that is harmless and may help.

        Raises:
            ProblemError: Lockstep refused or failed. Unreachable: no answer came. UnexpectedAnswer.
        """
        began, tried = time.monotonic(), 0
        while True:
            tried += 1
            try:
                response = self._http.request(request.method, request.path, **_arguments(request, self))
                answer = read_answer(request, response)
            except httpx.TransportError as error:
                answer = failed_to_reach(request, error)
            if not isinstance(answer, Failure):
                return answer
            time.sleep(_pause(self.retries, answer, tried, time.monotonic() - began))

    def iterate(self, request: Request[Page[T]]) -> Iterator[T]:
        """The items of all pages."""
        while True:
            page = self.send(request)
            yield from page.items
            if page.next_cursor is None:
                return
            request = next_page(request, page.next_cursor)

    def wait(self, wait: Wait[T]) -> T:
        """Ask until it is so."""
        return self.wait_for(
            lambda: self.send(wait.request),
            wait.is_done,
            what=wait.what,
            timeout_seconds=wait.timeout_seconds,
            every_seconds=wait.every_seconds,
        )

    def wait_for(
        self,
        look: Callable[[], T],
        is_done: Callable[[T], bool],
        *,
        what: str = "what was waited for",
        timeout_seconds: float = 60.0,
        every_seconds: float = 0.25,
    ) -> T:
        """Look again and again until it is so, and answer what was seen.

        Raises:
            WaitTimeout: it was not so in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            seen = look()
            if is_done(seen):
                return seen
            if time.monotonic() + every_seconds > deadline:
                raise WaitTimeout(f"{what} did not come within {timeout_seconds:g} seconds", seen)
            time.sleep(every_seconds)

    def close(self) -> None:
        """Close the connections, also those of the clients that share them."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Endpoints, AsyncCaller):
    """Calls Lockstep; answers are awaited. Use as a context, or `aclose` it."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        timeout: httpx.Timeout | float = TIMEOUT,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """
        Args:
            url: of the deployment, without /v1.
            transport: stands in for the network, for tests.
        """
        self.url, self.credentials, self.retries = url.rstrip("/"), credentials, retries or Retries()
        self.keys: tuple[AuthorizationKey, ...] = ()
        self.origin = self.url
        self._http = httpx.AsyncClient(base_url=self.url, headers=_AGENT, timeout=timeout, transport=transport)

    @classmethod
    def from_environment(cls) -> Self:
        """A client of the deployment and caller that ``LOCKSTEP_URL`` and its companions name.

        Raises:
            ValueError: there is no address, or half of what an app needs.
        """
        return cls(*from_environment(os.environ))

    def as_caller(self, credentials: Credentials | None) -> AsyncClient:
        """The same deployment for another caller, over the same connections."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.credentials = credentials
        return other

    def signed_by(self, *keys: AuthorizationKey, origin: str | None = None) -> AsyncClient:
        """The same caller, whose writes are signed with these keys; without any they are not.

        Args:
            origin: public origin of the deployment, where it is not the address that this client uses.
        """
        other = self.as_caller(self.credentials)
        other.keys, other.origin = keys, (origin or self.url).rstrip("/")
        return other

    async def login_wallet(
        self, address: str, chain_id: int, sign: Callable[[bytes], bytes | Awaitable[bytes]]
    ) -> AsyncClient:
        """Sign in with an own key; a client of that caller.

        Args:
            sign: signs a message with `personal_sign` (EIP-191): 65 bytes.
        """
        message = await self.make_login_message(address, chain_id)
        signature = sign(check_login_message(message, address, chain_id))
        login = await self.log_in(message, await signature if isawaitable(signature) else signature)
        return self.as_caller(WalletCredentials(login.address, login.token))

    def stream(self, *subscriptions: Subscription, cursor: str | None = None) -> Stream:
        """Follow topics: an async context and iterator that resumes by itself when the connection is lost.

        Args:
            cursor: `Stream.cursor` of an earlier stream, to go on where it ended.
        """
        return Stream(self.url, self.credentials, subscriptions, cursor)

    async def send(self, request: Request[T]) -> T:
        """Send a request, again if that is harmless and may help.

        Raises:
            ProblemError: Lockstep refused or failed. Unreachable: no answer came. UnexpectedAnswer.
        """
        began, tried = time.monotonic(), 0
        while True:
            tried += 1
            try:
                response = await self._http.request(request.method, request.path, **_arguments(request, self))
                answer = read_answer(request, response)
            except httpx.TransportError as error:
                answer = failed_to_reach(request, error)
            if not isinstance(answer, Failure):
                return answer
            await asyncio.sleep(_pause(self.retries, answer, tried, time.monotonic() - began))

    async def iterate(self, request: Request[Page[T]]) -> AsyncIterator[T]:
        """The items of all pages."""
        while True:
            page = await self.send(request)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            request = next_page(request, page.next_cursor)

    async def wait(self, wait: Wait[T]) -> T:
        """Ask until it is so."""
        return await self.wait_for(
            lambda: self.send(wait.request),
            wait.is_done,
            what=wait.what,
            timeout_seconds=wait.timeout_seconds,
            every_seconds=wait.every_seconds,
        )

    async def wait_for(
        self,
        look: Callable[[], Awaitable[T]],
        is_done: Callable[[T], bool],
        *,
        what: str = "what was waited for",
        timeout_seconds: float = 60.0,
        every_seconds: float = 0.25,
    ) -> T:
        """Look again and again until it is so, and answer what was seen.

        Raises:
            WaitTimeout: it was not so in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            seen = await look()
            if is_done(seen):
                return seen
            if time.monotonic() + every_seconds > deadline:
                raise WaitTimeout(f"{what} did not come within {timeout_seconds:g} seconds", seen)
            await asyncio.sleep(every_seconds)

    async def aclose(self) -> None:
        """Close the connections, also those of the clients that share them."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _arguments(request: Request[Any], client: Client | AsyncClient) -> dict[str, Any]:
    """What the transport is given. Signed anew for each try: the service takes a signed request once."""
    credentials = client.credentials
    headers = {**request.headers(), **(credentials.headers() if credentials is not None else {})}
    if client.keys and request.method in SIGNED_METHODS:
        url = client.origin + request.path + (f"?{httpx.QueryParams(dict(request.query))}" if request.query else "")
        headers |= sign_request(client.keys, request.method, url, headers, request.body)
    body = {} if request.body is None else {"json": request.body}
    return {"params": dict(request.query), "headers": headers, **body}


def _pause(retries: Retries, failure: Failure, tried: int, elapsed: float) -> float:
    """Seconds until the next try; raises the failure when there is none."""
    pause = retries.pause(tried, elapsed, failure.retry_after) if failure.may_repeat else None
    if pause is None:
        raise failure.error
    return pause
