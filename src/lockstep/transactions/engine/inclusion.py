"""What it means for a transaction that one of its forms is on the chain."""

from __future__ import annotations

from datetime import datetime, timedelta

from lockstep.transactions.engine.family import Inclusion
from lockstep.transactions.engine.moves import change, move
from lockstep.transactions.types import Change, Form, State, Transaction


def mined(t: Transaction, inclusion: Inclusion, now: datetime, block_time: timedelta) -> Change:
    """Whichever form is there decides how it ends, also when its cancellation was asked for."""
    is_cancelled = inclusion.form is Form.CANCELLATION
    after = move(
        t,
        State.MINED,
        now,
        now + block_time,
        reason="its cancellation was mined" if is_cancelled else None,
        hash=inclusion.hash,
        block_number=inclusion.block_number,
        block_hash=inclusion.block_hash,
        succeeded=None if is_cancelled else inclusion.succeeded,
        revert_reason=inclusion.revert_reason,
        **inclusion.costs,
    )
    return change(
        t,
        after,
        hash=inclusion.hash,
        block=inclusion.block_number,
        block_hash=inclusion.block_hash,
        form=inclusion.form.value,
        succeeded=inclusion.succeeded,
        gas_used=after.gas_used,
        revert_reason=inclusion.revert_reason,
        **inclusion.observed,
    )
