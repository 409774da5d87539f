"""queued → reserved: a nonce, a gas limit and fees, fixed in one database transaction before anything is signed.

The lowest nonce that is neither mined nor reserved goes to the first transaction that can go, so gaps close by
themselves. What cannot go now (fee above its ceiling, balance too low) stays queued with its reason and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lockstep.chains.evm import (
    Address,
    FeeMarket,
    Fees,
    Header,
    MalformedTransaction,
    UnsignedTransaction,
    read_data_fees,
)
from lockstep.kit import crash
from lockstep.transactions.engine.context import Lane, build, change, move, wait, write
from lockstep.transactions.engine.first_form import first_form
from lockstep.transactions.engine.rules import unsigned_end
from lockstep.transactions.engine.simulate import simulate
from lockstep.transactions.rules import (
    AfterRefusal,
    after_refusal,
    bound_fees,
    cost,
    free_nonces,
    kept_for_data,
)
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import nonces, rows
from lockstep.transactions.types import Attempt, Change, State, Transaction

STEP = "transaction.reserved"


@dataclass(slots=True)
class _Account:
    """What an account can still take on."""

    nonces: Iterator[int]
    balance: int
    in_flight: int


@dataclass(slots=True)
class _Plan:
    """What one batch decided."""

    changes: list[Change]
    waits: dict[str, tuple[Transaction, Transaction]]
    reservations: list[nonces.Reservation]
    attempts: list[Attempt]
    entries: list[nonces.LedgerEntry]


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a transaction would be signed with. Wei."""

    gas_limit: int
    fees: Fees
    data_fee: int
    """What is kept back for it."""


async def reserve(lane: Lane) -> int:
    """Reserve for what is queued and due; returns how many transactions moved.

    Raises:
        NodeUnavailable, NodeError: nothing was written.
    """
    async with lane.database.system("engine") as uow:
        queued = await rows.list_queued(uow, lane.chain, lane.clock.now(), lane.settings.batch)
    if not queued:
        return 0
    head = await lane.client.head_header()
    market = await lane.fee_market(head.ref)
    addresses = sorted({t.sender for t in queued})
    mined = dict(zip(addresses, await lane.client.nonces(addresses, head.ref), strict=True))
    balances = dict(zip(addresses, await lane.client.balances(addresses, head.ref), strict=True))
    gas = await simulate(lane, queued, head.ref)
    terms = await _terms(lane, queued, gas, market, head)
    async with lane.database.system("engine") as uow:
        locked = await nonces.try_lock_accounts(uow, lane.chain, addresses)
        ours = await rows.lock_queued(uow, lane.chain, [t.id for t in queued], locked)
        if not ours:
            return 0
        reserved = await nonces.list_reserved(uow, lane.chain, {address: mined[address] for address in locked})
        in_flight = await nonces.sum_in_flight(uow, lane.chain, locked)
        accounts = {
            address: _Account(
                free_nonces(mined[address], reserved[address]),
                balances[address] - in_flight[address][1],
                in_flight[address][0],
            )
            for address in locked
        }
        earlier = await rows.count_earlier(uow, [t.id for t in ours if isinstance(gas.get(t.id), str)])
        plan = _plan(lane, ours, accounts, head, market, gas, terms, earlier)
        crash.point(STEP, "before_effect")
        now = lane.clock.now()
        await nonces.reserve(uow, plan.reservations, now)
        await nonces.enter_digests(uow, plan.entries, now)
        await attempt_rows.insert_attempts(uow, plan.attempts)
        await write(uow, lane, plan.changes, plan.waits)
        crash.point(STEP, "after_effect")
    crash.point(STEP, "after_commit")
    return len(plan.changes)


def _plan(
    lane: Lane,
    queued: Sequence[Transaction],
    accounts: dict[Address, _Account],
    head: Header,
    market: FeeMarket,
    gas: dict[str, int | str],
    terms: dict[str, _Terms | str],
    earlier: dict[str, int],
) -> _Plan:
    now = lane.clock.now()
    plan = _Plan([], {}, [], [], [])
    for t in queued:
        end = unsigned_end(t, now)
        if end is not None:
            plan.changes.append(change(t, move(t, end[0], now, None, reason=end[1])))
            continue
        account = accounts[t.sender]
        limit = gas.get(t.id)
        if limit is None:
            continue
        if isinstance(limit, str) and t.value > account.balance:
            reason = f"insufficient funds: it sends {t.value} wei, the account has {max(account.balance, 0)} to spare"
            plan.waits[t.id] = (t, wait(t, reason, now, _pause(lane)))
            continue
        if isinstance(limit, str):
            _refused(lane, plan, t, limit, earlier.get(t.id, 0), now)
            continue
        offered = terms.get(t.id)
        if offered is None:
            asked, ceiling = "gas price" if t.is_legacy else "base fee", lane.fee_ceiling(t)
            reason = f"the {asked} is {market.least_fee} wei, its fee ceiling {ceiling}; waits for a lower one"
            if t.max_priority_fee_ceiling is not None and t.max_priority_fee_ceiling < market.least_tip:
                reason = f"the least tip is {market.least_tip} wei, its ceiling of the tip {t.max_priority_fee_ceiling}"
            plan.waits[t.id] = (t, wait(t, reason, now, _pause(lane)))
            continue
        if isinstance(offered, str):
            plan.changes.append(change(t, move(t, State.DROPPED, now, None, reason=offered)))
            continue
        needed = cost(t.value, offered.gas_limit, offered.fees.max_fee_per_gas, offered.data_fee)
        if needed > account.balance:
            reason = f"insufficient funds: it may need {needed} wei, the account has {max(account.balance, 0)} to spare"
            plan.waits[t.id] = (t, wait(t, reason, now, _pause(lane)))
            continue
        if account.in_flight >= lane.settings.max_in_flight:
            plan.waits[t.id] = (t, wait(t, "too many of this account are in flight", now, _pause(lane)))
            continue
        _reserve(lane, plan, t, account, offered, head, now)
        account.balance -= needed
        account.in_flight += 1
    return plan


def _reserve(
    lane: Lane, plan: _Plan, t: Transaction, account: _Account, terms: _Terms, head: Header, now: datetime
) -> None:
    gas, fees, nonce = terms.gas_limit, terms.fees, next(account.nonces)
    form = first_form(lane, t, nonce=nonce, gas_limit=gas, fees=fees, now=now, data_fee=terms.data_fee)
    plan.changes.append(
        change(
            t,
            form.transaction,
            nonce=nonce,
            gas_limit=gas,
            max_fee_per_gas=str(fees.max_fee_per_gas),
            max_priority_fee_per_gas=str(fees.max_priority_fee_per_gas),
            head=head.ref.number,
        )
    )
    plan.reservations.append(form.reservation)
    plan.attempts.append(form.attempt)
    plan.entries.append(form.entry)


async def _terms(
    lane: Lane, queued: Sequence[Transaction], gas: dict[str, int | str], market: FeeMarket, head: Header
) -> dict[str, _Terms | str]:
    """Terms by id, or why no node would ever take the transaction; absent: no gas limit, or fees above the ceilings."""
    found: dict[str, _Terms | str] = {}
    drafts: list[tuple[Transaction, Fees, UnsignedTransaction]] = []
    for t in queued:
        limit = gas.get(t.id)
        offer = market.offer(t.speed, is_legacy=t.is_legacy)
        fees = bound_fees(market, offer, lane.fee_ceiling(t), t.max_priority_fee_ceiling, is_legacy=t.is_legacy)
        if fees is None or not isinstance(limit, int):
            continue
        try:
            # With a nonce of any value: what makes it malformed does not depend on the nonce, and none is used up.
            drafts.append((t, fees, build(lane, t, nonce=0, gas_limit=limit, fees=fees)))
        except MalformedTransaction as error:
            found[t.id] = error.detail
    data_fees = await read_data_fees(lane.client, [draft for _, _, draft in drafts], head.ref)
    for (t, fees, draft), data_fee in zip(drafts, data_fees, strict=True):
        found[t.id] = _Terms(draft.gas_limit, fees, kept_for_data(data_fee))
    return found


def _refused(lane: Lane, plan: _Plan, t: Transaction, fault: str, earlier: int, now: datetime) -> None:
    """It would fail now: whether it waits for the account's earlier ones, gets another look, or ends here."""
    match after_refusal(earlier, t.failures + 1, lane.settings.estimate_attempts):
        case AfterRefusal.WAIT:
            told = f"it would fail now: {fault}; {earlier} earlier of its account are not mined yet and may change that"
            plan.waits[t.id] = (t, replace(wait(t, told, now, _pause(lane)), failures=0))
        case AfterRefusal.LOOK_AGAIN:
            plan.waits[t.id] = (t, wait(t, f"it would fail now: {fault}", now))
        case AfterRefusal.END:
            plan.changes.append(change(t, move(t, State.DROPPED, now, None, reason=f"it would fail: {fault}")))


def _pause(lane: Lane) -> float:
    return max(lane.block_time / timedelta(seconds=1), 0.25)
