"""What differs between families of chains, behind one interface: how a transaction gets its resources, what is signed,
how bytes reach the network, and what the network says of them.

The engine locks rows, asks, and writes what became of them; states, order, timeline and wakes are its alone. A family
writes only what belongs to its own resources (nonces, inputs, forms). Its part is called with an open database transaction
where one is named, and without one where it asks nodes for many things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from lockstep.chains.evm import BlockRef, UnsignedTransaction
from lockstep.custody import SignedTransaction
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.moves import Moves
from lockstep.transactions.types import Attempt, Change, Form, Submission, Transaction

Batch = Sequence[tuple[Transaction, Sequence[Attempt]]]
"""Transactions with all their attempts, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Where and how one form of a transaction is on the chain."""

    form: Form
    hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    costs: Mapping[str, object] = field(default_factory=dict)
    """Columns of the transaction that say what it took and made, by name."""
    revert_reason: str | None = None
    observed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What it found and what it left, for the timeline."""


@dataclass(slots=True)
class Chased:
    """What became of transactions that are not mined for long."""

    moves: Moves = field(default_factory=Moves)
    has_replaced: bool = False
    """Whether one of them got another form."""


class Plan(Protocol):
    """What the nodes said about queued transactions, before anything is reserved."""

    async def reserve(self, uow: UnitOfWork, queued: Sequence[Transaction]) -> Moves:
        """Fix the first forms of those that can go, with their resources; the others wait or end.

        Args:
            queued: those of the plan that are still queued, locked with their accounts.
        """
        ...


class Family(Protocol):
    """One chain, as its family does it."""

    @property
    def chain(self) -> str:
        """CAIP-2."""
        ...

    @property
    def block_time(self) -> timedelta:
        """Usual time between blocks."""
        ...

    # --- reservation -----------------------------------------------------------------------------------------------

    async def plan(self, queued: Sequence[Transaction]) -> Plan:
        """Ask the nodes what queued transactions would take, and whether they would go through.

        Raises:
            NodeUnavailable, NodeError: nothing was decided.
        """
        ...

    async def give_back(self, uow: UnitOfWork, transaction_ids: Sequence[str]) -> None:
        """Free what was reserved for transactions of which nothing was signed, or nothing will ever be taken."""
        ...

    # --- signature -------------------------------------------------------------------------------------------------

    def request(self, transaction: Transaction, attempt: Attempt) -> UnsignedTransaction:
        """What custody is to sign for an attempt; always the same bytes."""
        ...

    def check_signed(self, transaction: Transaction, attempt: Attempt, answer: SignedTransaction) -> SignedTransaction:
        """The answer of custody with the hash that its bytes have.

        Raises:
            Stop: these are not the bytes that were asked for.
        """
        ...

    async def forget(self, uow: UnitOfWork, transaction: Transaction, attempt: Attempt) -> None:
        """Forget a form that custody refused; the older ones stand."""
        ...

    # --- on its way ------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch, head: BlockRef) -> list[Submission]:
        """Hand the newest signed form of each to the network, in this order. The same bytes may be handed over again.

        Raises:
            NodeUnavailable: what became of them is not known.
        """
        ...

    async def after_refusals(
        self, uow: UnitOfWork, transaction: Transaction, attempts: Sequence[Attempt], submission: Submission
    ) -> Change | None:
        """What follows when the network has refused it several times: another form, or the end; None: wait."""
        ...

    async def chase(
        self, uow: UnitOfWork, overdue: Sequence[Transaction], attempts: Mapping[str, list[Attempt]], head: BlockRef
    ) -> Chased:
        """What to do about transactions that are not mined: send again, give another form, cancel, or find out that they
        never will be.

        Raises:
            NodeUnavailable, NodeError: nothing was decided.
        """
        ...

    async def cancel(
        self, uow: UnitOfWork, transaction: Transaction, attempts: Sequence[Attempt], reason: str | None = None
    ) -> Change | str:
        """Make the form that takes back a signed transaction, or say why there can be none at the moment.

        Args:
            reason: why; None: as it was asked, or its deadline.
        """
        ...

    async def mend(self) -> int:
        """Look after what holds up accounts, and set the figures that operators watch; returns how much was mended."""
        ...

    # --- what the chain says ---------------------------------------------------------------------------------------

    def watching(self) -> AbstractAsyncContextManager[None]:
        """Have the head looked for as long as the block runs."""
        ...

    async def newest_head(self) -> BlockRef:
        """The newest block that is known.

        Raises:
            NodeUnavailable, NodeError.
        """
        ...

    async def final_number(self, head: BlockRef) -> int:
        """Number of the newest block that is final, seen from this head; below 0: there is none."""
        ...

    async def blocks(self, numbers: Sequence[int], *, agreed: bool = False) -> list[BlockRef | None]:
        """The canonical blocks with these numbers; None where a node has none yet.

        Args:
            agreed: as many nodes must say so as the chain's settings ask for where money depends on it.
        """
        ...

    @property
    def has_quorum(self) -> bool:
        """Whether `agreed` makes a difference."""
        ...

    async def look_up(
        self, transactions: Sequence[Transaction], attempts: Mapping[str, list[Attempt]]
    ) -> Mapping[str, Inclusion]:
        """What is on the chain of these, by id, in whichever form.

        Raises:
            NodeUnavailable, NodeError.
        """
        ...
