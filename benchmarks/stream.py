"""From the commit of a change to its arrival at WebSocket clients, against the same frames sent without any of our parts.

Four processes: an API process, a worker that commits and publishes, 1,000 clients, PostgreSQL. Latency runs from the
moment at which the commit has returned to the moment at which the client has read the frame, on the machine's monotonic
clock; ``p99_from_begin_ms`` adds the commit itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, cast

import uvloop

from benchmarks.figures import Figure, fresh_database

CLIENTS = 1_000
GROUPS = 100
"""Filter values, so that an event is for CLIENTS / GROUPS clients."""
FILTERED_RATE, ALL_RATE = 300, 10
SECONDS = 10
WARM_SECONDS = 2
Arrival = tuple[int, int]
"""When the change began, which is also its name, and when a client had it; nanoseconds of the monotonic clock."""


async def run() -> list[Figure]:
    async with fresh_database() as dsn:
        context = multiprocessing.get_context("spawn")
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        port = listener.getsockname()[1]
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(dsn, listener, theirs), daemon=True)
        server.start()
        await asyncio.to_thread(ours.recv)
        try:
            clients = _Clients(context, port)
            await clients.start()
            filtered, from_begin = await _measure(clients, context, dsn, FILTERED_RATE, everyone=False)
            to_all, _ = await _measure(clients, context, dsn, ALL_RATE, everyone=True)
            clients.stop()
        finally:
            server.terminate()
            server.join()
    bare, bare_all = await _bare(FILTERED_RATE, everyone=False), await _bare(ALL_RATE, everyone=True)
    return [
        Figure(
            name="stream",
            value=_p99(filtered),
            unit="ms",
            baseline=_p99(bare),
            ratio=_p99(bare) / _p99(filtered),
            wanted={"p99_filtered_ms": 20, "p99_all_ms": 150},
            more={
                "p99_filtered_ms": round(_p99(filtered), 2),
                "p99_all_ms": round(_p99(to_all), 2),
                "p50_filtered_ms": round(_percentile(filtered, 0.5), 2),
                "p50_all_ms": round(_percentile(to_all, 0.5), 2),
                "p99_from_begin_ms": round(_p99(from_begin), 2),
                "baseline_p99_all_ms": round(_p99(bare_all), 2),
                "clients": CLIENTS,
                "received": len(filtered) + len(to_all),
            },
        )
    ]


def _p99(latencies: list[float]) -> float:
    return _percentile(latencies, 0.99)


def _percentile(latencies: list[float], share: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def _measure(
    clients: _Clients, context: Any, dsn: str, rate: int, *, everyone: bool
) -> tuple[list[float], list[float]]:
    """Milliseconds from the commit, and from the beginning of the transaction, to each arrival."""
    await clients.phase(everyone)
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(dsn, rate, everyone, theirs), daemon=True)
    worker.start()
    committed: dict[int, int] = await asyncio.to_thread(ours.recv)
    worker.join()
    expected = rate * SECONDS * (CLIENTS if everyone else CLIENTS // GROUPS)
    arrivals = await clients.collect(expected)
    return [(at - committed[begun]) / 1e6 for begun, at in arrivals], [(at - begun) / 1e6 for begun, at in arrivals]


# --- the API process --------------------------------------------------------------------------------------------------


def _serve(dsn: str, listener: socket.socket, started: Connection) -> None:
    import uvicorn

    from lockstep.app.http import HttpConfig, create_app
    from lockstep.app.stream import Hub, StreamEndpoint, Tailer, Topic, Topics, run_heartbeat
    from lockstep.app.stream.protocol import StreamProtocol
    from lockstep.custody import Principal
    from lockstep.kit.clock import SystemClock
    from lockstep.kit.database import Database
    from lockstep.kit.telemetry import configure_logging

    class Nobody:
        async def authenticate(self, **_: str | None) -> Principal:
            raise NotImplementedError

    async def main() -> None:
        configure_logging("warning", service="bench")
        clock, database, stop = SystemClock(), Database(dsn, name="serve", max_size=8), asyncio.Event()
        await database.open()
        topics = Topics([Topic(name="orders", audience="public", members=frozenset({"group"}))])
        hub = Hub(database, topics, clock)
        app = create_app(
            HttpConfig(public_url="http://127.0.0.1", trusted_hosts=["127.0.0.1"], per_address="100000/second"),
            checker=Nobody(),
            probes={},
            routers=lambda _: [],
            websockets=StreamEndpoint(hub, topics, Nobody(), clock).routes(),
        )
        server = uvicorn.Server(
            uvicorn.Config(app, ws=StreamProtocol, ws_per_message_deflate=False, lifespan="off", log_level="error")
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(Tailer(database, hub).run(stop))
            group.create_task(run_heartbeat(hub, Nobody(), stop))
            group.create_task(server.serve([listener]))
            while not (server.started and hub.is_live):
                await asyncio.sleep(0.01)
            started.send("started")

    uvloop.run(main())


# --- the worker -------------------------------------------------------------------------------------------------------


def _work(dsn: str, rate: int, everyone: bool, done: Connection) -> None:
    from lockstep.kit.database import Database
    from lockstep.kit.outbox import Event, append, run_publisher

    async def main() -> None:
        database, stop = Database(dsn, name="work", max_size=8, acquire_seconds=60), asyncio.Event()
        await database.open()
        publisher = asyncio.create_task(run_publisher(database, stop))
        began, total = time.monotonic(), rate * (SECONDS + WARM_SECONDS)
        running: set[asyncio.Task[None]] = set()
        committed: dict[int, int] = {}

        async def change(number: int) -> None:
            begun = time.monotonic_ns()
            data = {
                "sent": begun if number >= rate * WARM_SECONDS else 0,
                "group": "all" if everyone else f"g{number % GROUPS}",
                "maker": "0x" + "ab" * 20,
                "filling": "x" * 600,
            }
            async with database.system("bench") as uow:
                await append(
                    uow, Event(topic="orders", type="order_updated", object_id="0x1", version=1, data=data, app_id=None)
                )
            committed[begun] = time.monotonic_ns()

        for number in range(total):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            task = asyncio.create_task(change(number))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        await asyncio.sleep(0.5)
        done.send(committed)
        stop.set()
        await publisher
        await database.close()

    uvloop.run(main())


# --- the clients ------------------------------------------------------------------------------------------------------


class _Clients:
    """1,000 connections in a process of their own."""

    def __init__(self, context: Any, port: int) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_connect, args=(port, theirs), daemon=True)

    async def start(self) -> None:
        self._process.start()

    async def phase(self, everyone: bool) -> None:
        self._pipe.send(("subscribe", everyone))
        await asyncio.to_thread(self._pipe.recv)

    async def collect(self, expected: int) -> list[Arrival]:
        self._pipe.send(("collect", expected))
        arrivals: list[Arrival] = await asyncio.to_thread(self._pipe.recv)
        if len(arrivals) != expected:
            raise RuntimeError(f"expected {expected} events at the clients, were {len(arrivals)}")
        return arrivals

    def stop(self) -> None:
        self._process.terminate()


class _Reader(asyncio.Protocol):
    """As little WebSocket as it takes to read text frames."""

    def __init__(self, arrivals: list[Arrival], on_text: Callable[[], None]) -> None:
        self._arrivals, self._on_text = arrivals, on_text
        self._buffer = b""
        self.is_open = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def say(self, frame: dict[str, Any]) -> None:
        payload = json.dumps(frame).encode()
        head = b"\x81" + (
            bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        )
        self.transport.write(head + b"\0\0\0\0" + payload)  # a zero mask leaves the bytes as they are

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        buffer = self._buffer + data if self._buffer else data
        if not self.is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            self.is_open = True
            buffer = buffer[end + 4 :]
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size == 126:
                if len(buffer) < 4:
                    break
                size, start = int.from_bytes(buffer[2:4], "big"), 4
            if len(buffer) < start + size:
                break
            if buffer[0] == 0x89:
                self.transport.write(b"\x8a" + bytes([0x80 | size]) + b"\0\0\0\0" + buffer[start : start + size])
            else:
                self._take(buffer[start : start + size], now)
            buffer = buffer[start + size :]
        self._buffer = buffer

    def _take(self, text: bytes, now: int) -> None:
        at = text.find(b'"sent":')
        if at < 0:
            if b'"type":"error"' in text:
                raise RuntimeError(f"the stream answered {text!r}")
            if b'"subscribed"' in text or b'"unsubscribed"' in text:
                self._on_text()
            return
        sent = int(text[at + 7 : text.find(b",", at)].rstrip(b"}"))
        if sent:
            self._arrivals.append((sent, now))


def _connect(port: int, pipe: Connection) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrivals: list[Arrival] = []
        answers = 0

        def answered() -> None:
            nonlocal answers
            answers += 1

        readers: list[_Reader] = []
        for _ in range(CLIENTS):
            _, reader = await loop.create_connection(lambda: _Reader(arrivals, answered), "127.0.0.1", port)
            readers.append(reader)
        while not all(reader.is_open for reader in readers):
            await asyncio.sleep(0.02)
        is_first = True
        while True:
            what, argument = await asyncio.to_thread(pipe.recv)
            if what == "subscribe":
                answers = 0
                for number, reader in enumerate(readers):
                    if not is_first:
                        reader.say({"op": "unsubscribe", "id": "s"})
                    wanted = {} if argument else {"group": f"g{number % GROUPS}"}
                    reader.say({"op": "subscribe", "id": "s", "topic": "orders", "filter": wanted})
                    if number % 50 == 0:
                        await asyncio.sleep(0.02)
                while answers < (CLIENTS if is_first else 2 * CLIENTS):
                    await asyncio.sleep(0.02)
                is_first = False
                arrivals.clear()
                pipe.send("ready")
            else:
                until = loop.time() + 30
                while len(arrivals) < argument and loop.time() < until:
                    await asyncio.sleep(0.02)
                pipe.send(list(arrivals))

    uvloop.run(main())


# --- the baseline -----------------------------------------------------------------------------------------------------


async def _bare(rate: int, *, everyone: bool) -> list[float]:
    """The same frames from memory to the same number of sockets: no database, no sequence, no filter, no queue."""
    context = multiprocessing.get_context("spawn")
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve_bare, args=(listener, theirs, rate, everyone), daemon=True)
    server.start()
    clients = _Clients(context, listener.getsockname()[1])
    await clients.start()
    await clients.phase(everyone)
    ours.send("go")
    await asyncio.to_thread(ours.recv)
    try:
        arrivals = await clients.collect(rate * SECONDS * (CLIENTS if everyone else CLIENTS // GROUPS))
        return [(at - begun) / 1e6 for begun, at in arrivals]
    finally:
        clients.stop()
        server.terminate()


def _serve_bare(listener: socket.socket, pipe: Connection, rate: int, everyone: bool) -> None:
    import uvicorn

    sockets: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": '{"type":"subscribed"}'})
        sockets.append(send)
        await receive()

    async def main() -> None:
        server = uvicorn.Server(
            uvicorn.Config(app, ws="websockets-sansio", ws_per_message_deflate=False, lifespan="off", log_level="error")
        )
        serving = asyncio.create_task(server.serve([listener]))
        await asyncio.to_thread(pipe.recv)
        began = time.monotonic()
        for number in range(rate * (SECONDS + WARM_SECONDS)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent = time.monotonic_ns() if number >= rate * WARM_SECONDS else 0
            text = json.dumps({"sent": sent, "maker": "0x" + "ab" * 20, "filling": "x" * 800})
            group = sockets if everyone else sockets[number % GROUPS :: GROUPS]
            for send in group:
                await send({"type": "websocket.send", "text": text})
        pipe.send("done")
        await serving

    uvloop.run(main())
