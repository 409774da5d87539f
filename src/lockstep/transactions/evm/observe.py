"""What a transaction found and what it left: the state around it, just before and at the block of its inclusion.

Whoever knows what matters says so by a `StateObserver`. An observation is worth something to people and to the module that
asked for it, not to the engine: one that cannot be made is left out, and what was mined is recorded all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from lockstep.chains.evm import Hash32, NodeError, NodeUnavailable, Receipt
from lockstep.kit.errors import LockstepError
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.types import Transaction

log = structlog.get_logger(__name__)


async def observe(
    lane: EvmLane, mined: Sequence[tuple[Transaction, Receipt]]
) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """``{"before": …, "after": …}`` by id, of those that somebody wants observed.

    Args:
        mined: in their own form, not as the self-send that cancels one.
    """
    if lane.observer is None:
        return {}
    found: dict[str, Mapping[str, Mapping[str, object]]] = {}
    by_block: dict[Hash32, list[Transaction]] = {}
    for t, receipt in mined:
        by_block.setdefault(receipt.block_hash, []).append(t)
    for block_hash, transactions in by_block.items():
        try:
            block = await lane.client.block(block_hash)
            parent = await lane.client.block(block.number - 1)
            before = await lane.observer.observe(lane.client, transactions, parent)
            after = await lane.observer.observe(lane.client, transactions, block)
        except (NodeError, NodeUnavailable, LockstepError) as error:
            log.warning("transactions_not_observed", chain=lane.chain, block="0x" + block_hash.hex(), code=error.code)
            continue
        found |= {t_id: {"before": before[t_id], "after": after[t_id]} for t_id in before.keys() & after.keys()}
    return found
