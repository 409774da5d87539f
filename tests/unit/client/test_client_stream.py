"""The client's stream against scripted servers on loopback: it resumes, notices what is missing, and ends for reasons."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve

from lockstep.client import (
    AppCredentials,
    AsyncClient,
    Event,
    Gap,
    ProblemError,
    Snapshot,
    Stream,
    Subscription,
    UnexpectedAnswer,
)

Script = Callable[["Peer"], Awaitable[None]]
TRANSACTIONS = Subscription(topic="transactions")


class Peer:
    """One connection, from the server's side."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.headers = connection.request.headers if connection.request else {}

    async def read(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.connection.recv())
        return frame

    async def say(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def begin(self, seq: int, *items: dict[str, Any], resumed: bool = False) -> None:
        frame = {"type": "subscribed", "sub": "transactions", "topic": "transactions", "as_of_seq": seq}
        more = {} if resumed else {"snapshot": list(items), "snapshot_complete": True}
        await self.say(**frame, resumed=resumed, **more)

    async def event(self, seq: int, prev_seq: int) -> None:
        envelope = {"topic": "transactions", "seq": seq, "type": "transaction_updated", "id": f"t{seq}", "version": 1}
        more = {"time": "2030-01-01T00:00:00.000Z", "app_id": "a", "correlation_id": None, "data": {"n": seq}}
        await self.say(**envelope, **more, sub="transactions", prev_seq=prev_seq)


@asynccontextmanager
async def server_of(*scripts: Script, **options: Any) -> AsyncIterator[str]:
    """A server that plays one script per connection; its connection ends with the script."""
    remaining = list(scripts)

    async def handle(connection: ServerConnection) -> None:
        await remaining.pop(0)(Peer(connection))

    server: Server
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    assert not remaining


def stream_of(url: str, *subscriptions: Subscription, cursor: str | None = None) -> Stream:
    return AsyncClient(url, AppCredentials("app", "hush")).stream(*(subscriptions or (TRANSACTIONS,)), cursor=cursor)


async def test_stream__connection_lost__resumes_after_the_last_sequence() -> None:
    async def first(peer: Peer) -> None:
        assert peer.headers["X-App-Id"] == "app"
        assert await peer.read() == {
            "op": "subscribe",
            "id": "transactions",
            "topic": "transactions",
            "snapshot": True,
            "filter": {"wallet_id": "w"},
            "types": ["transaction_updated"],
        }
        await peer.say(type="hello", time="x", heartbeat_seconds=15, principal="app")
        await peer.begin(5, {"id": "t"})
        await peer.event(7, prev_seq=5)

    async def second(peer: Peer) -> None:
        assert (await peer.read())["resume_from"] == 7
        await peer.begin(7, resumed=True)
        await peer.event(7, prev_seq=5)  # a repetition is not told twice
        await peer.event(9, prev_seq=7)
        await peer.connection.wait_closed()

    wanted = Subscription(topic="transactions", filter={"wallet_id": "w"}, types=("transaction_updated",))
    async with server_of(first, second) as url, stream_of(url, wanted) as stream:
        snapshot, one, two = [await anext(stream) for _ in range(3)]
        assert json.loads(stream.cursor) == {"transactions": 9}
        assert stream.reconnects == 1
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.seq, snapshot.items, snapshot.is_complete) == (5, ({"id": "t"},), True)
    assert isinstance(one, Event)
    assert isinstance(two, Event)
    assert (one.seq, one.id, one.data, two.seq) == (7, "t7", {"n": 7}, 9)
    assert one.time is not None
    assert one.time.year == 2030


async def test_stream__event_missing_on_the_way__resumes_from_what_is_known() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.begin(1)
        await peer.event(2, prev_seq=1)
        await peer.event(4, prev_seq=3)
        await peer.connection.wait_closed()

    async def second(peer: Peer) -> None:
        assert (await peer.read())["resume_from"] == 2
        await peer.begin(2, resumed=True)
        await peer.event(3, prev_seq=2)
        await peer.event(4, prev_seq=3)
        await peer.connection.wait_closed()

    async with server_of(first, second) as url, stream_of(url) as stream:
        await anext(stream)
        assert [message.seq async for message in _some(stream, 3) if isinstance(message, Event)] == [2, 3, 4]


async def test_stream__heartbeat_ahead__resumes_from_there() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.begin(1)
        await peer.say(type="heartbeat", time="x", live=True, seqs={"transactions": 8})

    async def second(peer: Peer) -> None:
        assert (await peer.read())["resume_from"] == 8
        await peer.begin(8, resumed=True)
        await peer.event(9, prev_seq=8)
        await peer.connection.wait_closed()

    async with server_of(first, second) as url, stream_of(url) as stream:
        assert [type(message) async for message in _some(stream, 2)] == [Snapshot, Event]


async def test_stream__heartbeat_then_event__told_although_others_came_between() -> None:
    async def only(peer: Peer) -> None:
        await peer.read()
        await peer.begin(1)
        await peer.say(type="heartbeat", time="x", live=True, seqs={"transactions": 8})
        await peer.event(9, prev_seq=1)
        await peer.connection.wait_closed()

    async with server_of(only) as url, stream_of(url) as stream:
        assert [type(message) async for message in _some(stream, 2)] == [Snapshot, Event]
        assert stream.reconnects == 0


async def test_stream__missed_too_much__gap_then_snapshot() -> None:
    async def only(peer: Peer) -> None:
        assert (await peer.read())["resume_from"] == 3
        gap = {"type": "gap", "sub": "transactions", "topic": "transactions", "after": 3, "head": 99_999}
        await peer.say(**gap, reason="too_far_behind")
        await peer.begin(99_999)
        await peer.connection.wait_closed()

    async with server_of(only) as url, stream_of(url, cursor='{"transactions": 3}') as stream:
        gap, snapshot = [message async for message in _some(stream, 2)]
    assert isinstance(gap, Gap)
    assert (gap.after, gap.reason) == (3, "too_far_behind")
    assert isinstance(snapshot, Snapshot)


async def test_stream__ephemeral_message__told_without_sequence() -> None:
    async def only(peer: Peer) -> None:
        await peer.read()
        await peer.begin(1)
        price = {"topic": "transactions", "type": "price_update", "id": "o", "as_of": "2030-01-01T00:00:00.000Z"}
        await peer.say(**price, data={"x": "1"}, sub="transactions")
        await peer.connection.wait_closed()

    async with server_of(only) as url, stream_of(url) as stream:
        _, price = [message async for message in _some(stream, 2)]
        assert json.loads(stream.cursor) == {"transactions": 1}
    assert isinstance(price, Event)
    assert (price.seq, price.type) == (None, "price_update")


async def test_stream__subscription_refused__problem() -> None:
    async def only(peer: Peer) -> None:
        await peer.read()
        refusal = {"status": 403, "code": "caller_not_allowed", "detail": "only the app may follow it"}
        await peer.say(type="error", op="subscribe", id="transactions", problem=refusal)
        await peer.connection.wait_closed()

    async with server_of(only) as url, stream_of(url) as stream:
        with pytest.raises(ProblemError, match="only the app") as caught:
            await anext(stream)
    assert caught.value.code == "caller_not_allowed"


async def test_stream__database_away__tried_again() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        problem = {"status": 503, "code": "database_unavailable", "detail": "d"}
        await peer.say(type="error", op="subscribe", id="transactions", problem=problem)
        await peer.connection.wait_closed()

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.begin(1)
        await peer.connection.wait_closed()

    async with server_of(first, second) as url, stream_of(url) as stream:
        assert isinstance(await anext(stream), Snapshot)


async def test_stream__credentials_end__problem() -> None:
    async def only(peer: Peer) -> None:
        await peer.read()
        await peer.connection.close(4001, "session_token_invalid")

    async with server_of(only) as url, stream_of(url) as stream:
        with pytest.raises(ProblemError) as caught:
            await anext(stream)
    assert (caught.value.code, caught.value.status) == ("session_token_invalid", 401)


async def test_stream__credentials_refused__problem_of_the_answer() -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        body = {"status": 401, "code": "app_credentials_invalid", "detail": "wrong"}
        return connection.respond(HTTPStatus.UNAUTHORIZED, json.dumps(body))

    async with server_of(process_request=refuse) as url, stream_of(url) as stream:
        with pytest.raises(ProblemError) as caught:
            await anext(stream)
    assert caught.value.code == "app_credentials_invalid"


async def test_stream__frame_of_another_protocol__unexpected_answer() -> None:
    async def only(peer: Peer) -> None:
        await peer.connection.send("[1, 2]")
        await peer.connection.wait_closed()

    async with server_of(only) as url, stream_of(url) as stream:
        with pytest.raises(UnexpectedAnswer):
            await anext(stream)


def test_stream__two_subscriptions_of_one_name__refused() -> None:
    with pytest.raises(ValueError, match="name of its own"):
        stream_of("http://server", TRANSACTIONS, TRANSACTIONS)


async def _some(stream: Stream, count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await anext(stream)
