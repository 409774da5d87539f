"""Whether what was called final has stayed on the chain: if not, `finality_blocks` is too small or the nodes are wrong.

Undoes nothing: others have acted on what was final. An operator has to know.
"""

from __future__ import annotations

import structlog
from prometheus_client import Counter

from lockstep.chains.evm import Hash32
from lockstep.transactions.engine.lane import Lane

log = structlog.get_logger(__name__)

_broken = Counter(
    "lockstep_final_blocks_reorganised", "Blocks that were final for our transactions and then gone", ["chain"]
)


def remember_final(lane: Lane, blocks: list[tuple[int, Hash32]]) -> None:
    """Keep the highest block in which transactions have become final."""
    seen = [lane.final_seen] if lane.final_seen is not None else []
    lane.final_seen = max([*blocks, *seen], default=None)


async def check_final(lane: Lane) -> None:
    """Compare the kept block with the chain; a node that does not have its number is behind and says nothing.

    Raises:
        NodesDisagree, NodeUnavailable, NodeError.
    """
    counted = _broken.labels(lane.chain)
    if lane.final_seen is None:
        return
    number, block_hash = lane.final_seen
    (block,) = await lane.family.blocks([number], agreed=True)
    if block is None or block.hash == block_hash:
        return
    counted.inc()
    log.error(
        "final_block_reorganised",
        chain=lane.chain,
        block_number=number,
        block_hash=block_hash.hex(),
        now=block.hash.hex(),
        hint="finality of this chain is set too low, or its nodes are on a wrong branch",
    )
    lane.final_seen = None
