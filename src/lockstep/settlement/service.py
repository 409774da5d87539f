"""What others may do with swaps: open one, attach an escrow that appeared, release its secret, read it.

Every swap is moved by its process; the service only creates rows, stores the secret at its legal release, and wakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eth_hash.auto import keccak

from lockstep.custody import Principal
from lockstep.kit import processes
from lockstep.kit.clock import Clock, rfc3339
from lockstep.kit.database import Database, Row, UnitOfWork
from lockstep.kit.ids import AppId, is_id, new_id
from lockstep.kit.outbox import Event, append
from lockstep.kit.paging import Page, decode_cursor, page_of
from lockstep.settlement import escrow_store, store, timeline
from lockstep.settlement.errors import (
    FillTaken,
    NotAParty,
    SecretMismatch,
    SecretNotReleased,
    SecretTooEarly,
    SecretTooLate,
    SwapNotFound,
    TimeLocksUnfit,
)
from lockstep.settlement.ports import OrderBook
from lockstep.settlement.reads import Profiles, SwapReader
from lockstep.settlement.rules import (
    TERMINAL_STATES,
    SwapState,
    last_secret_release,
    secret_release,
    time_locks_fault,
)
from lockstep.settlement.types import Offer, Party, Swap, SwapId, SwapTerms, TakerMode

KIND = "swap"
"""Of the process."""
RESERVED_SECONDS = 60
"""How long a fill is kept for a taker that does not begin to open the source escrow, chain time."""
_BEFORE_SECRET = frozenset(
    {
        SwapState.MATCHED,
        SwapState.SOURCE_LOCKING,
        SwapState.SOURCE_LOCKED,
        SwapState.DESTINATION_LOCKING,
        SwapState.DESTINATION_LOCKED,
    }
)
_NOT_OUT = _BEFORE_SECRET | {
    SwapState.BOTH_FINAL,
    SwapState.CANCELLED,
    SwapState.DESTINATION_CANCELLING,
    SwapState.SOURCE_CANCELLING,
}
"""States in which the secret need not be out; a swap on its way back may come forward again after a reorganisation."""


class SwapService:
    """Swaps, as the modules above and the API use them."""

    def __init__(
        self, database: Database, clock: Clock, profiles: Profiles, book: OrderBook, reader: SwapReader
    ) -> None:
        self._database, self._clock, self._profiles = database, clock, profiles
        self._book, self._reader = book, reader

    def check_terms(self, terms: SwapTerms) -> None:
        """Whether a swap with these terms can be carried out between its chains.

        Raises:
            PairUnknown, TimeLocksUnfit.
        """
        profile = self._profiles.get(terms.source_chain, terms.destination_chain)
        fault = time_locks_fault(terms.time_locks, profile)
        if fault is not None:
            raise TimeLocksUnfit(fault)

    async def open_swap(
        self,
        uow: UnitOfWork,
        offer: Offer,
        *,
        mode: TakerMode,
        taker: Party | None,
        source_call: bytes | None,
        chain_time: int,
    ) -> Swap:
        """Match a taker with a fill; the process then moves the swap. Needs a system unit of work.

        The caller holds a lock on the order, so that of two takers one comes first.

        Args:
            taker: who signs the legs of a managed taker (wallet and session are set); the app of an external one.
            source_call: calldata by which a managed taker opens the source escrow.
            chain_time: time of the source chain now.
        Raises:
            FillTaken: somebody else (or this taker) has the fill. PairUnknown, TimeLocksUnfit.
        """
        self.check_terms(offer.terms)
        for other in await store.list_fill(uow, offer.terms.order_hash, offer.terms.fill_index):
            if other.state != SwapState.CANCELLED and not (mode == "managed" and _is_only_asked_for(other)):
                raise FillTaken(swap_id=other.id)
        reserved = min(chain_time + RESERVED_SECONDS, offer.terms.expires_at)
        return await self._insert(uow, offer, mode, taker, source_call, reserved)

    async def attach_source(self, uow: UnitOfWork, offer: Offer) -> None:
        """A source escrow of this taker appeared: it becomes an external swap unless the taker has one already."""
        for other in await store.list_fill(uow, offer.terms.order_hash, offer.terms.fill_index):
            if other.terms.taker == offer.terms.taker and other.state != SwapState.CANCELLED:
                return
        await self._insert(uow, offer, "external", None, None, offer.terms.expires_at)

    async def submit_secret(self, order_hash: bytes, fill_index: int, secret: bytes) -> Swap:
        """Release the secret of a fill, if swap rule 4 allows it at the heads of both chains now.

        The caller has checked that the maker is asking. The same secret again changes nothing.

        Raises:
            SwapNotFound, SecretMismatch, SecretTooEarly, SecretTooLate: nothing was stored.
        """
        swap = await self._current(order_hash, fill_index)
        if keccak(secret) != swap.terms.hashlock:
            raise SecretMismatch
        if swap.secret_released_at is not None:
            return swap
        if swap.state in _BEFORE_SECRET:
            raise SecretTooEarly(f"both escrows must be final first; the swap is {swap.state}", state=swap.state)
        if swap.state != SwapState.BOTH_FINAL:
            raise SecretTooLate(f"the swap is {swap.state}", state=swap.state)
        look = await self._reader.look(swap.id)
        refusal = secret_release(look.facts)
        if refusal is not None:
            if look.facts.destination is not None and look.facts.destination_time >= last_secret_release(look.facts):
                raise SecretTooLate(refusal)
            raise SecretTooEarly(refusal)
        now = self._clock.now()
        async with self._database.system("settlement") as uow:
            # First the process, then the swap, then the order: the order in which a step of the process locks them.
            await processes.wake(uow, KIND, [swap.id], now)
            locked = await store.find_swap(uow, swap.id, lock=True)
            if locked is None or (locked.state != SwapState.BOTH_FINAL and locked.secret_released_at is None):
                raise SecretTooLate("the swap has moved on")
            if locked.secret_released_at is None:
                await store.insert_secret(
                    uow, swap.id, secret, look.source_head.timestamp, look.destination_head.timestamp, now
                )
                locked = replace(locked, secret_released_at=now, version=locked.version + 1)
                await tell(uow, locked)
                await self._book.on_swap_changed(uow, locked)
        return locked

    async def lock_unreleased(self, uow: UnitOfWork, order_hash: bytes, fill_index: int) -> None:
        """Keep a fill from releasing its secret until this unit of work ends, and wake its swap then: the secret that the
        maker leaves with us, or takes back, counts from here. There need not be a swap yet.

        Raises:
            SecretTooLate: the secret is out, or the swap is over.
        """
        swap = _counting(await store.list_fill(uow, order_hash, fill_index))
        if swap is None:
            return
        await processes.wake(uow, KIND, [swap.id], self._clock.now())
        locked = await store.find_swap(uow, swap.id, lock=True)
        assert locked is not None, "swaps are never deleted"
        if locked.secret_released_at is not None:
            raise SecretTooLate("the secret is released", state=locked.state)
        if locked.state not in _NOT_OUT:
            raise SecretTooLate(f"the swap is {locked.state}", state=locked.state)

    async def secret_for_taker(self, principal: Principal, order_hash: bytes, fill_index: int) -> bytes:
        """The secret, for the taker of the fill only: released by the maker, or shown by a withdrawal on a chain.

        Raises:
            SwapNotFound, NotAParty, SecretNotReleased.
        """
        swap = await self._current(order_hash, fill_index)
        async with self._database.system("settlement") as uow:
            if not await self._stands_behind(uow, principal, swap, "taker"):
                raise NotAParty
            secret = await store.find_secret(uow, swap.id)
            if secret is None:
                # A maker may withdraw in the public window without telling us; the taker must not learn it too late.
                secret = await escrow_store.find_shown_secret(uow, order_hash, swap.terms.hashlock)
        if secret is None:
            raise SecretNotReleased(f"the swap is {swap.state}", state=swap.state)
        return secret

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get_swap(self, principal: Principal, swap_id: str) -> Swap:
        """A swap of the caller.

        Raises:
            SwapNotFound: none, or the caller is no party of it.
        """
        if not is_id(swap_id):
            raise SwapNotFound
        async with self._database.system("settlement") as uow:
            swap = await store.find_swap(uow, swap_id)
            if swap is None or not await self._is_party(uow, principal, swap):
                raise SwapNotFound
        return swap

    async def list_swaps(
        self, principal: Principal, *, state: str | None, cursor: str | None, limit: int
    ) -> Page[Swap]:
        """Swaps of the caller's app (of the user, the session's wallet, the external address), the newest first."""
        before = str(decode_cursor(cursor, str)[0]) if cursor else None
        async with self._database.system("settlement") as uow:
            rows = await store.list_party_swaps(
                uow,
                app_id=principal.app_id,
                user_id=principal.user_id if principal.kind == "user" else None,
                wallet_id=principal.wallet_id if principal.kind == "session" else None,
                address=_address(principal),
                state=state,
                before=before,
                limit=limit + 1,
            )
        return page_of(rows, limit, lambda swap: (swap.id,))

    async def list_recent(self, uow: UnitOfWork, app_id: AppId, limit: int) -> list[Swap]:
        """Swaps of an app, the newest first: what a new reader of the stream is shown."""
        return await store.list_party_swaps(
            uow, app_id=app_id, user_id=None, wallet_id=None, address=None, state=None, before=None, limit=limit
        )

    async def get_timeline(self, principal: Principal, swap_id: str) -> list[Row]:
        """Everything that happened to a swap, oldest first: steps, transactions, events of its escrows."""
        await self.get_swap(principal, swap_id)
        async with self._database.system("settlement") as uow:
            return await timeline.read(uow, swap_id, principal.app_id)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _insert(
        self,
        uow: UnitOfWork,
        offer: Offer,
        mode: TakerMode,
        taker: Party | None,
        source_call: bytes | None,
        reserved_until: int,
    ) -> Swap:
        now = self._clock.now()
        swap = Swap(
            id=SwapId(new_id()),
            terms=offer.terms,
            mode=mode,
            state=SwapState.MATCHED,
            version=0,
            reason="a taker has the fill",
            waiting_for=None,
            reserved_until=reserved_until,
            source_call=source_call,
            source_escrow=None,
            destination_escrow=None,
            secret_released_at=None,
            created_at=now,
            updated_at=now,
        )
        if not await store.insert_swap(uow, swap):
            raise FillTaken
        if offer.maker is not None:
            await store.insert_party(uow, swap.id, "maker", offer.maker)
        if taker is not None:
            await store.insert_party(uow, swap.id, "taker", taker)
        await processes.start(uow, kind=KIND, process_id=swap.id, state=swap.state, app_id=None, due_at=now)
        await tell(uow, swap)
        await self._book.on_swap_changed(uow, swap)
        return swap

    async def _current(self, order_hash: bytes, fill_index: int) -> Swap:
        """The attempt at a fill that counts.

        Raises:
            SwapNotFound: there is none.
        """
        async with self._database.system("settlement") as uow:
            swaps = await store.list_fill(uow, order_hash, fill_index)
        chosen = _counting(swaps)
        if chosen is None:
            raise SwapNotFound("nobody has taken this fill")
        return chosen

    async def _is_party(self, uow: UnitOfWork, principal: Principal, swap: Swap) -> bool:
        return await self._stands_behind(uow, principal, swap, "maker") or await self._stands_behind(
            uow, principal, swap, "taker"
        )

    async def _stands_behind(self, uow: UnitOfWork, principal: Principal, swap: Swap, role: str) -> bool:
        if principal.kind == "external":
            return _address(principal) == (swap.terms.maker if role == "maker" else swap.terms.taker)
        party = (await store.list_parties(uow, swap.id)).get(role)
        if party is None or principal.app_id != party.app_id:
            return False
        if principal.kind == "user":
            return principal.user_id == party.user_id
        if principal.kind == "session":
            return principal.wallet_id == party.wallet_id
        return principal.kind == "app"


def _counting(attempts: Sequence[Swap]) -> Swap | None:
    """Of the attempts at a fill, newest first, the one that counts: not cancelled, and with the escrow where one has it."""
    live = [swap for swap in attempts if swap.state != SwapState.CANCELLED]
    return next((swap for swap in live if swap.source_escrow is not None), live[0] if live else None)


def _is_only_asked_for(swap: Swap) -> bool:
    """An outsider's word costs it nothing, so it keeps other outsiders out of our book, but nobody who acts at once."""
    return swap.mode == "external" and swap.state == SwapState.MATCHED


def is_over(swap: Swap) -> bool:
    """Whether the swap has ended."""
    return swap.state in TERMINAL_STATES


async def tell(uow: UnitOfWork, swap: Swap) -> None:
    """Tell the apps of both sides; each hears of its own wallets only, by which users may follow their swaps."""
    parties = await store.list_parties(uow, swap.id)
    for app_id in sorted({party.app_id for party in parties.values()}):
        wallets = {party.wallet_id for party in parties.values() if party.app_id == app_id and party.wallet_id}
        await append(
            uow,
            Event(
                topic="swaps",
                type="swap_updated",
                object_id=swap.id,
                version=swap.version,
                app_id=app_id,
                data={**describe(swap), "wallet_id": sorted(wallets)},
            ),
        )


def describe(swap: Swap) -> dict[str, Any]:
    """Public representation of a swap: never the secret, never how its legs are signed."""
    t = swap.terms
    return {
        "id": swap.id,
        "order_hash": _hex(t.order_hash),
        "fill_index": t.fill_index,
        "state": swap.state,
        "version": swap.version,
        "reason": swap.reason,
        "waiting_for": swap.waiting_for,
        "mode": swap.mode,
        "hashlock": _hex(t.hashlock),
        "maker": _hex(t.maker),
        "receiver": _hex(t.receiver),
        "taker": _hex(t.taker),
        "source": {
            "chain": t.source_chain,
            "factory": _hex(t.source_factory),
            "token": _hex(t.source_token),
            "amount": str(t.source_amount),
            "escrow": _hex(swap.source_escrow) if swap.source_escrow else None,
        },
        "destination": {
            "chain": t.destination_chain,
            "factory": _hex(t.destination_factory),
            "token": _hex(t.destination_token),
            "amount": str(t.destination_amount),
            "escrow": _hex(swap.destination_escrow) if swap.destination_escrow else None,
        },
        "is_secret_released": swap.secret_released_at is not None,
        "created_at": rfc3339(swap.created_at),
        "updated_at": rfc3339(swap.updated_at),
    }


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _address(principal: Principal) -> bytes | None:
    if principal.kind != "external" or principal.address is None:
        return None
    return bytes.fromhex(principal.address.removeprefix("0x"))
