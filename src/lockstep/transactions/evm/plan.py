"""queued → reserved: a nonce, a gas limit and fees.

The lowest nonce that is neither mined nor reserved goes to the first transaction that can go, so gaps close by
themselves. What cannot go now (fee above its ceiling, balance too low) stays queued with its reason and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from lockstep.chains.evm import (
    Address,
    FeeMarket,
    Fees,
    Header,
    MalformedTransaction,
    UnsignedTransaction,
    read_data_fees,
)
from lockstep.kit.database import UnitOfWork
from lockstep.transactions.engine.moves import Moves, change, move, wait
from lockstep.transactions.engine.rules import AfterRefusal, after_refusal
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.build import build
from lockstep.transactions.evm.first_form import FirstForm, first_form
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.rules import bound_fees, cost, free_nonces, kept_for_data
from lockstep.transactions.evm.simulate import simulate
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import rows
from lockstep.transactions.types import State, Transaction


@dataclass(slots=True)
class _Account:
    """What an account can still take on."""

    nonces: Iterator[int]
    balance: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a transaction would be signed with. Wei."""

    gas_limit: int
    fees: Fees
    data_fee: int
    """What is kept back for it."""


async def plan(lane: EvmLane, queued: Sequence[Transaction]) -> EvmPlan:
    """See `Family.plan`."""
    head = await lane.client.head_header()
    market = await lane.fee_market(head.ref)
    addresses = sorted({t.sender for t in queued})
    mined = dict(zip(addresses, await lane.client.nonces(addresses, head.ref), strict=True))
    balances = dict(zip(addresses, await lane.client.balances(addresses, head.ref), strict=True))
    gas = await simulate(lane, queued, head.ref)
    terms = await _terms(lane, queued, gas, market, head)
    return EvmPlan(lane, head, market, mined, balances, gas, terms)


@dataclass(slots=True)
class EvmPlan:
    """What queued transactions would take, at one block."""

    lane: EvmLane
    head: Header
    market: FeeMarket
    mined: Mapping[Address, int]
    """Next nonce of each account."""
    balances: Mapping[Address, int]
    """Wei."""
    gas: Mapping[str, int | str]
    """Gas limit by id, or why it would fail now."""
    terms: Mapping[str, _Terms | str]
    """By id, or why no node would ever take it."""
    moves: Moves = field(default_factory=Moves)
    forms: list[FirstForm] = field(default_factory=list)

    async def reserve(self, uow: UnitOfWork, queued: Sequence[Transaction]) -> Moves:
        """See `Plan.reserve`."""
        chain, senders = self.lane.chain, sorted({t.sender for t in queued})
        reserved = await nonces.list_reserved(uow, chain, {address: self.mined[address] for address in senders})
        in_flight = await nonces.sum_in_flight(uow, chain, senders)
        accounts = {
            address: _Account(
                free_nonces(self.mined[address], reserved[address]),
                self.balances[address] - in_flight[address][1],
                in_flight[address][0],
            )
            for address in senders
        }
        earlier = await rows.count_earlier(uow, [t.id for t in queued if isinstance(self.gas.get(t.id), str)])
        now = self.lane.clock.now()
        for t in queued:
            self._decide(t, accounts[t.sender], earlier.get(t.id, 0), now)
        await nonces.reserve(uow, [form.reservation for form in self.forms], now)
        await nonces.enter_digests(uow, [form.entry for form in self.forms], now)
        await attempt_rows.insert_attempts(uow, [form.attempt for form in self.forms])
        return self.moves

    def _decide(self, t: Transaction, account: _Account, earlier: int, now: datetime) -> None:
        limit, terms, left = self.gas.get(t.id), self.terms.get(t.id), max(account.balance, 0)
        if limit is None:
            return
        if isinstance(limit, str):
            if t.value > account.balance:
                self._wait(t, f"insufficient funds: it sends {t.value} wei, the account has {left} to spare", now)
            else:
                self._refused(t, limit, earlier, now)
            return
        if terms is None:
            self._wait(t, self._why_too_dear(t), now)
            return
        if isinstance(terms, str):
            self.moves.changes.append(change(t, move(t, State.DROPPED, now, None, reason=terms)))
            return
        needed = cost(t.value, terms.gas_limit, terms.fees.max_fee_per_gas, terms.data_fee)
        if needed > account.balance:
            self._wait(t, f"insufficient funds: it may need {needed} wei, the account has {left} to spare", now)
        elif account.in_flight >= self.lane.settings.max_in_flight:
            self._wait(t, "too many of this account are in flight", now)
        else:
            self._reserve(t, next(account.nonces), terms, now)
            account.balance -= needed
            account.in_flight += 1

    def _reserve(self, t: Transaction, nonce: int, terms: _Terms, now: datetime) -> None:
        gas, fees = terms.gas_limit, terms.fees
        form = first_form(self.lane, t, nonce=nonce, gas_limit=gas, fees=fees, now=now, data_fee=terms.data_fee)
        self.moves.changes.append(
            change(
                t,
                form.transaction,
                nonce=nonce,
                gas_limit=gas,
                max_fee_per_gas=str(fees.max_fee_per_gas),
                max_priority_fee_per_gas=str(fees.max_priority_fee_per_gas),
                head=self.head.ref.number,
            )
        )
        self.forms.append(form)

    def _refused(self, t: Transaction, fault: str, earlier: int, now: datetime) -> None:
        """It would fail now: whether it waits for the account's earlier ones, gets another look, or ends here."""
        match after_refusal(earlier, t.failures + 1, self.lane.settings.estimate_attempts):
            case AfterRefusal.WAIT:
                told = f"it would fail now: {fault}; {earlier} earlier of its account are not mined yet and may change that"
                self.moves.wait(t, replace(wait(t, told, now, self.lane.block_seconds), failures=0))
            case AfterRefusal.LOOK_AGAIN:
                self.moves.wait(t, wait(t, f"it would fail now: {fault}", now))
            case AfterRefusal.END:
                ended = move(t, State.DROPPED, now, None, reason=f"it would fail: {fault}")
                self.moves.changes.append(change(t, ended))

    def _why_too_dear(self, t: Transaction) -> str:
        market, tip_ceiling = self.market, t.max_priority_fee_ceiling
        if tip_ceiling is not None and tip_ceiling < market.least_tip:
            return f"the least tip is {market.least_tip} wei, its ceiling of the tip {tip_ceiling}"
        asked, ceiling = "gas price" if t.is_legacy else "base fee", self.lane.fee_ceiling(t)
        return f"the {asked} is {market.least_fee} wei, its fee ceiling {ceiling}; waits for a lower one"

    def _wait(self, t: Transaction, reason: str, now: datetime) -> None:
        self.moves.wait(t, wait(t, reason, now, self.lane.block_seconds))


async def _terms(
    lane: EvmLane, queued: Sequence[Transaction], gas: dict[str, int | str], market: FeeMarket, head: Header
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
