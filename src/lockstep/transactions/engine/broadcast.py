"""Where signed bytes go: to every node of the chain, or to its private one only."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.chains.evm import BlockRef, NodeUnavailable, SendOutcome, SendResult
from lockstep.transactions.engine.context import Lane
from lockstep.transactions.rules import goes_private
from lockstep.transactions.types import Attempt, Transaction


async def broadcast(
    lane: Lane, batch: Sequence[tuple[Transaction, Sequence[Attempt]]], raws: Sequence[bytes], head: BlockRef
) -> list[SendResult]:
    """Hand bytes over in this order; a private node that is away holds up only what goes to it.

    Args:
        batch: transactions with all their attempts, oldest first.
        raws: what is sent of each.
    Raises:
        NodeUnavailable: no node of the chain answered.
    """
    fallback = lane.client.config.private_fallback_blocks
    hidden = [goes_private(t.is_private, attempts[0].sent_block, head.number, fallback) for t, attempts in batch]
    results: dict[int, SendResult] = {}
    for private in (True, False):
        places = [place for place, is_hidden in enumerate(hidden) if is_hidden is private]
        if not places:
            continue
        try:
            answers = await lane.client.send_many([raws[place] for place in places], private=private)
        except NodeUnavailable:
            if not private:
                raise
            answers = [SendResult(SendOutcome.UNKNOWN, "the private node does not answer")] * len(places)
        results.update(zip(places, answers, strict=True))
    return [results[place] for place in range(len(batch))]
