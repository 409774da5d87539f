"""A family of chains without nonces, for the engine's interface: a transaction spends coins, is never made dearer, and ends at
its time to live. Its chain and its network are in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from lockstep.chains.evm import BlockRef
from lockstep.custody import SignedTransaction
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId
from lockstep.transactions.engine.family import Batch, Chased, Inclusion
from lockstep.transactions.engine.moves import Moves, change, move, wait
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.types import Attempt, Change, Form, State, Submission, Transaction

CHAIN = "coins:test"
TIME_TO_LIVE = 5
"""Blocks."""


@dataclass
class Network:
    """Blocks of transaction hashes, a pool, and bytes that get lost."""

    blocks: list[list[bytes]] = field(default_factory=lambda: [[]])
    branch: int = 0
    pool: dict[bytes, bytes] = field(default_factory=dict)
    loses: int = 0
    received: list[bytes] = field(default_factory=list)

    def take(self, raw: bytes) -> None:
        self.received.append(raw)
        if self.loses:
            self.loses -= 1
        else:
            self.pool[hash_of(raw)] = raw

    def mine(self, blocks: int = 1, *, empty: bool = False) -> None:
        for _ in range(blocks):
            self.blocks.append([] if empty else list(self.pool))
            if not empty:
                self.pool.clear()

    def drop(self, blocks: int) -> None:
        """A reorganisation: what was in these blocks is nowhere any more."""
        del self.blocks[-blocks:]
        self.branch += 1
        self.mine(blocks, empty=True)

    def ref(self, number: int) -> BlockRef:
        """Blocks differ by what is in them, and by the branch on which they were made."""
        seed = repr((number, self.blocks[number], self.branch if not self.blocks[number] else 0))
        return BlockRef(CHAIN, number, hashlib.sha256(seed.encode()).digest(), number)


@dataclass(frozen=True)
class Body:
    """What is signed: a coin, a recipient, a time to live."""

    content: bytes

    def digest(self) -> bytes:
        return hashlib.sha256(self.content).digest()


class Notary:
    """Stands for custody."""

    def __init__(self) -> None:
        self.refusal: LockstepError | None = None

    async def sign_transactions(self, items: list[tuple[str, Any]]) -> Sequence[SignedTransaction | LockstepError]:
        if self.refusal is not None:
            return [self.refusal] * len(items)
        return [
            SignedTransaction(raw=body.content, hash=hash_of(body.content), digest=body.digest()) for _, body in items
        ]

    async def release_decisions(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> None:
        """Coins know no limits."""

    async def list_released(self, uow: UnitOfWork, items: Sequence[tuple[AppId, str, bytes]]) -> set[bytes]:
        return set()


class Coins:
    """The family: coins are numbered, and each belongs to one transaction at most."""

    chain = CHAIN
    block_time = timedelta(seconds=0.05)
    has_quorum = False

    def __init__(self, network: Network, clock: Clock, coins: int = 2) -> None:
        self.network, self._clock = network, clock
        self.free = set(range(coins))
        self._held: dict[str, int] = {}

    async def plan(self, queued: Sequence[Transaction]) -> Coins:
        return self

    async def reserve(self, uow: UnitOfWork, queued: Sequence[Transaction]) -> Moves:
        moves, now, made = Moves(), self._clock.now(), []
        for t in queued:
            if not self.free:
                moves.wait(t, wait(t, "every coin is spoken for", now, 0.01))
                continue
            coin = self._held[t.id] = min(self.free)
            self.free.remove(coin)
            ends = len(self.network.blocks) - 1 + TIME_TO_LIVE
            attempt = Attempt(
                transaction_id=t.id,
                attempt=1,
                app_id=t.app_id,
                nonce=coin,
                gas_limit=ends,
                max_fee_per_gas=0,
                max_priority_fee_per_gas=0,
                digest=_body(t, coin, ends).digest(),
                created_at=now,
            )
            made.append(attempt)
            moves.changes.append(change(t, move(t, State.RESERVED, now, now, nonce=coin, attempt=1), coin=coin))
        await attempt_rows.insert_attempts(uow, made)
        return moves

    async def give_back(self, uow: UnitOfWork, transaction_ids: Sequence[str]) -> None:
        self.free |= {self._held.pop(t_id) for t_id in transaction_ids}

    def request(self, transaction: Transaction, attempt: Attempt) -> Any:
        return _body(transaction, attempt.nonce, attempt.gas_limit)

    def check_signed(self, transaction: Transaction, attempt: Attempt, answer: SignedTransaction) -> SignedTransaction:
        assert answer.digest == attempt.digest
        return answer

    async def forget(self, uow: UnitOfWork, transaction: Transaction, attempt: Attempt) -> None:
        raise AssertionError("there is only one form")

    async def submit(self, batch: Batch, head: BlockRef) -> list[Submission]:
        for _, attempts in batch:
            self.network.take(attempts[-1].raw or b"")
        return [Submission(is_out=True, outcome="accepted") for _ in batch]

    async def after_refusals(self, *_: object) -> Change | None:
        return None

    async def chase(
        self, uow: UnitOfWork, overdue: Sequence[Transaction], attempts: Mapping[str, list[Attempt]], head: BlockRef
    ) -> Chased:
        chased, now = Chased(), self._clock.now()
        for t in overdue:
            if head.number > attempts[t.id][-1].gas_limit:
                await self.give_back(uow, [t.id])
                chased.moves.changes.append(change(t, move(t, State.EXPIRED, now, None, reason="its time is over")))
            else:
                await self.submit([(t, attempts[t.id])], head)
                chased.moves.wait(t, wait(t, "waits for a block", now, 0.01))
        return chased

    async def cancel(self, uow: UnitOfWork, transaction: Transaction, *_: object) -> Change | str:
        return "what is signed ends at its time to live"

    async def mend(self) -> int:
        return 0

    def watching(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def newest_head(self) -> BlockRef:
        return self.network.ref(len(self.network.blocks) - 1)

    async def final_number(self, head: BlockRef) -> int:
        return head.number - 2

    async def blocks(self, numbers: Sequence[int], *, agreed: bool = False) -> list[BlockRef | None]:
        return [self.network.ref(number) if number < len(self.network.blocks) else None for number in numbers]

    async def look_up(
        self, transactions: Sequence[Transaction], attempts: Mapping[str, list[Attempt]]
    ) -> Mapping[str, Inclusion]:
        where = {one: number for number, block in enumerate(self.network.blocks) for one in block}
        hashes = {t.id: attempts[t.id][-1].hash for t in transactions}
        return {
            t_id: Inclusion(
                form=Form.ORIGINAL,
                hash=one,
                block_number=where[one],
                block_hash=self.network.ref(where[one]).hash,
                succeeded=True,
            )
            for t_id, one in hashes.items()
            if one in where
        }


def hash_of(raw: bytes) -> bytes:
    return hashlib.sha256(b"hash" + raw).digest()


def _body(t: Transaction, coin: int, ends: int) -> Body:
    return Body(f"{t.id} spends {coin} until {ends}".encode())
