"""What custody needs from modules above it; the composition root wires it."""

from __future__ import annotations

from typing import Protocol

from lockstep.chains.evm import TransactionType
from lockstep.custody.types import Decision, QueuedTransaction, Quote, TransactionIntent
from lockstep.kit.database import UnitOfWork


class Sender(Protocol):
    """Takes over transactions that were decided on; transactions implements it."""

    async def enqueue(self, uow: UnitOfWork, decision: Decision, intent: TransactionIntent) -> QueuedTransaction:
        """Store the transaction in the caller's database transaction. The same idempotency key gives the same row."""
        ...

    def transaction_type(self, chain: str) -> TransactionType:
        """Type of the transactions that are sent on a chain.

        Raises:
            UnknownChain: the chain is not configured.
        """
        ...

    async def runs_batches(self, chain: str, address: str) -> bool:
        """Whether the account runs code now that makes calls in a batch when it asks itself (ERC-7821, ERC-7579).

        Raises:
            UnknownChain: the chain is not configured. Retry: its nodes cannot be asked.
        """
        ...

    async def quote(self, intent: TransactionIntent) -> Quote:
        """What it would cost now and whether it would go through; writes nothing."""
        ...


class NonceLedger(Protocol):
    """The one ledger of signed nonces, as a defence against signing twice; transactions implements it."""

    async def claim(self, uow: UnitOfWork, chain: str, address: str, nonce: int, digest: bytes) -> None:
        """Reserve the nonce for this digest in the caller's database transaction; the same digest may come again.

        Raises:
            Conflict: another digest holds the nonce, or it is below what the chain has seen.
        """
        ...
