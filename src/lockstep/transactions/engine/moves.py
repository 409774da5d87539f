"""How a step changes a transaction, and how changes are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from lockstep.kit import processes
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.rules import backoff_seconds
from lockstep.transactions.store import rows
from lockstep.transactions.types import Change, State, Transaction


@dataclass(slots=True)
class Moves:
    """What one look decided: which transactions took a step, and which wait where they are."""

    changes: list[Change] = field(default_factory=list)
    waits: dict[str, tuple[Transaction, Transaction]] = field(default_factory=dict)
    """(before, after) by id."""

    def wait(self, before: Transaction, after: Transaction) -> None:
        """Have a transaction wait."""
        self.waits[before.id] = (before, after)

    @property
    def settled(self) -> set[str]:
        """Ids of what was decided on."""
        return {change.transaction.id for change in self.changes} | self.waits.keys()

    @property
    def unsigned_ends(self) -> list[str]:
        """Decisions under which nothing was signed and nothing will be."""
        ended = (change.transaction for change in self.changes if change.transaction.state.is_terminal)
        return [transaction.decision_id for transaction in ended if transaction.hash is None]


def move(transaction: Transaction, state: State, now: datetime, due_at: datetime | None, **changes: Any) -> Transaction:
    """The transaction in another state, one version further; failures begin anew and the reason is the given one."""
    return replace(
        transaction,
        **({"reason": None, "failures": 0} | changes),
        state=state,
        version=transaction.version + 1,
        due_at=due_at,
        updated_at=now,
    )


def change(before: Transaction, after: Transaction, /, **facts: object) -> Change:
    """A step for the timeline; bytes are written as hex, amounts as text."""
    return Change(transaction=after, from_state=before.state, facts={name: _fact(fact) for name, fact in facts.items()})


def wait(transaction: Transaction, reason: str, now: datetime, seconds: float | None = None) -> Transaction:
    """The transaction where it stands, looked at again later: after `seconds`, or after a pause that grows."""
    pause = backoff_seconds(transaction.failures) if seconds is None else seconds
    return replace(
        transaction,
        reason=reason,
        failures=transaction.failures + 1,
        due_at=now + timedelta(seconds=pause),
    )


async def write(uow: UnitOfWork, moves: Moves, now: datetime) -> None:
    """Write steps and waits: a wait with a new reason is told to others, a repeated one is not."""
    silent: list[Transaction] = []
    told = list(moves.changes)
    for before, after in moves.waits.values():
        if before.reason == after.reason:
            silent.append(after)
        else:
            spoken = replace(after, version=before.version + 1, updated_at=now)
            told.append(Change(transaction=spoken, from_state=before.state))
    await rows.update(uow, silent)
    await rows.apply(uow, told)
    await _wake(uow, [c.transaction for c in moves.changes], now)


async def _wake(uow: UnitOfWork, transactions: Sequence[Transaction], now: datetime) -> None:
    """Make the processes due that wait for what was mined or has ended."""
    waiting: dict[str, list[str]] = {}
    for transaction in transactions:
        if (
            transaction.wakes_kind
            and transaction.wakes_id
            and (transaction.state.is_terminal or transaction.state is State.MINED)
        ):
            waiting.setdefault(transaction.wakes_kind, []).append(transaction.wakes_id)
    for kind, ids in waiting.items():
        await processes.wake(uow, kind, ids, now)


def _fact(value: object) -> object:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value
