"""Where the signer keeps its exec shares: its own schema, read by its own role, and a bounded memory of sealed rows.

Everything here is sealed; nothing in this module can open a share. Rows are added and read, never changed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lockstep.chains.evm import Address
from lockstep.custody.execution.errors import SealBroken, SignerUnavailable, WalletKeyExists, WalletKeyMissing
from lockstep.custody.execution.types import WalletKey
from lockstep.kit.ids import AppId, WalletId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecShareRow:
    """A sealed exec share (shares.py) and the key that it belongs to."""

    key: WalletKey
    sealed: bytes


class ExecShareStore(Protocol):
    """Keeps sealed exec shares over restarts."""

    async def add_many(self, rows: Sequence[ExecShareRow]) -> set[WalletId]:
        """Keep the rows of wallets that have none yet; returns their ids.

        Raises:
            SignerUnavailable: the store cannot be reached.
        """

    async def find_many(self, wallet_ids: Sequence[WalletId]) -> list[ExecShareRow]:
        """
        Raises:
            SignerUnavailable: the store cannot be reached.
        """

    async def close(self) -> None: ...


class MemoryShareStore:
    """Keeps exec shares as long as the process lives; for tests."""

    def __init__(self) -> None:
        self.rows: dict[WalletId, ExecShareRow] = {}

    async def add_many(self, rows: Sequence[ExecShareRow]) -> set[WalletId]:
        return {row.key.wallet_id for row in rows if self.rows.setdefault(row.key.wallet_id, row) is row}

    async def find_many(self, wallet_ids: Sequence[WalletId]) -> list[ExecShareRow]:
        return [self.rows[wallet_id] for wallet_id in wallet_ids if wallet_id in self.rows]

    async def close(self) -> None:
        return


class PostgresShareStore:
    """Keeps exec shares in the schema `signer`, as the role `lockstep_signer`, one statement per transaction."""

    def __init__(
        self, dsn: str, *, max_connections: int = 2, acquire_seconds: float = 5.0, open_seconds: float = 10.0
    ) -> None:
        self._open_seconds = open_seconds
        self._pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            dsn,
            kwargs={"autocommit": True, "application_name": "lockstep signer"},
            configure=_become_signer,
            # Shares are remembered, so a connection may lie here for hours and outlive its server.
            check=AsyncConnectionPool.check_connection,
            min_size=1,
            max_size=max_connections,
            timeout=acquire_seconds,
            reconnect_timeout=30,
            open=False,
            name="signer",
        )

    async def open(self) -> None:
        """Open the pool; the first connection is awaited, so that a wrong address or role is known at once.

        Raises:
            SignerUnavailable: no connection in time.
        """
        await self._pool.open()
        try:
            await self._pool.wait(timeout=self._open_seconds)
        except PoolTimeout as error:
            await self._pool.close()
            raise SignerUnavailable("the database of the exec shares cannot be reached as lockstep_signer") from error

    async def close(self) -> None:
        await self._pool.close()

    async def add_many(self, rows: Sequence[ExecShareRow]) -> set[WalletId]:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "insert into signer.exec_shares (wallet_id, app_id, address, sealed)"
                    " select * from unnest(%b::text[], %b::text[], %b::text[], %b::bytea[])"
                    " on conflict do nothing returning wallet_id",
                    (
                        [row.key.wallet_id for row in rows],
                        [row.key.app_id for row in rows],
                        [row.key.address for row in rows],
                        [row.sealed for row in rows],
                    ),
                )
                return {WalletId(wallet_id) for (wallet_id,) in await cursor.fetchall()}
        except (psycopg.Error, PoolTimeout) as error:
            raise SignerUnavailable("the exec shares could not be stored") from error

    async def find_many(self, wallet_ids: Sequence[WalletId]) -> list[ExecShareRow]:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "select wallet_id, app_id, address, sealed from signer.exec_shares where wallet_id = any(%s)",
                    (list(wallet_ids),),
                )
                rows = await cursor.fetchall()
        except (psycopg.Error, PoolTimeout) as error:
            raise SignerUnavailable("the exec shares cannot be read") from error
        return [
            ExecShareRow(
                key=WalletKey(app_id=AppId(app_id), wallet_id=WalletId(wallet_id), address=Address(address)),
                sealed=bytes(sealed),
            )
            for wallet_id, app_id, address, sealed in rows
        ]


class ShareCache:
    """The sealed rows that were used last. Misses that happen together are read together, new rows stored together."""

    def __init__(self, store: ExecShareStore, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self._rows: OrderedDict[WalletId, ExecShareRow] = OrderedDict()
        self._wanted: dict[WalletId, asyncio.Future[ExecShareRow]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._fresh: list[tuple[ExecShareRow, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, wallet_id: WalletId) -> ExecShareRow | None:
        """The row if it is in memory."""
        row = self._rows.get(wallet_id)
        if row is not None:
            self._rows.move_to_end(wallet_id)
        return row

    async def get(self, wallet_id: WalletId) -> ExecShareRow:
        """
        Raises:
            WalletKeyMissing: the wallet has no share here.
            SignerUnavailable: the store cannot be reached.
        """
        row = self.find(wallet_id)
        if row is not None:
            return row
        wanted = self._wanted.get(wallet_id)
        if wanted is None:
            wanted = self._wanted[wallet_id] = asyncio.get_running_loop().create_future()
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read())
        # Shielded: others may wait for the same row.
        return await asyncio.shield(wanted)

    async def add(self, row: ExecShareRow) -> None:
        """Store a new row, then remember it; rows that come together are stored together.

        Raises:
            WalletKeyExists: this wallet has a share.
            SignerUnavailable: the store cannot be reached.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fresh.append((row, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await asyncio.shield(stored)

    async def close(self) -> None:
        for task in (self._reader, self._writer):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for waiting in self._wanted.values():
            waiting.cancel()
        for _, stored in self._fresh:
            stored.cancel()
        await self._store.close()

    async def _read(self) -> None:
        while self._wanted:
            wanted = dict(self._wanted)
            fault: Exception | None = None
            rows: dict[WalletId, ExecShareRow] = {}
            try:
                rows = {row.key.wallet_id: row for row in await self._store.find_many(list(wanted))}
            except Exception as error:  # handed to everybody who waits
                fault = error
            for wallet_id, waiting in wanted.items():
                del self._wanted[wallet_id]
                row = rows.get(wallet_id)
                if row is not None:
                    self._remember(row)
                if waiting.done():
                    continue
                if row is not None:
                    waiting.set_result(row)
                else:
                    waiting.set_exception(fault or WalletKeyMissing(wallet_id=wallet_id))
                    waiting.exception()  # seen, even if the one who asked has gone

    async def _write(self) -> None:
        while self._fresh:
            batch, self._fresh = self._fresh, []
            fault: Exception | None = None
            kept: set[WalletId] = set()
            try:
                kept = await self._store.add_many([row for row, _ in batch])
            except asyncio.CancelledError:
                for _, stored in batch:
                    stored.cancel()
                raise
            except Exception as error:  # handed to everybody who waits
                fault = error
            for row, stored in batch:
                is_kept = row.key.wallet_id in kept
                kept.discard(row.key.wallet_id)  # a second row of one wallet in a batch was not stored
                if is_kept:
                    self._remember(row)
                if stored.done():
                    continue
                if is_kept:
                    stored.set_result(None)
                else:
                    stored.set_exception(fault or WalletKeyExists())
                    stored.exception()  # seen, even if the one who asked has gone

    def _remember(self, row: ExecShareRow) -> None:
        self._rows[row.key.wallet_id] = row
        while len(self._rows) > self._capacity:
            self._rows.popitem(last=False)


async def _become_signer(connection: AsyncConnection[TupleRow]) -> None:
    await connection.execute("set role lockstep_signer")


def check_belongs(row: ExecShareRow, key: WalletKey) -> None:
    """Check that a row is the one of this key, before its seal is tried.

    Raises:
        SealBroken: the row is of another app, wallet or address.
    """
    if row.key != key:
        raise SealBroken("the exec share is not of this app, wallet and address")
