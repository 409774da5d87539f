"""Figures that operators watch: how old the oldest pending transaction is, and what sending accounts have left."""

from __future__ import annotations

from datetime import timedelta

import structlog
from prometheus_client import Gauge

from lockstep.chains.evm import BlockRef
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.rules import low_accounts
from lockstep.transactions.store import accounts

EVERY = timedelta(seconds=15)
SENDS_SINCE = timedelta(days=7)
"""An account that has sent nothing for so long is no sending account any more."""

log = structlog.get_logger(__name__)

_oldest = Gauge(
    "lockstep_transaction_oldest_pending_seconds",
    "Age of the oldest transaction that is neither mined nor over; 0: there is none",
    ["chain"],
)
_balance = Gauge(
    "lockstep_account_balance_wei",
    "Balance of every account that has sent something within seven days",
    ["chain", "address"],
)
_low = Gauge(
    "lockstep_accounts_low_on_balance",
    "Sending accounts that have less than low_balance_wei of their chain; alert above 0",
    ["chain"],
)


async def measure(lane: EvmLane, head: BlockRef) -> None:
    """Set the figures of a chain, every few seconds.

    Raises:
        NodeUnavailable, NodeError: the balances stay as they were.
    """
    now = lane.clock.now()
    if lane.measured_at is not None and now - lane.measured_at < EVERY:
        return
    lane.measured_at = now
    async with lane.database.system("engine") as uow:
        oldest = await accounts.find_oldest_pending(uow, lane.chain)
        senders = await accounts.list_senders(uow, lane.chain, now - SENDS_SINCE)
    _oldest.labels(lane.chain).set(0 if oldest is None else (now - oldest) / timedelta(seconds=1))
    found = await lane.client.balances(senders, head) if senders else []
    balances = dict(zip(senders, found, strict=True))
    for address in lane.balances.keys() - balances.keys():
        _balance.remove(lane.chain, address)
    for address, balance in balances.items():
        _balance.labels(lane.chain, address).set(balance)
    low = low_accounts(balances, lane.low_balance)
    _low.labels(lane.chain).set(len(low))
    for address in low:
        if address not in low_accounts(lane.balances, lane.low_balance):
            log.warning("account_low", chain=lane.chain, address=address, balance=str(balances[address]))
    lane.balances = balances
