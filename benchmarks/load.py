"""A light HTTP/1.1 client in a process of its own: keeps a number of connections busy, one request at a time on each.

Builds and reads just as much HTTP as the figures need, so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

import uvloop

Plan = Callable[[], Iterator[bytes]]
"""Makes whole requests, one after the other. Must be picklable: it runs in the other process."""
KEPT = 200
"""How many answers are handed back, evenly spread, so that they can be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run showed."""

    seconds: float
    latencies: list[float] = field(repr=False)
    """Milliseconds from the last byte written to the last byte read, in the order of the answers."""
    failures: int
    """Answers with another status than 200."""
    samples: list[tuple[bytes, bytes]] = field(repr=False)
    """Some requests with the bodies of their answers; the first failures among them."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    """A request up to its last common header; further headers, an empty line and the body may follow."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n").encode()


async def drive(port: int, plan: Plan, *, connections: int, seconds: float) -> Load:
    """Send the requests of a plan for some time. The plan must not end before that.

    Raises:
        RuntimeError: the server closed a connection, or nothing came back.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, port, plan, connections, seconds), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is seen here
    try:
        result: Load | str = await asyncio.to_thread(ours.recv)
    except EOFError as error:
        raise RuntimeError("the load's process died") from error
    finally:
        process.terminate()
        process.join()
    if isinstance(result, str):
        raise RuntimeError(result)
    return result


def _main(pipe: Connection, port: int, plan: Plan, connections: int, seconds: float) -> None:
    try:
        pipe.send(uvloop.run(_drive(port, plan, connections, seconds)))
    except Exception as error:
        pipe.send(f"the load ended: {error!r}")


async def _drive(port: int, plan: Plan, connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    run = _Run(plan())
    lines = [(await loop.create_connection(lambda: _Line(run), "127.0.0.1", port))[1] for _ in range(connections)]
    run.ends_at = time.perf_counter() + seconds
    began = time.perf_counter()
    for line in lines:
        line.ask()
    await asyncio.gather(*(line.done for line in lines))
    took = time.perf_counter() - began
    step = max(1, len(run.answers) // KEPT)
    return Load(
        seconds=took,
        latencies=run.latencies,
        failures=run.failed,
        samples=[*run.failures[:KEPT], *run.answers[::step]],
    )


class _Run:
    """What the connections share."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.ends_at = 0.0
        self.latencies: list[float] = []
        self.answers: list[tuple[bytes, bytes]] = []
        self.failures: list[tuple[bytes, bytes]] = []
        self.failed = 0


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._asked = b""
        self._asked_at = 0.0
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def ask(self) -> None:
        self._asked = next(self._run.requests)
        self._asked_at = time.perf_counter()
        self._transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        ends = buffer.find(b"\r\n\r\n")
        if ends < 0:
            return
        at = buffer.find(b"content-length: ")
        size = int(buffer[at + 16 : buffer.find(b"\r", at)])
        if len(buffer) < ends + 4 + size:
            return
        now, run = time.perf_counter(), self._run
        run.latencies.append((now - self._asked_at) * 1000)
        answer = self._asked, buffer[ends + 4 :]
        if buffer.startswith(b"HTTP/1.1 200"):
            run.answers.append(answer)
        else:
            run.failed += 1
            run.failures.append(answer)
        self._buffer = b""
        if now < run.ends_at:
            self.ask()
        else:
            self.done.set_result(None)
            self._transport.close()
