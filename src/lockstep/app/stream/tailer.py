"""Follows the outbox of the deployment, one reader per API process, and beats the heart of its connections."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg.rows import DictRow

from lockstep.app.http import CredentialsChecker
from lockstep.app.stream.connection import Connection
from lockstep.app.stream.errors import CLOSE_CREDENTIALS
from lockstep.app.stream.hub import Hub
from lockstep.kit.clock import pause
from lockstep.kit.database import Database
from lockstep.kit.errors import Refuse, Retry
from lockstep.kit.outbox import PUBLISHED, head_position, tail

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 15.0
BATCH: Final = 500
POLL_SECONDS: Final = 0.5
"""A lost notification costs at most this."""

_position = Gauge("lockstep_stream_position", "Position of the last event that this process has read")


class Tailer:
    """Reads published events in order and hands them to the hub."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._position: int | None = None
        """Known from the first successful look on, and kept over lost connections."""

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set; a lost database is waited out, and nothing is skipped."""
        while not stop.is_set():
            try:
                async with self._database.connection() as connection:
                    try:
                        await self._follow(connection, stop)
                    finally:
                        self._hub.is_live = False
                        if not connection.closed:
                            await connection.execute(f"unlisten {PUBLISHED}")
            except (Retry, psycopg.Error) as error:
                log.warning("stream_waits", reason=type(error).__name__)
                await pause(stop, 0.3)

    async def _follow(self, connection: psycopg.AsyncConnection[DictRow], stop: asyncio.Event) -> None:
        await connection.execute(f"listen {PUBLISHED}")
        if self._position is None:
            async with self._database.system("stream") as uow:
                self._position = await head_position(uow)
        self._hub.is_live = True
        while not stop.is_set():
            if await self._read(connection, self._position) >= BATCH:
                await asyncio.sleep(0)
                continue
            async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass

    async def _read(self, connection: psycopg.AsyncConnection[DictRow], position: int) -> int:
        envelopes = await tail(self._database, connection, position, BATCH)
        for envelope in envelopes:
            self._hub.dispatch(envelope)
        if envelopes:
            self._position = envelopes[-1].position
            _position.set(self._position)
        return len(envelopes)


async def run_heartbeat(
    hub: Hub, checker: CredentialsChecker, stop: asyncio.Event, seconds: float = HEARTBEAT_SECONDS
) -> None:
    """Tell every client the time, and end connections whose credentials have ended."""
    while not stop.is_set():
        await pause(stop, seconds)
        for connection in hub.connections:
            if not await _has_ended(connection, checker):
                hub.heartbeat(connection)


async def _has_ended(connection: Connection, checker: CredentialsChecker) -> bool:
    if connection.has_ended:
        return True
    if connection.principal is None:
        return False
    try:
        connection.principal = await connection.credentials.check(checker)
    except Refuse as error:
        connection.end(CLOSE_CREDENTIALS, error.code)
        return True
    except Retry:
        return False  # nobody is thrown out because the database is away
    return False
