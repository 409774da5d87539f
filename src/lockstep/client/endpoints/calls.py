"""How a described call becomes a method: looked up on `Client` it answers, on `AsyncClient` it gives an awaitable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from lockstep.client.requests import Page, Request, Wait

P = ParamSpec("P")
T = TypeVar("T")


class SyncCaller(ABC):
    """Sends requests and waits for the answer."""

    @abstractmethod
    def send(self, request: Request[T]) -> T: ...

    @abstractmethod
    def iterate(self, request: Request[Page[T]]) -> Iterator[T]: ...

    @abstractmethod
    def wait(self, wait: Wait[T]) -> T: ...


class AsyncCaller(ABC):
    """Sends requests; the answer is awaited."""

    @abstractmethod
    def send(self, request: Request[T]) -> Awaitable[T]: ...

    @abstractmethod
    def iterate(self, request: Request[Page[T]]) -> AsyncIterator[T]: ...

    @abstractmethod
    def wait(self, wait: Wait[T]) -> Awaitable[T]: ...


class _Described(Generic[P, T]):
    def __init__(self, describe: Callable[P, T]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    def _method(self, send: Callable[[Any], Any]) -> Callable[P, Any]:
        describe = self._describe

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return send(describe(*args, **kwargs))

        method.__doc__, method.__name__ = describe.__doc__, describe.__name__
        method.__wrapped__ = describe  # type: ignore[attr-defined]  # shows the signature in help()
        return method


class Call(_Described[P, Request[T]]):
    """A method that sends one request."""

    @overload
    def __get__(self, client: SyncCaller, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Call[P, T]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else self._method(client.send)


class Iterate(_Described[P, Request[Page[T]]]):
    """A method that iterates over the items of all pages of a list, and asks for a page when it is needed."""

    @overload
    def __get__(self, client: SyncCaller, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Iterate[P, T]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else self._method(client.iterate)


class WaitFor(_Described[P, Wait[T]]):
    """A method that asks until something is so.

    Raises:
        WaitTimeout: it was not so in time.
    """

    @overload
    def __get__(self, client: SyncCaller, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> WaitFor[P, T]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else self._method(client.wait)
