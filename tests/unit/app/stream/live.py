"""The stream served by uvicorn on a free port, over a fresh database, with a publisher."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from lockstep.app.http import HttpConfig, create_app
from lockstep.app.stream import Hub, StreamEndpoint, Tailer, Topic, Topics, run_heartbeat
from lockstep.app.stream.protocol import StreamProtocol
from lockstep.custody import Principal
from lockstep.custody.errors import AppCredentialsInvalid, SessionTokenInvalid
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, UserId, WalletId, new_id
from lockstep.kit.outbox import Event, append, head_seq, run_publisher

APP = AppId(new_id())
STRANGER = AppId(new_id())


@dataclass
class FakeCustody:
    """Knows two apps by their secrets and some bearer tokens."""

    tokens: dict[str, Principal] = field(default_factory=dict)

    async def authenticate(
        self,
        *,
        app_id: str | None = None,
        app_secret: str | None = None,
        authorization: str | None = None,
        address: str | None = None,
    ) -> Principal:
        if authorization is not None:
            principal = self.tokens.get(authorization.removeprefix("Bearer "))
            if principal is None:
                raise SessionTokenInvalid
            return principal
        if app_id not in (APP, STRANGER) or app_secret != "secret":
            raise AppCredentialsInvalid
        return Principal(kind="app", app_id=AppId(app_id))


async def list_orders(uow: UnitOfWork, app_id: AppId | None, wanted: object, limit: int) -> list[dict[str, Any]]:
    return [{"order_hash": "0xaa", "state": "open"}]


async def no_wallets(principal: Principal) -> frozenset[str]:
    return frozenset({"wallet-of-user"}) if principal.user_id == UserId("user") else frozenset()


TOPICS = Topics(
    [
        Topic(
            name="orders",
            audience="public",
            members=frozenset({"maker", "state", "source_chain"}),
            ephemeral=frozenset({"price_update"}),
            snapshot=list_orders,
        ),
        Topic(name="transactions", audience="app", members=frozenset({"wallet_id", "state"})),
    ],
    owned_wallets=no_wallets,
)


@dataclass
class LiveStream:
    """A running server and what tests do with it."""

    url: str
    database: Database
    hub: Hub
    custody: FakeCustody

    async def publish(
        self, *objects: dict[str, Any], topic: str = "orders", kind: str = "order_updated", app_id: AppId | None = None
    ) -> None:
        """Commit one event per object."""
        async with self.database.system("test") as uow:
            for data in objects:
                await append(
                    uow,
                    Event(topic=topic, type=kind, object_id=data.get("id", "0x1"), version=1, data=data, app_id=app_id),
                )

    async def numbered(self, topic: str, seq: int) -> None:
        """Wait until the publisher has come to a sequence."""
        async with asyncio.timeout(10):
            while True:
                async with self.database.system("test") as uow:
                    if await head_seq(uow, topic, None) >= seq:
                        return
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[Client]:
        async with connect(
            self.url, additional_headers=headers, compression=None, max_queue=None, max_size=None
        ) as socket_:
            client = Client(socket_)
            assert (await client.next())["type"] == "hello"
            yield client


class Client:
    """A bare WebSocket client."""

    def __init__(self, socket_: ClientConnection) -> None:
        self.socket = socket_

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def next(self, *types: str) -> dict[str, Any]:
        """The next frame, or the next of these types."""
        async with asyncio.timeout(10):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if not types or frame["type"] in types:
                    return frame

    async def ask(self, **frame: Any) -> dict[str, Any]:
        await self.say(**frame)
        return await self.next()

    async def subscribe(self, topic: str = "orders", **frame: Any) -> dict[str, Any]:
        return await self.ask(op="subscribe", **{"id": "s", "topic": topic, **frame})


@asynccontextmanager
async def live_stream(
    dsn: str, *, heartbeat_seconds: float = 15.0, per_address: str = "10000/second"
) -> AsyncIterator[LiveStream]:
    """Serve the stream until the block ends."""
    clock = SystemClock()
    database = Database(dsn, name="stream", max_size=8)
    await database.open()
    custody = FakeCustody()
    custody.tokens["session"] = Principal(kind="session", app_id=APP, wallet_id=WalletId("w1"), session_id="s1")
    custody.tokens["user"] = Principal(kind="user", app_id=APP, user_id=UserId("user"))
    custody.tokens["external"] = Principal(kind="external", address="0x1")
    hub = Hub(database, TOPICS, clock)
    app = create_app(
        HttpConfig(public_url="http://127.0.0.1", trusted_hosts=["127.0.0.1"], per_address=per_address),
        checker=custody,
        probes={},
        routers=lambda _: [],
        websockets=StreamEndpoint(hub, TOPICS, custody, clock).routes(),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, ws=StreamProtocol, ws_per_message_deflate=False, lifespan="off", log_level="error")
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined, method-assign]
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(server.serve([listener])),
        asyncio.create_task(Tailer(database, hub).run(stop)),
        asyncio.create_task(run_heartbeat(hub, custody, stop, heartbeat_seconds)),
        asyncio.create_task(run_publisher(database, stop)),
    ]
    try:
        async with asyncio.timeout(10):
            while not (server.started and hub.is_live):
                await asyncio.sleep(0.01)
        yield LiveStream(f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/stream", database, hub, custody)
    finally:
        stop.set()
        hub.close_all(1012, "restart")
        server.should_exit = True
        await asyncio.gather(*tasks)
        await database.close()
