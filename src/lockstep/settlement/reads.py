"""Looks at a swap: rows first, then both chains, each at one block; gives the facts that a decision rests on.

The chain is the truth: an escrow counts when its contract answers at the head, is final when it answers at the final
block, and is what its state says. The address commits to the immutables, so an escrow that answers is the one of the
row. Rows only say where to look; but once a secret is out, a duty on one chain does not wait for a node of the other.
Writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import structlog

from lockstep.chains.evm import Address, BlockRef, ChainRegistry, EvmClient, address_from_bytes
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Retry
from lockstep.kit.ids import AppId
from lockstep.settlement import escrow_store, store
from lockstep.settlement.errors import FollowerBehind, PairUnknown, SwapNotFound
from lockstep.settlement.escrows import decode_state, state_call
from lockstep.settlement.ports import OrderBook
from lockstep.settlement.rules import (
    PUBLIC_LEGS,
    EscrowFacts,
    Facts,
    Leg,
    LegFacts,
    LegStatus,
    Outcome,
    SwapState,
    match_destination,
    match_source,
)
from lockstep.settlement.types import ChainPairProfile, Lock, Party, Side, Swap, SwapTerms

log = structlog.get_logger(__name__)

_REMEMBERED: Mapping[str, tuple[Side, Outcome]] = {
    SwapState.BOTH_FINAL: (Side.SOURCE, Outcome.OPEN),
    SwapState.SECRET_RELEASED: (Side.SOURCE, Outcome.OPEN),
    SwapState.DESTINATION_WITHDRAWING: (Side.SOURCE, Outcome.OPEN),
    SwapState.DESTINATION_WITHDRAWN: (Side.DESTINATION, Outcome.WITHDRAWN),
    SwapState.SOURCE_WITHDRAWING: (Side.DESTINATION, Outcome.WITHDRAWN),
}
"""What a state itself says about the escrow of the side that is not to be withdrawn now."""


class LegStates(Protocol):
    """How far transactions are; transactions implements it."""

    async def list_outcomes(
        self, uow: UnitOfWork, transactions: Sequence[tuple[AppId, str]]
    ) -> Mapping[str, tuple[LegStatus, str | None]]:
        """Status and reason by id, for transactions of apps."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the database knows about a swap."""

    swap: Swap
    parties: Mapping[str, Party]
    terms: SwapTerms
    """With the price at the block of the source escrow, where there is one."""
    source: Lock | None
    destination: Lock | None
    mismatch: str | None
    is_taken_by_other: bool
    secret: bytes | None = field(repr=False)
    is_secret_held: bool
    """The maker left the secret with us; looked up only where it could be released."""
    legs: Mapping[Leg, LegFacts]
    public_legs_today: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a swap: the rows, the two blocks it was made at, and the facts."""

    rows: Rows
    source_head: BlockRef
    destination_head: BlockRef
    facts: Facts


class Profiles:
    """Profiles of ordered pairs of chains."""

    def __init__(self, profiles: Mapping[tuple[str, str], ChainPairProfile]) -> None:
        self._profiles = dict(profiles)

    def get(self, source: str, destination: str) -> ChainPairProfile:
        """The profile of a pair.

        Raises:
            PairUnknown: swaps between these chains are not configured.
        """
        profile = self._profiles.get((source, destination))
        if profile is None:
            raise PairUnknown(f"swaps from {source} to {destination} are not configured here")
        return profile


class SwapReader:
    """Reads everything that a step of a swap needs."""

    def __init__(
        self,
        database: Database,
        chains: ChainRegistry,
        book: OrderBook,
        legs: LegStates,
        profiles: Profiles,
        clock: Clock,
        public_legs_per_day: int,
    ) -> None:
        self._database, self._chains, self._book, self._legs = database, chains, book, legs
        self._profiles, self._clock, self._cap = profiles, clock, public_legs_per_day

    async def look(self, swap_id: str) -> Look:
        """Rows and chains as they are now.

        Raises:
            SwapNotFound, FollowerBehind, NodeUnavailable, NodeError.
        """
        async with self._database.system("settlement") as uow:
            rows = await self.read_rows(uow, swap_id)
        terms = rows.terms
        (source_head, source), (destination_head, destination) = await asyncio.gather(
            self._read_side(rows, Side.SOURCE, terms.source_chain, rows.source),
            self._read_side(rows, Side.DESTINATION, terms.destination_chain, rows.destination),
        )
        is_shown = any(one is not None and one.is_withdrawn for one in (source, destination))
        if is_shown and rows.secret is None:
            raise FollowerBehind("a withdrawal has shown the secret; the follower has not read it yet")
        return Look(
            rows=rows,
            source_head=source_head,
            destination_head=destination_head,
            facts=Facts(
                mode=rows.swap.mode,
                time_locks=terms.time_locks,
                profile=self._profiles.get(terms.source_chain, terms.destination_chain),
                source_time=source_head.timestamp,
                destination_time=destination_head.timestamp,
                host_time=int(self._clock.now().timestamp()),
                reserved_until=rows.swap.reserved_until,
                expires_at=terms.expires_at,
                source=None if source is None else replace(source, mismatch=rows.mismatch),
                destination=destination,
                is_taken_by_other=rows.is_taken_by_other,
                has_secret=rows.secret is not None,
                is_secret_held=rows.is_secret_held,
                may_sponsor=rows.public_legs_today < self._cap,
                legs=rows.legs,
            ),
        )

    async def read_rows(self, uow: UnitOfWork, swap_id: str) -> Rows:
        """What the database knows."""
        swap = await store.find_swap(uow, swap_id)
        if swap is None:
            raise SwapNotFound
        locks = await escrow_store.list_locks(uow, swap.terms.order_hash)
        fill = [one for one in locks if one.side is Side.SOURCE and one.fill_index == swap.terms.fill_index]
        source = next((one for one in fill if one.immutables.taker == swap.terms.taker), None)
        terms, mismatch, destination = swap.terms, None, None
        if source is not None:
            offer = await self._book.find_offer(uow, terms.order_hash, terms.fill_index, terms.taker, source.block_time)
            if offer is not None:
                terms = offer.terms
            mismatch = match_source(terms, source) if offer is not None else "order hash"
            destination = next((one for one in locks if match_destination(terms, source, one) is None), None)
        secret = await store.find_secret(uow, swap.id) or await escrow_store.find_shown_secret(
            uow, terms.order_hash, terms.hashlock
        )
        is_held = False
        if secret is None and swap.state == SwapState.BOTH_FINAL:
            is_held = await self._book.find_held_secret(uow, terms.order_hash, terms.fill_index) is not None
        return Rows(
            swap=swap,
            parties=await store.list_parties(uow, swap.id),
            terms=terms,
            source=source,
            destination=destination if mismatch is None else None,
            mismatch=mismatch,
            is_taken_by_other=any(one.immutables.taker != swap.terms.taker for one in fill),
            secret=secret,
            is_secret_held=is_held,
            legs=await self._read_legs(uow, swap),
            public_legs_today=await store.count_public_legs(uow, self._clock.now() - timedelta(days=1)),
        )

    async def _read_legs(self, uow: UnitOfWork, swap: Swap) -> dict[Leg, LegFacts]:
        rows = await store.list_legs(uow, swap.id)
        sent = [(row.app_id, row.transaction_id) for row in rows if row.app_id and row.transaction_id]
        known = await self._legs.list_outcomes(uow, sent)
        legs: dict[Leg, LegFacts] = {}
        for row in rows:
            if row.transaction_id is None:
                # What a taker's policy says stays with its app; a decision's reason is told to both sides.
                own = "the policy of the taker's wallet does not allow it"
                status, reason = LegStatus.FAILED, row.reason if row.leg in PUBLIC_LEGS else own
            else:
                status, reason = known.get(row.transaction_id, (LegStatus.PENDING, None))
            legs[row.leg] = LegFacts(
                attempt=row.attempt, status=status, reason=reason, is_refused=row.transaction_id is None
            )
        return legs

    async def _read_side(
        self, rows: Rows, side: Side, chain: str, lock: Lock | None
    ) -> tuple[BlockRef, EscrowFacts | None]:
        """An escrow as its chain says; where no node answers and the secret is out, as the state remembers it.

        Its deadline passes whatever the other chain does, and the only way is forward then.
        """
        try:
            return await self._read_escrow(chain, lock)
        except Retry as error:
            remembered, outcome = _REMEMBERED.get(rows.swap.state, (None, Outcome.OPEN))
            if remembered is not side or lock is None or rows.secret is None:
                raise
            log.warning("swap_remembers_escrow", swap_id=rows.swap.id, side=side.value, reason=error.code)
            block = BlockRef(chain, lock.block_number, lock.block_hash, lock.block_time)
            return block, EscrowFacts(deployed_at=lock.immutables.deployed_at, is_final=True, outcome=outcome)

    async def _read_escrow(self, chain: str, lock: Lock | None) -> tuple[BlockRef, EscrowFacts | None]:
        """The head of a chain, and an escrow as it stands there and at the final block."""
        client = self._chains.get(chain)
        head = await client.head()
        if lock is None:
            return head, None
        address = address_from_bytes(lock.address)
        now = await self._read_state(client, address, head)
        if now is None:
            return head, None
        final: Outcome | None = None
        final_number = await client.final_number(head)
        if lock.block_number <= final_number:
            final = await self._read_state(client, address, await client.block(final_number))
        return head, EscrowFacts(
            deployed_at=lock.immutables.deployed_at,
            is_final=final is not None,
            outcome=now,
            is_outcome_final=now is not Outcome.OPEN and final is now,
        )

    async def _read_state(self, client: EvmClient, address: Address, block: BlockRef) -> Outcome | None:
        answer = (await client.calls([(address, state_call())], block, agreed=True))[0]
        return decode_state(answer) if isinstance(answer, bytes) else None
