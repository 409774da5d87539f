"""Follows one chain: executes the logs of new blocks and unwinds those of dropped ones, under one checkpoint.

The checkpoint (number, hash) moves in the same database transaction as everything that the handler writes, so a crash
loses and doubles nothing. When the block at the checkpoint is no longer canonical, the handler unwinds to the newest
common ancestor first. Many workers may run a follower: one leads by a lock of the database, the others wait.
Does not know what the logs mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from lockstep.chains.evm import store
from lockstep.chains.evm.client import EvmClient
from lockstep.chains.evm.errors import NodeError, ReorganisedTooDeep
from lockstep.chains.evm.types import BlockRef, Hash32
from lockstep.chains.evm.wire import Header, Log, LogFilter
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Retry, Stop

_block = Gauge("lockstep_follower_block", "Last executed block", ["follower", "chain"])
_unwound = Counter("lockstep_follower_unwound_blocks", "Blocks unwound by reorganisations", ["follower", "chain"])

log = structlog.get_logger(__name__)

KEPT_BLOCKS = 512
"""How many executed blocks are remembered; a deeper reorganisation stops the follower."""
_PROBED_BLOCKS = 64
_LONGEST_WAIT = 2.0
"""Seconds without a new head after which it is looked anyway; well below the silence that a leader may keep."""


class LogHandler(Protocol):
    """What a module does with the logs it follows."""

    def wanted(self, chain: str) -> LogFilter:
        """Which logs of this chain to read. Asked before every scan."""
        ...

    async def execute(self, uow: UnitOfWork, block: BlockRef, logs: Sequence[Log]) -> None:
        """Write what the logs of one block mean; called for blocks with logs only, in the order of the chain."""
        ...

    async def unwind(self, uow: UnitOfWork, to_block: BlockRef) -> None:
        """Undo everything written for blocks above this one (`number` -1: everything)."""
        ...

    async def on_head(self, uow: UnitOfWork, head: BlockRef) -> None:
        """A new head was reached, or the chain was unwound; wake whoever waits for chain time or confirmations."""
        ...


class _Moved(Exception):
    """The chain or the checkpoint moved while we looked; look again."""


class Follower:
    """One handler on one chain."""

    def __init__(self, name: str, client: EvmClient, database: Database, clock: Clock, handler: LogHandler) -> None:
        """
        Args:
            name: of the checkpoint; must stay the same for ever.
        """
        self.name = name
        self.chain = client.chain
        self._client, self._database, self._clock, self._handler = client, database, clock, handler
        self._looked_at: Hash32 | None = None
        """The head of the last look."""
        self._has_moved = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow while leading; wait to lead otherwise. Node and database faults are waited out."""
        heads = self._client.heads
        while not stop.is_set():
            try:
                async with self._database.leadership(f"follower.{self.name}.{self.chain}") as lead:
                    if lead is not None:
                        async with heads.watching():
                            while not stop.is_set():
                                await lead.execute("select 1")  # the lock lives and dies with this connection
                                if not await self.follow_once():
                                    await heads.changed(self._looked_at, stop, _LONGEST_WAIT)
            except (Retry, psycopg.Error) as error:
                log.warning("follower_waits", follower=self.name, chain=self.chain, reason=type(error).__name__)
            except Stop as error:
                log.error(
                    "follower_stopped", follower=self.name, chain=self.chain, code=error.code, detail=error.detail
                )
                await pause(stop, 30)
            await pause(stop, 0.5)

    async def follow_once(self) -> bool:
        """One look: unwind if needed, else execute the next range. Returns whether anything moved."""
        try:
            return await self._follow_once()
        except _Moved as reason:
            log.info("follower_looks_again", follower=self.name, chain=self.chain, reason=str(reason))
            self._has_moved = True
            return True

    async def checkpoint(self) -> BlockRef | None:
        """The last executed block; None before the first look."""
        async with self._database.system("follower") as uow:
            return await store.find_checkpoint(uow, self.name, self.chain)

    async def _follow_once(self) -> bool:
        checkpoint = await self.checkpoint()
        if checkpoint is None:
            checkpoint = await self._begin()
        head = (await self._client.heads.newest(now=self._has_moved)).ref
        self._has_moved, self._looked_at = False, head.hash
        if (head.number, head.hash) == (checkpoint.number, checkpoint.hash):
            return False
        if checkpoint.number >= 0:
            canonical = await self._client.find_block(checkpoint.number)
            if canonical is None or canonical.hash != checkpoint.hash:
                if canonical is None and head.number < checkpoint.number and await self._is_behind(head):
                    return False
                await self._unwind(checkpoint)
                return True
        if head.number <= checkpoint.number:
            return False
        await self._execute(checkpoint, head)
        return True

    async def _begin(self) -> BlockRef:
        """First look: stand just below the block where the chain's contracts begin."""
        number = self._client.config.first_block - 1
        start = BlockRef(self.chain, -1, b"", 0) if number < 0 else await self._client.block(number)
        async with self._database.system("follower") as uow:
            await store.insert_checkpoint(uow, self.name, start)
        return start

    async def _is_behind(self, head: BlockRef) -> bool:
        """Whether the node simply lags: its head is a block that we executed, and no branch was dropped.

        A reorganisation to a shorter branch looks the same until the branch grows; until then nothing is lost by waiting.
        """
        async with self._database.system("follower") as uow:
            known = await store.list_blocks(uow, self.name, self.chain, head.number, 1)
        return bool(known) and known[0][:2] == (head.number, head.hash)

    # --- forwards -----------------------------------------------------------------------------------------------------

    async def _execute(self, checkpoint: BlockRef, head: BlockRef) -> None:
        first = checkpoint.number + 1
        last = min(head.number, checkpoint.number + self._client.config.log_range)
        recent = max(first, head.number - KEPT_BLOCKS)
        headers = await self._headers([last, *range(recent, last)])
        logs, seen = await self._client.logs_up_to(self._handler.wanted(self.chain), first, last)
        if seen.ref.hash != headers[last].ref.hash:
            raise _Moved("the last block of the range changed while its logs were read")
        headers |= await self._headers(sorted({entry.block_number for entry in logs} - headers.keys()))
        _check_branch(headers, logs, checkpoint)
        blocks: dict[int, list[Log]] = {}
        for entry in logs:
            blocks.setdefault(entry.block_number, []).append(entry)
        end = headers[last].ref
        async with self._database.system("follower") as uow:
            await self._lock(uow, checkpoint)
            for number in sorted(blocks):
                await self._handler.execute(uow, headers[number].ref, blocks[number])
            await store.record_blocks(uow, self.name, [headers[number].ref for number in sorted(headers)])
            await store.forget_blocks(uow, self.name, self.chain, below=last - KEPT_BLOCKS)
            await store.move_checkpoint(uow, self.name, end, self._clock.now(), unwound=False)
            if last == head.number:
                await self._handler.on_head(uow, end)
        _block.labels(self.name, self.chain).set(last)

    async def _headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        found = await self._client.headers(numbers)
        headers = {header.ref.number: header for header in found if header is not None}
        if len(headers) != len(numbers):
            raise NodeError("the node does not have all blocks below its head")
        return headers

    # --- backwards ----------------------------------------------------------------------------------------------------

    async def _unwind(self, checkpoint: BlockRef) -> None:
        ancestor = await self._find_ancestor(checkpoint)
        async with self._database.system("follower") as uow:
            await self._lock(uow, checkpoint)
            await self._handler.unwind(uow, ancestor)
            await store.forget_blocks(uow, self.name, self.chain, above=ancestor.number)
            await store.move_checkpoint(uow, self.name, ancestor, self._clock.now(), unwound=True)
            await self._handler.on_head(uow, ancestor)
        _unwound.labels(self.name, self.chain).inc(checkpoint.number - ancestor.number)
        log.warning(
            "chain_reorganised",
            follower=self.name,
            chain=self.chain,
            from_block=checkpoint.number,
            to_block=ancestor.number,
        )

    async def _find_ancestor(self, checkpoint: BlockRef) -> BlockRef:
        """The newest remembered block that is still canonical."""
        top = checkpoint.number
        while True:
            async with self._database.system("follower") as uow:
                known = await store.list_blocks(uow, self.name, self.chain, top, _PROBED_BLOCKS)
            if not known:
                break
            canonical = await self._client.headers([number for number, _, _ in known])
            for (number, block_hash, timestamp), header in zip(known, canonical, strict=True):
                if header is not None and header.ref.hash == block_hash:
                    return BlockRef(self.chain, number, block_hash, timestamp)
            top = known[-1][0] - 1
        if top < max(self._client.config.first_block, 1) or checkpoint.number < KEPT_BLOCKS:
            return BlockRef(self.chain, -1, b"", 0)
        raise ReorganisedTooDeep(
            f"{self.name} on {self.chain}: none of the last {KEPT_BLOCKS} executed blocks is canonical any more; "
            "check that the node serves the right chain",
            chain=self.chain,
        )

    async def _lock(self, uow: UnitOfWork, expected: BlockRef) -> None:
        """Lock the checkpoint; another worker may have moved it since we read it."""
        if await store.find_checkpoint(uow, self.name, self.chain, lock=True) != expected:
            raise _Moved("another worker moved the checkpoint")


def _check_branch(headers: dict[int, Header], logs: Sequence[Log], checkpoint: BlockRef) -> None:
    """Everything that was read must lie on one branch that goes on from the checkpoint."""
    for number, header in headers.items():
        parent = headers[number - 1].ref.hash if number - 1 in headers else None
        if number - 1 == checkpoint.number and checkpoint.hash:
            parent = checkpoint.hash
        if parent is not None and header.parent_hash != parent:
            raise _Moved("the chain was reorganised while it was read")
    for entry in logs:
        if entry.block_hash != headers[entry.block_number].ref.hash:
            raise _Moved("a log of another branch")
