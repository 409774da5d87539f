"""Where signed bytes go, to every node of the chain or to its private one only, and what the nodes' answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lockstep.chains.evm import BlockRef, NodeUnavailable, SendOutcome, SendResult
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.family import Batch
from lockstep.transactions.engine.moves import change, move
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.replace import next_form
from lockstep.transactions.evm.rules import goes_private
from lockstep.transactions.types import Attempt, Change, State, Submission, Transaction

_WAITS: dict[SendOutcome, tuple[str, float | None]] = {
    SendOutcome.NONCE_GAP: ("the node misses an earlier nonce of this account", 0.5),
    SendOutcome.INSUFFICIENT_FUNDS: ("insufficient funds: the node says that the account cannot pay for it", 2.0),
    SendOutcome.UNDERPRICED: ("the node wants a higher fee", None),
    SendOutcome.FEE_TOO_LOW: ("the fee is below the base fee; waits for a lower one", None),
    SendOutcome.UNKNOWN: ("the node did not say what became of it; it is sent again", None),
    SendOutcome.INVALID: ("the node says that it is not valid", None),
}


async def submit(lane: EvmLane, batch: Batch, head: BlockRef) -> list[Submission]:
    """Hand over the newest signed form of each, in this order; a private node that is away holds up only what goes to it.

    Raises:
        NodeUnavailable: no node of the chain answered.
    """
    fallback = lane.client.config.private_fallback_blocks
    hidden = [goes_private(t.is_private, attempts[0].sent_block, head.number, fallback) for t, attempts in batch]
    raws = [_newest_raw(attempts) for _, attempts in batch]
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
    return [_submission(t, results[place]) for place, (t, _) in enumerate(batch)]


async def after_refusals(
    uow: UnitOfWork,
    lane: EvmLane,
    t: Transaction,
    attempts: Sequence[Attempt],
    submission: Submission,
    now: datetime,
) -> Change | None:
    """See `Family.after_refusals`."""
    outcome = SendOutcome(submission.outcome)
    if outcome in (SendOutcome.UNDERPRICED, SendOutcome.FEE_TOO_LOW):
        return await next_form(uow, lane, t, attempts, await lane.client.fee_market(), now)
    if outcome is SendOutcome.INVALID:
        # No pool has the bytes and none will take them; the next transaction gets the nonce, which ends them for good.
        await nonces.release(uow, [t.id])
        after = move(t, State.DROPPED, now, None, reason=f"no node takes it: {submission.message or 'invalid'}")
        return change(t, after, nonce=t.nonce, hash=t.hash)
    return None


def _submission(t: Transaction, result: SendResult) -> Submission:
    outcome = result.outcome
    # Nonce too low: some form of it was mined, or something else was; its receipts tell. A dearer form that nodes do not
    # take leaves the older one in the pool: go on watching that one.
    is_watched = t.attempt > 1 and outcome in (SendOutcome.UNDERPRICED, SendOutcome.INVALID)
    is_out = result.is_in_pool or outcome is SendOutcome.NONCE_TOO_LOW or is_watched
    reason, pause = ("", None) if is_out else _WAITS[outcome]
    return Submission(is_out=is_out, outcome=outcome.value, message=result.message, reason=reason, pause=pause)


def _newest_raw(attempts: Sequence[Attempt]) -> bytes:
    raw = next((attempt.raw for attempt in reversed(attempts) if attempt.raw is not None), None)
    if raw is None:
        raise LookupError("a signed transaction has no bytes")
    return raw
