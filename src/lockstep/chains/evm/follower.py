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
from lockstep.chains.evm.errors import NodeError, NodeUnavailable, RangeTooWide, ReorganisedTooDeep
from lockstep.chains.evm.logs import Moved
from lockstep.chains.evm.types import BlockRef, Hash32
from lockstep.chains.evm.windows import ScanWindow
from lockstep.chains.evm.wire import Header, Log, LogFilter
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Retry, Stop

_block = Gauge("lockstep_follower_block", "Last executed block", ["follower", "chain"])
_behind = Gauge(
    "lockstep_follower_lag_blocks", "Blocks between the head and the last executed one", ["follower", "chain"]
)
_behind_seconds = Gauge(
    "lockstep_follower_lag_seconds", "Chain time between the last executed block and the head", ["follower", "chain"]
)
_head_age = Gauge("lockstep_chain_head_age_seconds", "Age of the newest block by this host's clock", ["chain"])
_unwound = Counter("lockstep_follower_unwound_blocks", "Blocks unwound by reorganisations", ["follower", "chain"])

log = structlog.get_logger(__name__)

KEPT_BLOCKS = 512
"""How many executed blocks are remembered; a deeper reorganisation stops the follower."""
_PROBED_BLOCKS = 64
_LONGEST_WAIT = 2.0
"""Seconds without a new head after which it is looked anyway; well below the silence that a leader may keep."""


class LogHandler(Protocol):
    """What a module does with the logs it follows."""

    async def wanted(self, uow: UnitOfWork, chain: str) -> Sequence[LogFilter]:
        """Which logs of this chain to read. Asked before every scan."""
        ...

    def also_wanted(self, logs: Sequence[Log]) -> Sequence[LogFilter]:
        """Which further logs of the same blocks these make wanted: those of contracts that they create."""
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
        self._window = ScanWindow(client.config.log_range)
        self._checkpoint: BlockRef | None = None
        """As this process wrote it last; writing compares it with the stored one."""
        self._looked_at: Hash32 | None = None
        """The head of the last look."""
        self._has_moved = False
        self._is_stale = False

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
        except Moved as reason:
            log.info("follower_looks_again", follower=self.name, chain=self.chain, reason=str(reason))
            self._checkpoint, self._has_moved = None, True
            return True

    async def checkpoint(self) -> BlockRef | None:
        """The last executed block; None before the first look."""
        async with self._database.system("follower") as uow:
            return await store.find_checkpoint(uow, self.name, self.chain)

    async def _follow_once(self) -> bool:
        head = await self._client.heads.newest(now=self._has_moved)
        self._has_moved, self._looked_at = False, head.ref.hash
        checkpoint = self._checkpoint or await self.checkpoint() or await self._begin()
        self._checkpoint = checkpoint
        self._tell(checkpoint, head.ref)
        if (head.ref.number, head.ref.hash) == (checkpoint.number, checkpoint.hash):
            return False
        if checkpoint.number >= 0 and (head.ref.number, head.parent_hash) != (checkpoint.number + 1, checkpoint.hash):
            canonical = await self._client.find_block(checkpoint.number)
            if canonical is None or canonical.hash != checkpoint.hash:
                if canonical is None and head.ref.number < checkpoint.number and await self._is_behind(head.ref):
                    return False
                await self._unwind(checkpoint)
                return True
        if head.ref.number <= checkpoint.number:
            return False
        await self._advance(checkpoint, head)
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

    async def _advance(self, checkpoint: BlockRef, head: Header) -> None:
        """Execute the next window; a smaller one where this one is too much for the nodes."""
        loop = asyncio.get_running_loop()
        while True:
            last = min(head.ref.number, checkpoint.number + self._window.blocks)
            began = loop.time()
            try:
                count = await self._execute(checkpoint, last, head)
            except (RangeTooWide, NodeUnavailable) as error:
                is_limit = isinstance(error, RangeTooWide) and error.is_limit
                if not self._window.refused(is_limit=is_limit):
                    raise
                log.info("follower_reads_less", follower=self.name, chain=self.chain, blocks=self._window.blocks)
                continue
            self._window.answered(last - checkpoint.number, count, loop.time() - began)
            return

    async def _execute(self, checkpoint: BlockRef, last: int, head: Header) -> int:
        """Execute the blocks up to `last`; returns how many logs they had."""
        first = checkpoint.number + 1
        recent = max(first, head.ref.number - KEPT_BLOCKS)
        headers = {head.ref.number: head} if last == head.ref.number else {}
        headers |= await self._headers([n for n in (*range(recent, last), last) if n not in headers])
        async with self._database.system("follower") as uow:
            wanted = await self._handler.wanted(uow, self.chain)
        logs = await self._client.logs.read(wanted, first, last, headers)
        if logs and (further := self._handler.also_wanted(logs)):
            more = await self._client.logs.read(further, logs[0].block_number, last, headers)
            logs = sorted({*logs, *more}, key=lambda entry: (entry.block_number, entry.log_index))
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
            if last == head.ref.number:
                await self._handler.on_head(uow, end)
        self._checkpoint = end
        self._tell(end, head.ref)
        return len(logs)

    async def _headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        if not numbers:
            return {}
        found = await self._client.headers(numbers)
        headers = {header.ref.number: header for header in found if header is not None}
        if len(headers) != len(numbers):
            raise NodeError("the node does not have all blocks below its head")
        return headers

    def _tell(self, checkpoint: BlockRef, head: BlockRef) -> None:
        """How far the follower is, and how far behind; nothing of it is known below the first block."""
        age = self._clock.now().timestamp() - head.timestamp
        _head_age.labels(self.chain).set(age)
        if age > self._client.config.stale_seconds:
            if not self._is_stale:
                log.warning("chain_stands_still", chain=self.chain, block=head.number, seconds=int(age))
            self._is_stale = True
        else:
            self._is_stale = False
        _block.labels(self.name, self.chain).set(checkpoint.number)
        _behind.labels(self.name, self.chain).set(max(head.number - checkpoint.number, 0))
        seconds = max(head.timestamp - checkpoint.timestamp, 0) if checkpoint.hash else age
        _behind_seconds.labels(self.name, self.chain).set(seconds)

    # --- backwards ----------------------------------------------------------------------------------------------------

    async def _unwind(self, checkpoint: BlockRef) -> None:
        ancestor = await self._find_ancestor(checkpoint)
        async with self._database.system("follower") as uow:
            await self._lock(uow, checkpoint)
            await self._handler.unwind(uow, ancestor)
            await store.forget_blocks(uow, self.name, self.chain, above=ancestor.number)
            await store.move_checkpoint(uow, self.name, ancestor, self._clock.now(), unwound=True)
            await self._handler.on_head(uow, ancestor)
        self._checkpoint = ancestor
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
            raise Moved("another worker moved the checkpoint")


def _check_branch(headers: dict[int, Header], logs: Sequence[Log], checkpoint: BlockRef) -> None:
    """Everything that was read must lie on one branch that goes on from the checkpoint."""
    for number, header in headers.items():
        parent = headers[number - 1].ref.hash if number - 1 in headers else None
        if number - 1 == checkpoint.number and checkpoint.hash:
            parent = checkpoint.hash
        if parent is not None and header.parent_hash != parent:
            raise Moved("the chain was reorganised while it was read")
    for entry in logs:
        if entry.block_hash != headers[entry.block_number].ref.hash:
            raise Moved("a log of another branch")
