"""The durable process of a swap: look, decide, then write legs, state, events and the book in one transaction.

Legs are rows of the transaction engine under the key (swap, leg, attempt), so a step that is killed and repeated sends
nothing twice. A leg that the policy refuses is a fact like any other: the machine then finds another way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from prometheus_client import Counter

from lockstep.chains.evm import address_from_bytes
from lockstep.custody import Principal, SigningStopped, list_engaged_switches
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError, Refuse
from lockstep.kit.ids import AppId, WalletId
from lockstep.kit.processes import Advance, ProcessRow
from lockstep.settlement import escrow_store, store
from lockstep.settlement.errors import FollowerBehind, SwapMoved
from lockstep.settlement.escrows import Call, escrow_call, lock_destination_call
from lockstep.settlement.ports import OrderBook
from lockstep.settlement.reads import Look, Rows, SwapReader
from lockstep.settlement.rules import (
    OPEN_STATES,
    PUBLIC_LEGS,
    TERMINAL_STATES,
    Decision,
    Leg,
    Send,
    SwapState,
    decide,
    last_destination_lock,
    last_destination_withdrawal,
)
from lockstep.settlement.service import KIND, tell
from lockstep.settlement.types import Side, Swap

log = structlog.get_logger(__name__)

_alerts = Counter("lockstep_swap_alerts", "Steps of swaps that an operator has to know of", ["state"])
_ended = Counter("lockstep_swaps_ended", "Swaps by the state in which they ended", ["state"])

POLL = timedelta(seconds=5)
"""Fallback when no head wakes a swap."""
_SHORTEST = timedelta(milliseconds=200)
_FOLLOWS: Mapping[SwapState, tuple[Side, ...]] = {
    SwapState.MATCHED: (Side.SOURCE,),
    SwapState.SOURCE_LOCKING: (Side.SOURCE,),
    SwapState.SOURCE_LOCKED: (Side.SOURCE,),
    SwapState.DESTINATION_LOCKING: (Side.DESTINATION,),
    SwapState.DESTINATION_LOCKED: (Side.DESTINATION,),
    SwapState.BOTH_FINAL: (Side.DESTINATION,),
    SwapState.SECRET_RELEASED: (Side.DESTINATION,),
    SwapState.DESTINATION_WITHDRAWING: (Side.DESTINATION,),
    SwapState.DESTINATION_WITHDRAWN: (Side.SOURCE,),
    SwapState.SOURCE_WITHDRAWING: (Side.SOURCE, Side.DESTINATION),
    SwapState.DESTINATION_CANCELLING: (Side.SOURCE, Side.DESTINATION),
    SwapState.SOURCE_CANCELLING: (Side.SOURCE, Side.DESTINATION),
}
"""Whose new heads matter while a state waits for blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """The wallet that performs public duties, and the session signer through which it does."""

    principal: Principal
    wallet_id: WalletId


class LegSender(Protocol):
    """Takes a leg over; the composition root wires the transaction engine."""

    async def send(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet_id: WalletId,
        call: Call,
        *,
        idempotency_key: str,
        deadline_at: datetime | None,
        wakes_id: str,
    ) -> str:
        """Decide and queue; returns the id of the transaction. The same key is the same transaction.

        Raises:
            Refuse: the policy, the session or the request does not allow it.
        """
        ...


class SwapProcess:
    """The process of kind `swap`."""

    kind = KIND
    states = tuple(state.value for state in OPEN_STATES)

    def __init__(
        self,
        reader: SwapReader,
        legs: LegSender,
        book: OrderBook,
        clock: Clock,
        find_coordinator: Callable[[UnitOfWork], Awaitable[Coordinator]],
    ) -> None:
        """
        Args:
            find_coordinator: asked when a public duty is to be sent; refuses when there is none.
        """
        self._reader, self._legs, self._book, self._clock = reader, legs, book, clock
        self._find_coordinator = find_coordinator

    async def advance(self, row: ProcessRow) -> Advance:
        """Look at both chains and decide the next step."""
        look = await self._reader.look(row.id)
        state = SwapState(row.state)
        decision = decide(state, look.facts)
        # Built here, so that nothing but writing is left for the transaction.
        calls = {send: self._call(look, send) for send in decision.sends}
        now = self._clock.now()
        if decision.is_alert:
            log.error("swap_alert", swap_id=row.id, state=decision.state.value, reason=decision.reason)
            _alerts.labels(decision.state.value).inc()
        swap = self._moved(look, decision, now)

        async def apply(uow: UnitOfWork) -> None:
            terms = swap.terms
            if decision.state is SwapState.CANCELLED and await escrow_store.has_source(
                uow, terms.order_hash, terms.fill_index, terms.taker
            ):
                # It appeared after the look, and found this swap: nobody would follow it any more.
                raise SwapMoved
            for send, call in calls.items():
                await self._send(uow, look, send, call, now)
            if decision.releases_secret:
                await self._release(uow, look, now)
            await store.update_swap(
                uow,
                swap,
                is_open=decision.state not in TERMINAL_STATES,
                source_wake=_wake(Side.SOURCE, decision),
                destination_wake=_wake(Side.DESTINATION, decision),
                now=now,
            )
            if swap.version != look.rows.swap.version:
                await tell(uow, swap)
                await self._book.on_swap_changed(uow, swap)
            if decision.state in TERMINAL_STATES:
                _ended.labels(decision.state.value).inc()

        return Advance(
            state=decision.state.value,
            due_at=self._due_at(look, decision, now),
            waiting_for=decision.waiting_for,
            reason=decision.reason,
            facts=_evidence(look, decision),
            deadline_at=self._at(look, decision.deadline, now),
            has_effects=bool(decision.sends),
            apply=apply,
        )

    # --- legs ---------------------------------------------------------------------------------------------------------

    def _call(self, look: Look, send: Send) -> Call:
        leg, rows, swap = send.leg, look.rows, look.rows.swap
        if leg is Leg.SOURCE_LOCK:
            if swap.source_call is None:
                raise ValueError("a managed swap carries the call that opens its source escrow")
            return Call(
                chain=swap.terms.source_chain,
                to=address_from_bytes(swap.terms.source_factory),
                value=swap.terms.source_deposit,
                data=swap.source_call,
            )
        if rows.source is None:
            raise FollowerBehind("the source escrow is not known any more")
        if leg is Leg.DESTINATION_LOCK:
            cancels_by = last_destination_lock(look.facts) + rows.terms.time_locks.destination_cancellation
            return lock_destination_call(rows.terms, rows.source, cancels_by)
        lock = rows.source if leg.value.startswith("source") else rows.destination
        if lock is None:
            raise FollowerBehind("the destination escrow is not known any more")
        return escrow_call(leg, lock, rows.secret)

    async def _send(self, uow: UnitOfWork, look: Look, send: Send, call: Call, now: datetime) -> None:
        swap = look.rows.swap
        transaction_id: str | None = None
        app_id: AppId | None = None
        refusal: LockstepError | None = None
        try:
            principal, wallet_id = await self._signer(uow, look.rows, send.leg)
            app_id = principal.tenant
            transaction_id = await self._legs.send(
                uow,
                principal,
                wallet_id,
                call,
                idempotency_key=f"swap:{swap.id}:{send.leg.value}:{send.attempt}",
                deadline_at=self._leg_deadline(look, send.leg, now),
                wakes_id=swap.id,
            )
        except (Refuse, SigningStopped) as error:
            if isinstance(error, SigningStopped):
                if send.leg in PUBLIC_LEGS or error.fields.get("scope") != "app":
                    raise
                # A taker's app that stops itself must not hold up what others are owed: they act in its place, and where
                # nobody else can, it is asked again at the next look.
                if send.leg is Leg.DESTINATION_CANCEL:
                    return
            refusal = error
            log.warning("swap_leg_refused", swap_id=swap.id, leg=send.leg.value, code=error.code)
        await store.insert_leg(
            uow,
            swap.id,
            send.leg,
            send.attempt,
            app_id=app_id,
            transaction_id=transaction_id,
            refusal=refusal.code if refusal else None,
            reason=refusal.detail if refusal else None,
            now=now,
        )

    async def _release(self, uow: UnitOfWork, look: Look, now: datetime) -> None:
        """Release the secret that the maker left with us, if it has not taken it back since the look.

        The maker is not there to withdraw itself, so nothing goes out while the duty behind it could not be signed.
        """
        coordinator = await self._find_coordinator(uow)
        for switch in await list_engaged_switches(uow):
            if switch.app_id in (None, coordinator.principal.tenant):
                raise SigningStopped("the secret is not released while the coordinator may not sign")
        terms, times = look.rows.terms, (look.source_head.timestamp, look.destination_head.timestamp)
        secret = await self._book.find_held_secret(uow, terms.order_hash, terms.fill_index)
        if secret is None or not await store.insert_secret(uow, look.rows.swap.id, secret, *times, now):
            raise SwapMoved

    async def _signer(self, uow: UnitOfWork, rows: Rows, leg: Leg) -> tuple[Principal, WalletId]:
        if leg in PUBLIC_LEGS:
            coordinator = await self._find_coordinator(uow)
            return coordinator.principal, coordinator.wallet_id
        taker = rows.parties.get("taker")
        if taker is None or taker.wallet_id is None or taker.session_id is None:
            raise ValueError("a managed taker has a wallet and a session signer")
        principal = Principal(
            kind="session",
            app_id=taker.app_id,
            user_id=taker.user_id,
            wallet_id=taker.wallet_id,
            session_id=taker.session_id,
            name="coordinator",
        )
        return principal, taker.wallet_id

    def _leg_deadline(self, look: Look, leg: Leg, now: datetime) -> datetime | None:
        """After this a leg that was not sent is not sent any more: it could only revert, or lock too late."""
        facts = look.facts
        moment: tuple[Side, int] | None = None
        if leg is Leg.SOURCE_LOCK:
            moment = (Side.SOURCE, facts.reserved_until)
        elif leg is Leg.DESTINATION_LOCK:
            moment = (Side.DESTINATION, last_destination_lock(facts))
        elif leg in (Leg.DESTINATION_WITHDRAW, Leg.DESTINATION_PUBLIC_WITHDRAW):
            moment = (Side.DESTINATION, last_destination_withdrawal(facts))
        elif leg in (Leg.SOURCE_WITHDRAW, Leg.SOURCE_PUBLIC_WITHDRAW):
            moment = (Side.SOURCE, facts.source_stages().cancellation)
        return self._at(look, moment, now)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _at(self, look: Look, moment: tuple[Side, int] | None, now: datetime) -> datetime | None:
        """Moment of a chain on the host's clock: a hint, nothing is decided by it."""
        if moment is None:
            return None
        side, time = moment
        head = look.source_head if side is Side.SOURCE else look.destination_head
        return now + timedelta(seconds=min(max(time - head.timestamp, 0), 10**8))

    def _due_at(self, look: Look, decision: Decision, now: datetime) -> datetime | None:
        if decision.state in TERMINAL_STATES:
            return None
        if decision.waiting_for is None:
            return now
        moments = [self._at(look, wake, now) for wake in decision.wakes]
        nearest = min((moment for moment in moments if moment is not None), default=now + POLL)
        return max(min(nearest, now + POLL), now + _SHORTEST)

    def _moved(self, look: Look, decision: Decision, now: datetime) -> Swap:
        rows = look.rows
        swap = rows.swap
        # An address stays on the row once it was seen: after a reorganisation the new one replaces it.
        moved = replace(
            swap,
            state=decision.state.value,
            reason=decision.reason,
            waiting_for=decision.waiting_for,
            terms=replace(swap.terms, destination_amount=rows.terms.destination_amount),
            source_escrow=rows.source.address if rows.source else swap.source_escrow,
            destination_escrow=rows.destination.address if rows.destination else swap.destination_escrow,
            secret_released_at=now if decision.releases_secret else swap.secret_released_at,
            updated_at=now,
        )
        is_told = (moved.state, moved.source_escrow, moved.destination_escrow, moved.terms) != (
            swap.state,
            swap.source_escrow,
            swap.destination_escrow,
            swap.terms,
        )
        return replace(moved, version=swap.version + 1) if is_told else moved


def _wake(side: Side, decision: Decision) -> int | None:
    """From which chain time on a new head of this side wakes the swap; 0: every head; None: none."""
    if decision.waiting_for is None or decision.state in TERMINAL_STATES:
        return None
    moments = [time for at, time in decision.wakes if at is side]
    if decision.waiting_for == "chain" and side in _FOLLOWS[decision.state]:
        moments.append(0)
    return min(moments, default=None)


def _evidence(look: Look, decision: Decision) -> dict[str, object]:
    """What the step rests on, for the timeline."""
    facts = look.facts
    evidence: dict[str, object] = {
        "source_block": str(look.source_head.number),
        "source_time": str(facts.source_time),
        "destination_block": str(look.destination_head.number),
        "destination_time": str(facts.destination_time),
    }
    for side, escrow in (("source", facts.source), ("destination", facts.destination)):
        if escrow is not None:
            evidence[side] = escrow.outcome.value + (", final" if escrow.is_final else "")
    if decision.sends:
        evidence["sends"] = [f"{send.leg.value}:{send.attempt}" for send in decision.sends]
    return evidence
