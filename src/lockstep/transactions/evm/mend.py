"""What holds up an account: nonces that nobody is going to send are used up, jams are counted and said.

A nonce is missing when its signature was refused after a higher one was signed, or a caller had it signed and never sent
it. The account's next transaction gets the first kind by itself; when none comes in time, and for the second kind always
(those bytes may still turn up), a self-send of nothing takes the nonce: a transaction like any other, decided on for the
engine. If what was missing turns up and is mined first, the self-send ends as `replaced_externally`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from lockstep.chains.evm import Address, BlockRef, FeeMarket, Fees, Speed
from lockstep.kit import crash
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Refuse, Retry
from lockstep.kit.ids import new_id
from lockstep.transactions.engine.moves import Moves, change, write
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.build import decide_cancellation
from lockstep.transactions.evm.first_form import first_form
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.measure import measure
from lockstep.transactions.evm.replace import transfer_gas
from lockstep.transactions.evm.rules import bump_fees, cancellation_ceiling, content_of, is_jammed, open_gaps
from lockstep.transactions.store import accounts, rows
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.types import Form, State, Transaction

STEP = "transaction.filled"
_AGAIN = timedelta(seconds=30)
"""Pause before a nonce whose self-send was refused gets another one."""

log = structlog.get_logger(__name__)

_filled = Counter("lockstep_transaction_gaps_filled", "Nonces that nobody sent and a self-send used up", ["chain"])
_jammed = Gauge(
    "lockstep_transaction_jammed_accounts",
    "Accounts whose first unmined transaction is older than jam_blocks; alert above 0",
    ["chain"],
)


async def mend(lane: EvmLane) -> int:
    """Look at every account with something in flight, and measure; returns how many gaps were filled.

    Raises:
        NodeUnavailable, NodeError: what was not filled is looked at again.
    """
    async with lane.database.system("engine") as uow:
        found = await accounts.list_in_flight(uow, lane.chain)
    head = (await lane.client.heads.newest()).ref
    await measure(lane, head)
    addresses = [account.address for account in found]
    next_nonces = dict(zip(addresses, await lane.client.nonces(addresses, head), strict=True)) if found else {}
    _tell_jams(lane, [a for a in found if a.lowest >= next_nonces[a.address]], head)
    ranges = {a.address: (next_nonces[a.address], a.highest) for a in found if next_nonces[a.address] < a.highest}
    if not ranges:
        lane.gaps_seen.clear()
        return 0
    async with lane.database.system("engine") as uow:
        holders = await accounts.list_holders(uow, lane.chain, ranges)
    due = _due_gaps(lane, ranges, holders)
    filled = 0
    for address, missing in due.items():
        filled += await _fill(lane, address, missing, ranges[address], head)
    return filled


def _due_gaps(
    lane: EvmLane, ranges: Mapping[Address, tuple[int, int]], holders: Mapping[Address, Mapping[int, datetime | None]]
) -> dict[Address, list[int]]:
    """Gaps whose time is over; what nobody has gets a moment in which the account's next transaction may take it."""
    now = lane.clock.now()
    grace = timedelta(seconds=lane.settings.claim_grace_seconds)
    gaps = {
        (address, nonce)
        for address, (low, high) in ranges.items()
        for nonce in open_gaps(low, high, holders[address], now, grace)
    }
    lane.gaps_seen = {gap: lane.gaps_seen.get(gap, now) for gap in gaps}
    due: dict[Address, list[int]] = {}
    for (address, nonce), since in sorted(lane.gaps_seen.items()):
        is_claim = nonce in holders[address]
        tried_at = lane.gaps_filled.get((address, nonce))
        if tried_at is not None and now - tried_at < _AGAIN:
            continue
        if is_claim or now - since >= lane.settings.gap_blocks * lane.block_time:
            due.setdefault(address, []).append(nonce)
    return due


async def _fill(lane: EvmLane, address: Address, missing: Sequence[int], span: tuple[int, int], head: BlockRef) -> int:
    """Use up the missing nonces of one account, unless somebody took them meanwhile."""
    market = await lane.fee_market(head)
    async with lane.database.system("engine") as uow:
        if not await accounts.try_lock(uow, lane.chain, [address]):
            return 0
        holders = (await accounts.list_holders(uow, lane.chain, {address: span}))[address]
        grace = timedelta(seconds=lane.settings.claim_grace_seconds)
        still = set(open_gaps(*span, holders, lane.clock.now(), grace))
        made = 0
        for nonce in missing:
            above = await rows.find_above(uow, lane.chain, address, nonce)
            if nonce in still and above is not None:
                made += await _fill_one(uow, lane, above, nonce, market, is_claim=nonce in holders)
    if made:
        lane.gaps_filled = {gap: at for gap, at in lane.gaps_filled.items() if lane.clock.now() - at < _AGAIN}
        lane.gaps_filled |= {(address, nonce): lane.clock.now() for nonce in missing}
        crash.point(STEP, "after_commit")
        _filled.labels(lane.chain).inc(made)
    return made


async def _fill_one(
    uow: UnitOfWork, lane: EvmLane, above: Transaction, nonce: int, market: FeeMarket, *, is_claim: bool
) -> bool:
    """Make the self-send that takes one nonce, as a reserved transaction of the wallet that is held up."""
    now = lane.clock.now()
    ceiling = cancellation_ceiling(lane.client.config.max_fee_per_gas)
    queued = _self_send(above, nonce, ceiling, now)
    try:
        queued = replace(queued, decision_id=await decide_cancellation(uow, lane, above))
    except (Refuse, Retry) as refusal:
        log.warning("gap_not_filled", chain=lane.chain, address=above.sender, nonce=nonce, reason=refusal.detail)
        return False
    offer = market.offer(Speed.FAST, is_legacy=queued.is_legacy)
    # What a caller holds may be in a pool and pay more: then nodes refuse this one, and it gets dearer like any other.
    fees = bump_fees(Fees(0, 0), offer, ceiling, None, is_legacy=queued.is_legacy)
    assert fees is not None, "anything outbids nothing"
    gas = await transfer_gas(lane, queued)
    form = first_form(lane, queued, nonce=nonce, gas_limit=gas, fees=fees, now=now, reason=queued.reason)
    crash.point(STEP, "before_effect")
    await rows.insert(uow, queued)
    if is_claim:
        await nonces.take_over(uow, form.reservation)
    else:
        await nonces.reserve(uow, [form.reservation], now)
    await nonces.enter_digests(uow, [form.entry], now)
    await attempt_rows.insert_attempts(uow, [form.attempt])
    facts = {"nonce": nonce, "for_transaction": above.id, "was_claimed": is_claim}
    await write(uow, Moves([change(queued, form.transaction, **facts)]), now)
    crash.point(STEP, "after_effect")
    log.info("gap_filled", chain=lane.chain, address=queued.sender, nonce=nonce, was_claimed=is_claim)
    return True


def _self_send(above: Transaction, nonce: int, ceiling: int, now: datetime) -> Transaction:
    """A queued self-send of nothing from the account of what is held up."""
    gap_id = new_id()
    return replace(
        content_of(above, Form.CANCELLATION),
        id=gap_id,
        gas_limit_ceiling=None,
        max_fee_ceiling=ceiling,
        max_priority_fee_ceiling=None,
        speed=Speed.FAST,
        is_private=False,
        idempotency_key=f"gap:{gap_id}",
        priority=0,
        deadline_at=None,
        wakes_kind=None,
        wakes_id=None,
        state=State.QUEUED,
        version=1,
        due_at=now,
        failures=0,
        reason=f"uses up the nonce {nonce}, which holds up transaction {above.id}",
        nonce=None,
        attempt=0,
        gas_limit=None,
        max_fee_per_gas=None,
        max_priority_fee_per_gas=None,
        data_fee=0,
        hash=None,
        cancel_requested_at=None,
        cancel_decision_id=None,
        wanted_attempt=0,
        created_at=now,
        updated_at=now,
    )


def _tell_jams(lane: EvmLane, waiting: Sequence[accounts.AccountInFlight], head: BlockRef) -> None:
    """Count the jammed accounts, and say each of them once."""
    now, settings = lane.clock.now(), lane.settings
    jammed = {
        account.address: account
        for account in waiting
        if is_jammed(head.number, account.sent_block, account.reserved_at, now, settings.jam_blocks, lane.block_time)
    }
    _jammed.labels(lane.chain).set(len(jammed))
    for address in jammed.keys() - lane.jams_seen:
        first = jammed[address]
        log.warning(
            "account_jammed",
            chain=lane.chain,
            address=address,
            nonce=first.lowest,
            transaction_id=first.first_id,
            reason=first.reason,
        )
    lane.jams_seen = set(jammed)
