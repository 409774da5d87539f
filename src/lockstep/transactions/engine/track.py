"""broadcast → mined → final: receipts of every form, confirmation by block hash, and what to do when none comes.

A new head makes everything in flight looked at, in one batch. What stays unmined is handed to the node again; the first
one of an account gets dearer. Success and failure count only when their block is canonical and deep enough; a block that
is gone sends its transactions back to broadcast, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from lockstep.chains.evm import Address, BlockRef, CallReverted, Fees, Hash32, NodeError, NodeUnavailable, Receipt
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.broadcast import broadcast
from lockstep.transactions.engine.context import Lane, change, move, wait, write
from lockstep.transactions.engine.finality import check_final, remember_final
from lockstep.transactions.engine.observe import observe
from lockstep.transactions.engine.replace import STEP as REPLACE_STEP
from lockstep.transactions.engine.replace import cancel, next_form
from lockstep.transactions.engine.rules import final_state, live_attempt, wants_cancellation, wants_speed_up
from lockstep.transactions.rules import helps_to_pay_more
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import nonces, rows
from lockstep.transactions.types import Attempt, Change, Form, State, Transaction

log = structlog.get_logger(__name__)

STEP = "transaction.mined"
FINAL_STEP = "transaction.final"
_SPED_UP = "made dearer as it was asked"


async def track(lane: Lane) -> int:
    """Look at what is in flight; returns how many transactions moved.

    Raises:
        NodeUnavailable, NodeError: what was not written is looked at again.
    """
    head = (await lane.client.heads.newest()).ref
    is_new = head.hash != lane.head_seen
    moved = await _track_unmined(lane, head, everything=is_new)
    if is_new or moved:
        moved += await _track_mined(lane, head)
    if is_new:
        await check_final(lane)
    lane.head_seen = head.hash
    return moved


# --- broadcast → mined ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Look:
    """What one batch decided."""

    changes: list[Change]
    waits: dict[str, tuple[Transaction, Transaction]]
    has_mined: bool = False
    has_replaced: bool = False


async def _track_unmined(lane: Lane, head: BlockRef, *, everything: bool) -> int:
    moved, after = 0, ""
    while True:
        async with lane.database.system("engine") as uow:
            page = await rows.lock_in_flight(
                uow,
                lane.chain,
                due_at=None if everything else lane.clock.now(),
                after=after,
                limit=lane.settings.batch,
            )
            if not page:
                return moved
            look = await _look_at_unmined(uow, lane, page, head)
            if look.changes or look.waits:
                await write(uow, lane, look.changes, look.waits)
            if look.has_mined:
                crash.point(STEP, "after_effect")
        if look.has_mined:
            crash.point(STEP, "after_commit")
        if look.has_replaced:
            crash.point(REPLACE_STEP, "after_commit")
        moved += len(look.changes)
        after = page[-1].id


async def _look_at_unmined(uow: UnitOfWork, lane: Lane, page: list[Transaction], head: BlockRef) -> _Look:
    attempts = await attempt_rows.list_attempts(uow, [t.id for t in page])
    receipts = await _receipts(lane, page, attempts)
    observed = await observe(lane, _in_own_form(page, attempts, receipts))
    now = lane.clock.now()
    look = _Look([], {})
    overdue: list[Transaction] = []
    for t in page:
        receipt = receipts.get(t.id)
        if receipt is not None:
            if not look.has_mined:
                crash.point(STEP, "before_effect")
                look.has_mined = True
            look.changes.append(await _mined(lane, t, attempts[t.id], receipt, now, observed.get(t.id)))
        elif t.state is State.BROADCAST and (
            (t.due_at is not None and t.due_at <= now)
            or wants_speed_up(t)
            or wants_cancellation(t, attempts[t.id], now)
        ):
            overdue.append(t)
    if overdue:
        await _look_at_overdue(uow, lane, overdue, attempts, head, look, now)
    return look


async def _receipts(lane: Lane, page: list[Transaction], attempts: dict[str, list[Attempt]]) -> dict[str, Receipt]:
    """Receipts by transaction id: whichever form was mined."""
    wanted = [(t.id, a.hash) for t in page for a in attempts[t.id] if a.hash is not None]
    found = await lane.client.receipts([transaction_hash for _, transaction_hash in wanted])
    return {one: receipt for (one, _), receipt in zip(wanted, found, strict=True) if receipt is not None}


def _in_own_form(
    page: list[Transaction], attempts: dict[str, list[Attempt]], receipts: dict[str, Receipt]
) -> list[tuple[Transaction, Receipt]]:
    """What was mined and is not the self-send that cancels it."""
    return [
        (t, receipts[t.id])
        for t in page
        if t.id in receipts and _mined_form(attempts[t.id], receipts[t.id]) is Form.ORIGINAL
    ]


def _mined_form(attempts: list[Attempt], receipt: Receipt) -> Form:
    return next(a.form for a in attempts if a.hash == receipt.transaction_hash)


async def _mined(
    lane: Lane,
    t: Transaction,
    attempts: list[Attempt],
    receipt: Receipt,
    now: datetime,
    observed: Mapping[str, Mapping[str, object]] | None = None,
) -> Change:
    """Whichever form was mined decides how it ends, also when its cancellation was asked for."""
    form = _mined_form(attempts, receipt)
    is_cancelled = form is Form.CANCELLATION
    reason = None if receipt.succeeded or is_cancelled else await _revert_reason(lane, t, receipt)
    after = move(
        t,
        State.MINED,
        now,
        now + lane.block_time,
        reason="its cancellation was mined" if is_cancelled else None,
        hash=receipt.transaction_hash,
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        succeeded=None if is_cancelled else receipt.succeeded,
        gas_used=receipt.gas_used,
        effective_gas_price=receipt.effective_gas_price,
        data_fee=receipt.data_fee,
        contract_address=receipt.contract_address,
        revert_reason=reason,
    )
    return change(
        t,
        after,
        hash=receipt.transaction_hash,
        block=receipt.block_number,
        block_hash=receipt.block_hash,
        form=form.value,
        succeeded=receipt.succeeded,
        gas_used=receipt.gas_used,
        revert_reason=reason,
        **(observed or {}),
    )


async def _revert_reason(lane: Lane, t: Transaction, receipt: Receipt) -> str:
    """Why it failed, by a replay on the state before its block: approximate, as earlier ones of the block are missing."""
    if t.gas_limit is not None and receipt.gas_used >= t.gas_limit:
        return "out of gas"
    try:
        parent = await lane.client.block(receipt.block_number - 1)
        # With its own gas: what a caller did not pay for must not keep the node busy.
        await lane.client.eth_call(t.to, t.data, parent, sender=t.sender, value=t.value, gas=t.gas_limit)
    except CallReverted as error:
        return error.reason
    except (NodeError, NodeUnavailable):  # a reason is not worth the tracking of everybody else
        return "reverted; the state before its block is not available any more"
    return "reverted; a replay on the state before its block succeeds"


# --- unmined for long -------------------------------------------------------------------------------------------------


async def _look_at_overdue(
    uow: UnitOfWork,
    lane: Lane,
    overdue: list[Transaction],
    attempts: dict[str, list[Attempt]],
    head: BlockRef,
    look: _Look,
    now: datetime,
) -> None:
    """Resend, replace, or find out that something else has used the nonce."""
    addresses = sorted({t.sender for t in overdue})
    next_nonce = dict(zip(addresses, await lane.client.nonces(addresses, head), strict=True))
    final, final_nonce = await _final_nonces(lane, addresses, head)
    reserved = await nonces.list_reserved(uow, lane.chain, next_nonce)
    resend: list[tuple[Transaction, Attempt]] = []
    for t in sorted(overdue, key=lambda one: (one.sender, one.nonce or 0)):
        nonce = t.nonce or 0
        newest = next((a for a in reversed(attempts[t.id]) if a.raw is not None), None)
        if newest is None:
            continue
        if final is not None and nonce < final_nonce[t.sender]:
            look.changes.append(await _used(lane, t, attempts[t.id], final, now))
            continue
        if nonce < next_nonce[t.sender]:
            look.waits[t.id] = (t, wait(t, "its nonce is used; waits for a receipt", now, _block_seconds(lane)))
            continue
        if wants_cancellation(t, attempts[t.id], now):
            cancelled = await cancel(uow, lane, t, attempts[t.id], await lane.fee_market(head), now)
            if isinstance(cancelled, Change):
                look.changes.append(cancelled)
                look.has_replaced = True
            else:
                look.waits[t.id] = (t, wait(t, cancelled, now, _later(lane)))
            continue
        if wants_speed_up(t):
            dearer = await next_form(uow, lane, t, attempts[t.id], await lane.fee_market(head), now, reason=_SPED_UP)
            if dearer is not None:
                look.changes.append(dearer)
                look.has_replaced = True
                continue
        if newest.sent_at is not None and now - newest.sent_at < timedelta(seconds=lane.settings.resend_seconds):
            look.waits[t.id] = (t, replace(t, due_at=now + max(lane.block_time, timedelta(seconds=0.25))))
            continue
        gap = next((n for n in range(next_nonce[t.sender], nonce) if n not in reserved[t.sender]), None)
        if gap is not None:
            reason = f"the nonce {gap} before it was given back; the account's next transaction or a self-send takes it"
            look.waits[t.id] = (t, wait(t, reason, now, _later(lane)))
            resend.append((t, newest))  # so that a node that lost it has it when the gap closes
            continue
        first_block = newest.sent_block if newest.sent_block is not None else head.number
        if nonce == next_nonce[t.sender] and head.number - first_block >= lane.settings.replace_after_blocks:
            market, live = await lane.fee_market(head), live_attempt(t, attempts[t.id])
            paid = Fees(live.max_fee_per_gas, live.max_priority_fee_per_gas)
            if helps_to_pay_more(paid, market, has_fee_auction=lane.client.config.has_fee_auction):
                replaced = await next_form(uow, lane, t, attempts[t.id], market, now)
                if replaced is not None:
                    look.changes.append(replaced)
                    look.has_replaced = True
                    continue
                reason = "unmined, and its fee ceiling leaves no room for more"
                look.waits[t.id] = (t, wait(t, reason, now, _later(lane)))
        resend.append((t, newest))
    if resend:
        batch = [(t, attempts[t.id]) for t, _ in resend]
        results = await broadcast(lane, batch, [newest.raw or b"" for _, newest in resend], head)
        sent = [(newest, result) for (_, newest), result in zip(resend, results, strict=True)]
        await attempt_rows.record_sends(uow, sent, head.number, now)
        for t, _ in resend:
            look.waits.setdefault(t.id, (t, wait(t, "waits for a block", now, _later(lane))))


async def _final_nonces(
    lane: Lane, addresses: list[Address], head: BlockRef
) -> tuple[BlockRef | None, dict[Address, int]]:
    """The newest final block and the next nonce of each account there; None and 0 while there is none."""
    number = await lane.client.final_number(head)
    if number < 0:
        return None, dict.fromkeys(addresses, 0)
    block = await lane.client.block(number)
    return block, dict(zip(addresses, await lane.client.nonces(addresses, block), strict=True))


async def _used(lane: Lane, t: Transaction, attempts: list[Attempt], final: BlockRef, now: datetime) -> Change:
    """What has used its nonce for good: one of its own forms, or none. This ends it, so it is asked of a node that has the
    final block: the node that gave no receipts may only have been behind."""
    hashes = [attempt.hash for attempt in attempts if attempt.hash is not None]
    receipts = await lane.client.receipts_as_of(hashes, final)
    receipt = next((one for one in receipts if one is not None), None)
    if receipt is not None:
        return await _mined(lane, t, attempts, receipt, now)
    reason = "another transaction, not made here, has used its nonce"
    after = move(t, State.REPLACED_EXTERNALLY, now, None, reason=reason)
    return change(t, after, nonce=t.nonce, final=final.number)


# --- mined → final ----------------------------------------------------------------------------------------------------


async def _track_mined(lane: Lane, head: BlockRef) -> int:
    """Confirm what is deep enough; send back what is on no branch any more."""
    async with lane.database.system("engine") as uow:
        blocks = await rows.list_mined_blocks(uow, lane.chain)
    if not blocks:
        return 0
    numbers = sorted({number for number, _ in blocks})
    canonical = {h.ref.number: h.ref.hash for h in await lane.client.headers(numbers) if h is not None}
    final_number = await lane.client.final_number(head)
    # A node that has no block at this height yet is behind; only another block there says that ours is gone.
    gone = [block_hash for number, block_hash in blocks if canonical.get(number, block_hash) != block_hash]
    deep = [
        block_hash for number, block_hash in blocks if canonical.get(number) == block_hash and number <= final_number
    ]
    moved = 0
    if gone:
        moved += await _reinclude(lane, gone)
    if deep:
        deep = await _agreed_on(lane, blocks, set(deep))
        remember_final(lane, [(number, block_hash) for number, block_hash in blocks if block_hash in deep])
    while deep:
        count = await _finalise(lane, deep, head)
        moved += count
        if count < lane.settings.batch:
            break
    return moved


async def _agreed_on(lane: Lane, blocks: list[tuple[int, Hash32]], deep: set[Hash32]) -> list[Hash32]:
    """Those of the deep blocks that as many nodes have as the chain's quorum asks for: what is final is never undone."""
    if lane.client.config.read_quorum <= 1:
        return list(deep)
    named = [(number, block_hash) for number, block_hash in blocks if block_hash in deep]
    seen = await lane.client.headers([number for number, _ in named], agreed=True)
    return [
        block_hash
        for (_, block_hash), header in zip(named, seen, strict=True)
        if header is not None and header.ref.hash == block_hash
    ]


async def _finalise(lane: Lane, blocks: list[Hash32], head: BlockRef) -> int:
    async with lane.database.system("engine") as uow:
        page = await rows.lock_mined(uow, lane.chain, blocks, lane.settings.batch)
        if not page:
            return 0
        crash.point(FINAL_STEP, "before_effect")
        now = lane.clock.now()
        changes = [
            change(
                t,
                move(
                    t,
                    final_state(t.succeeded),
                    now,
                    None,
                    reason=t.revert_reason if t.succeeded is not None else "a self-send used up its nonce",
                ),
                block=t.block_number,
                head=head.number,
            )
            for t in page
        ]
        await write(uow, lane, changes, {})
        crash.point(FINAL_STEP, "after_effect")
    crash.point(FINAL_STEP, "after_commit")
    return len(changes)


async def _reinclude(lane: Lane, blocks: list[Hash32]) -> int:
    """The block of these was dropped: they are in another one, or go back to broadcast with the same bytes."""
    async with lane.database.system("engine") as uow:
        page = await rows.lock_mined(uow, lane.chain, blocks, lane.settings.batch)
        if not page:
            return 0
        attempts = await attempt_rows.list_attempts(uow, [t.id for t in page])
        receipts = await _receipts(lane, page, attempts)
        now = lane.clock.now()
        changes = []
        for t in page:
            receipt = receipts.get(t.id)
            if receipt is not None and receipt.block_hash == t.block_hash:
                continue  # the node has changed its mind again; the next head tells
            if receipt is not None:
                changes.append(await _mined(lane, t, attempts[t.id], receipt, now))
                continue
            back = move(
                t,
                State.BROADCAST,
                now,
                now,
                reason="its block was dropped by a reorganisation; the same bytes are sent again",
                block_number=None,
                block_hash=None,
                succeeded=None,
                gas_used=None,
                effective_gas_price=None,
                contract_address=None,
                revert_reason=None,
            )
            changes.append(change(t, back, dropped_block=t.block_number, dropped_hash=t.block_hash))
        log.warning("transactions_reorganised", chain=lane.chain, count=len(changes))
        await write(uow, lane, changes, {})
    return len(changes)


def _block_seconds(lane: Lane) -> float:
    return max(lane.block_time / timedelta(seconds=1), 0.25)


def _later(lane: Lane) -> float:
    return max(lane.settings.resend_seconds, 2 * _block_seconds(lane))
