"""One EVM chain as the engine sees it; each part is a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from lockstep.chains.evm import BlockRef, ChainRegistry, MalformedTransaction, UnsignedTransaction, decode_signed
from lockstep.custody import SignedTransaction
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Stop
from lockstep.transactions.engine.family import Batch, Chased, Family, Inclusion, Plan
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.broadcast import after_refusals, submit
from lockstep.transactions.evm.build import unsigned
from lockstep.transactions.evm.chase import chase
from lockstep.transactions.evm.inclusions import look_up
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.mend import mend
from lockstep.transactions.evm.plan import plan
from lockstep.transactions.evm.replace import cancel
from lockstep.transactions.types import (
    Attempt,
    Change,
    EngineSettings,
    StateObserver,
    Submission,
    Transaction,
    TransactionSigner,
)


def evm_families(
    chains: ChainRegistry,
    database: Database,
    signer: TransactionSigner,
    clock: Clock,
    settings: EngineSettings | None = None,
    *,
    low_balances: Mapping[str, int] | None = None,
    observer: StateObserver | None = None,
) -> list[Family]:
    """All EVM chains, for the engine.

    Args:
        observer: says what of the state around mined transactions is kept in their timeline.
        low_balances: by chain, the balance (wei) below which a sending account is told of.
    """
    low, settings = low_balances or {}, settings or EngineSettings()
    return [
        EvmFamily(EvmLane(client, database, clock, signer, settings, observer, low_balance=low.get(client.chain, 0)))
        for client in chains
    ]


class EvmFamily:
    """See `Family`."""

    def __init__(self, lane: EvmLane) -> None:
        self.lane = lane

    @property
    def chain(self) -> str:
        return self.lane.chain

    @property
    def block_time(self) -> timedelta:
        return self.lane.block_time

    async def plan(self, queued: Sequence[Transaction]) -> Plan:
        return await plan(self.lane, queued)

    async def give_back(self, uow: UnitOfWork, transaction_ids: Sequence[str]) -> None:
        await nonces.release(uow, transaction_ids)

    def request(self, transaction: Transaction, attempt: Attempt) -> UnsignedTransaction:
        return unsigned(self.lane, transaction, attempt)

    def check_signed(self, transaction: Transaction, attempt: Attempt, answer: SignedTransaction) -> SignedTransaction:
        wanted = self.request(transaction, attempt)
        try:
            read = decode_signed(answer.raw)
        except MalformedTransaction as error:
            raise Stop(f"custody returned bytes that are no transaction: {error.detail}") from error
        if read.transaction != wanted or read.sender != transaction.sender or wanted.digest() != attempt.digest:
            raise Stop("custody returned another transaction than the one to be signed")
        return SignedTransaction(raw=answer.raw, hash=read.hash, digest=attempt.digest)

    async def forget(self, uow: UnitOfWork, transaction: Transaction, attempt: Attempt) -> None:
        await nonces.forget_digests(uow, [(transaction.chain, transaction.sender, attempt.nonce, attempt.digest)])

    async def submit(self, batch: Batch, head: BlockRef) -> list[Submission]:
        return await submit(self.lane, batch, head)

    async def after_refusals(
        self, uow: UnitOfWork, transaction: Transaction, attempts: Sequence[Attempt], submission: Submission
    ) -> Change | None:
        return await after_refusals(uow, self.lane, transaction, attempts, submission, self.lane.clock.now())

    async def chase(
        self, uow: UnitOfWork, overdue: Sequence[Transaction], attempts: Mapping[str, list[Attempt]], head: BlockRef
    ) -> Chased:
        return await chase(uow, self.lane, overdue, attempts, head)

    async def cancel(
        self, uow: UnitOfWork, transaction: Transaction, attempts: Sequence[Attempt], reason: str | None = None
    ) -> Change | str:
        market, now = await self.lane.client.fee_market(), self.lane.clock.now()
        return await cancel(uow, self.lane, transaction, attempts, market, now, reason=reason)

    async def mend(self) -> int:
        return await mend(self.lane)

    def watching(self) -> AbstractAsyncContextManager[None]:
        return self.lane.client.heads.watching()

    async def newest_head(self) -> BlockRef:
        return (await self.lane.client.heads.newest()).ref

    async def final_number(self, head: BlockRef) -> int:
        return await self.lane.client.final_number(head)

    @property
    def has_quorum(self) -> bool:
        return self.lane.client.config.read_quorum > 1

    async def blocks(self, numbers: Sequence[int], *, agreed: bool = False) -> list[BlockRef | None]:
        headers = await self.lane.client.headers(numbers, agreed=agreed and self.has_quorum)
        return [None if header is None else header.ref for header in headers]

    async def look_up(
        self, transactions: Sequence[Transaction], attempts: Mapping[str, list[Attempt]]
    ) -> Mapping[str, Inclusion]:
        return await look_up(self.lane, transactions, attempts)
