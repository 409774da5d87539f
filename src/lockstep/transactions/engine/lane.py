"""The engine's work on one chain: what every step needs, and the little that is remembered between looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from lockstep.chains.evm import Hash32
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.transactions.engine.family import Family
from lockstep.transactions.types import EngineSettings, TransactionSigner


@dataclass(slots=True)
class Lane:
    """One chain of one worker."""

    family: Family
    database: Database
    clock: Clock
    signer: TransactionSigner
    settings: EngineSettings
    head_seen: Hash32 | None = None
    """Head of the last look at what is in flight."""
    final_seen: tuple[int, Hash32] | None = None
    """Number and hash of the highest block in which something became final."""

    @property
    def chain(self) -> str:
        return self.family.chain

    @property
    def block_time(self) -> timedelta:
        return self.family.block_time

    @property
    def block_seconds(self) -> float:  # house: float-near-money, because these are seconds
        """The same in seconds, and at least a quarter of one."""
        return max(self.block_time / timedelta(seconds=1), 0.25)
