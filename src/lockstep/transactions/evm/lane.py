"""What the parts of the family share on one chain, and the little that is remembered between looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lockstep.chains.evm import Address, BlockRef, EvmClient, FeeMarket, Hash32
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.transactions.types import EngineSettings, StateObserver, Transaction, TransactionSigner


@dataclass(slots=True)
class EvmLane:
    """One EVM chain of one worker."""

    client: EvmClient
    database: Database
    clock: Clock
    signer: TransactionSigner
    settings: EngineSettings
    observer: StateObserver | None = None
    """Says what of the state around transactions is kept."""
    low_balance: int = 0
    """An account that sends and has less, wei, is told of; 0: none is."""
    market_seen: tuple[Hash32, FeeMarket] | None = None
    """Fee market at the newest head."""
    measured_at: datetime | None = None
    balances: dict[Address, int] = field(default_factory=dict)
    """Of the sending accounts, wei, when they were last measured."""
    gaps_seen: dict[tuple[Address, int], datetime] = field(default_factory=dict)
    """Nonces that nobody has, below others in flight, and since when they were seen."""
    gaps_filled: dict[tuple[Address, int], datetime] = field(default_factory=dict)
    """When a nonce was last given to a self-send: what is refused again and again is not tried all the time."""
    jams_seen: set[Address] = field(default_factory=set)
    """Accounts that were found jammed at the last look."""

    @property
    def chain(self) -> str:
        return self.client.chain

    @property
    def block_time(self) -> timedelta:
        return timedelta(seconds=self.client.config.block_seconds)

    @property
    def block_seconds(self) -> float:  # house: float-near-money, because these are seconds
        """The same in seconds, and at least a quarter of one."""
        return max(self.client.config.block_seconds, 0.25)

    async def fee_market(self, head: BlockRef) -> FeeMarket:
        """The fee market at this head, asked for once per head."""
        if self.market_seen is None or self.market_seen[0] != head.hash:
            self.market_seen = (head.hash, await self.client.fee_market())
        return self.market_seen[1]

    def fee_ceiling(self, transaction: Transaction) -> int:
        """The most that a transaction may pay per gas: its own ceiling, or the chain's where that is lower. Wei."""
        limit = self.client.config.max_fee_per_gas
        own = transaction.max_fee_ceiling
        return limit if own is None else min(own, limit)
