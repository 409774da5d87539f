"""Submitting, reading and cancelling transactions. A submission is decided by custody and queued in one database transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from lockstep.chains.evm import FeeMarket, Hash32, Speed
from lockstep.custody import Principal, TransactionIntent
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId, CorrelationId, WalletId
from lockstep.kit.paging import MAX_LIMIT, Page, decode_cursor, page_of
from lockstep.transactions.engine.moves import change, move
from lockstep.transactions.engine.rules import check_cancellable, check_replaceable, live_attempt, wants_speed_up
from lockstep.transactions.errors import TransactionNotFound
from lockstep.transactions.evm.build import cancellation_intent, intent_of
from lockstep.transactions.evm.rules import sped_up_fees
from lockstep.transactions.sender import TransactionSender, check_same
from lockstep.transactions.store import attempts as attempt_rows
from lockstep.transactions.store import rows
from lockstep.transactions.types import State, Step, Transaction, TransactionAuthority


class TransactionsService:
    """The public surface of the module for other modules and for the API."""

    def __init__(self, sender: TransactionSender, authority: TransactionAuthority, clock: Clock) -> None:
        self._sender, self._authority, self._clock = sender, authority, clock

    async def submit(
        self,
        uow: UnitOfWork,
        principal: Principal,
        *,
        wallet_id: WalletId,
        chain: str,
        to: str | None,
        value: int,
        data: bytes,
        idempotency_key: str,
        gas_limit: int | None = None,
        max_fee_per_gas: int | None = None,
        max_priority_fee_per_gas: int | None = None,
        speed: Speed = Speed.STANDARD,
        is_private: bool | None = None,
        priority: int = 0,
        deadline_at: datetime | None = None,
        cancels_late: bool = True,
        correlation_id: CorrelationId | None = None,
        wakes: tuple[str, str] | None = None,
    ) -> Transaction:
        """Have a transaction decided on and queue it. The same idempotency key for the same wallet gives the same row.

        Args:
            value: wei. Ceilings in gas and wei per gas; None: an estimate, the chain's ceiling.
            deadline_at: after this it is not signed any more, and cancelled if it is signed and not mined.
            cancels_late: False where to stop half-way is worse than to be late: what is signed goes on after its deadline.
            is_private: sent to the chain's private node only; None: as the chain's settings say.
            wakes: (kind, id) of a durable process that is woken when it is mined and when it ends.
        Raises:
            UnknownChain. NoPrivateNode. PolicyDenied: with the reason. NotFound: no such wallet. IdempotencyKeyReused: the key stands for another one.
        """
        app_id = principal.tenant
        wallet = await self._authority.find_wallet(uow, app_id, wallet_id)
        intent = TransactionIntent(
            app_id=app_id,
            wallet_id=wallet_id,
            chain=chain,
            from_address=wallet.address,
            to=to,
            value=value,
            data=data,
            gas_limit=gas_limit,
            max_fee_per_gas=max_fee_per_gas,
            max_priority_fee_per_gas=max_priority_fee_per_gas,
            type=self._sender.transaction_type(chain),
            speed=speed,
            is_private=is_private,
            idempotency_key=idempotency_key,
            priority=priority,
            deadline_at=deadline_at,
            correlation_id=correlation_id,
        )
        known = await rows.find_by_key(uow, app_id, wallet_id, idempotency_key)
        if known is not None:
            check_same(known, intent)
            return known
        decision = await self._authority.decide_transaction(uow, principal, wallet, intent)
        return await self._sender.queue(uow, decision.id, intent, wakes=wakes, cancels_late=cancels_late)

    async def list_visible(self, uow: UnitOfWork, principal: Principal) -> list[WalletId] | None:
        """The wallets whose transactions a caller may see; None: all of its app's."""
        return await self._authority.list_visible(uow, principal)

    async def get(self, uow: UnitOfWork, app_id: AppId, transaction_id: str) -> Transaction:
        """A transaction of an app.

        Raises:
            TransactionNotFound: the app has none with this id.
        """
        found = await rows.find(uow, app_id, transaction_id)
        if found is None:
            raise TransactionNotFound
        return found

    async def find_by_key(
        self, uow: UnitOfWork, app_id: AppId, wallet_id: WalletId, idempotency_key: str
    ) -> Transaction | None:
        """The transaction that a key stands for, if any."""
        return await rows.find_by_key(uow, app_id, wallet_id, idempotency_key)

    async def list_states(
        self, uow: UnitOfWork, transactions: Sequence[tuple[AppId, str]]
    ) -> dict[str, tuple[State, str | None]]:
        """State and reason by id, for durable processes that wait for transactions of several apps."""
        return await rows.list_states(uow, transactions)

    async def list(
        self,
        uow: UnitOfWork,
        app_id: AppId,
        *,
        wallet_ids: Sequence[WalletId] | None = None,
        chain: str | None = None,
        state: State | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Transaction]:
        """Newest first; of the named wallets, or of all when None.

        Raises:
            BadCursor: not a cursor of this list.
        """
        before = str(decode_cursor(cursor, str)[0]) if cursor else None
        limit = min(limit, MAX_LIMIT)
        found = await rows.list_page(
            uow, app_id, wallet_ids=wallet_ids, chain=chain, state=state, before=before, limit=limit
        )
        return page_of(found, limit, lambda transaction: (transaction.id,))

    async def timeline(self, uow: UnitOfWork, app_id: AppId, transaction_id: str) -> Sequence[Step]:
        """What happened to a transaction, oldest first."""
        return await rows.list_steps(uow, app_id, transaction_id)

    async def hashes(self, uow: UnitOfWork, app_id: AppId, transaction_id: str) -> Sequence[Hash32]:
        """Hashes of all its signed forms, oldest first; any of them may be mined."""
        return await attempt_rows.list_hashes(uow, app_id, transaction_id)

    async def cancel(self, uow: UnitOfWork, principal: Principal, transaction_id: str) -> Transaction:
        """Cancel a transaction: at once while nothing of it is signed, else by a self-send under its nonce, and whichever
        of both is mined decides. Asking twice is harmless.

        Raises:
            TransactionNotFound: there is none for this caller.
            NotCancellable: it is mined or has ended.
            Forbidden: the caller may not send from this wallet; or the wallet is frozen, and something is signed.
        """
        found = await self.get_visible(uow, principal, transaction_id, lock=True)
        await self._authority.check_withdrawal(uow, principal, found.wallet_id, found.decision_id)
        check_cancellable(found)
        if found.cancel_requested_at is not None:
            return found
        now = self._clock.now()
        by = principal.label
        if found.state is State.QUEUED and found.wakes_id is None:
            after = move(
                found, State.CANCELLED, now, None, reason="cancelled before it got a nonce", cancel_requested_at=now
            )
            await rows.apply(uow, [change(found, after, by=by)])
            await self._authority.release_decisions(uow, [found.decision_id])
            return after
        decision_id: str | None = None
        if found.state not in (State.QUEUED, State.RESERVED):
            intent = cancellation_intent(found, self._sender.config(found.chain).max_fee_per_gas)
            decision_id = (await self._authority.decide_cancellation(uow, principal, intent)).id
        after = move(
            found,
            found.state,
            now,
            now,
            reason="it was asked to be cancelled",
            cancel_requested_at=now,
            cancel_decision_id=decision_id,
        )
        await rows.apply(uow, [change(found, after, by=by, decision_id=decision_id)])
        return after

    async def fee_market(self, chain: str) -> FeeMarket:
        """What nodes ask for now.

        Raises:
            UnknownChain, NodeUnavailable.
        """
        return await self._sender.fee_market(chain)

    async def speed_up(
        self,
        uow: UnitOfWork,
        principal: Principal,
        transaction_id: str,
        market: FeeMarket,
        *,
        max_fee_per_gas: int | None = None,
        max_priority_fee_per_gas: int | None = None,
        attempt: int | None = None,
    ) -> Transaction:
        """Have the next, dearer form of a transaction made now, under ceilings that the caller may change. Decided on anew,
        so the policies see the new ceilings. What waits in the queue goes with them when the market takes them.

        Args:
            market: of its chain, at this moment.
            max_fee_per_gas: ceilings, wei per gas; None: as they are. The chain's ceiling holds anyway.
            attempt: the one that the caller wants outbid; nothing changes where it is, or is about to be. None: the newest.
        Raises:
            TransactionNotFound: there is none for this caller.
            NotReplaceable: it is mined, over, being signed or being cancelled.
            FeeCeilingTooLow: the ceilings leave no room.
            Refuse: the caller, or the policies, do not allow it.
        """
        found = await self.get_visible(uow, principal, transaction_id, lock=True)
        if attempt is not None and (attempt != found.attempt or wants_speed_up(found)):
            return found
        check_replaceable(found)
        attempts = (await attempt_rows.list_attempts(uow, [found.id]))[found.id]
        live = live_attempt(found, attempts) if attempts else None
        wished = replace(
            found,
            max_fee_ceiling=found.max_fee_ceiling if max_fee_per_gas is None else max_fee_per_gas,
            max_priority_fee_ceiling=found.max_priority_fee_ceiling
            if max_priority_fee_per_gas is None
            else max_priority_fee_per_gas,
            wanted_attempt=attempts[-1].attempt + 1 if attempts else 0,
        )
        fees = sped_up_fees(wished, live, market, self._sender.config(found.chain).max_fee_per_gas)
        wallet = await self._authority.find_wallet(uow, found.app_id, found.wallet_id)
        decision = await self._authority.decide_replacement(
            uow, principal, wallet, intent_of(wished), replaces=found.decision_id
        )
        now = self._clock.now()
        after = move(
            replace(wished, decision_id=decision.id), found.state, now, now, reason="it was asked to be made dearer"
        )
        await rows.set_terms(uow, after)
        facts = {"by": principal.label, "decision_id": decision.id, "max_fee_per_gas": str(fees.max_fee_per_gas)}
        await rows.apply(uow, [change(found, after, **facts)])
        return after

    async def get_visible(
        self, uow: UnitOfWork, principal: Principal, transaction_id: str, *, lock: bool = False
    ) -> Transaction:
        """A transaction that the caller may see; with `lock` nobody else moves it until the database transaction ends.

        Raises:
            TransactionNotFound: there is none for this caller.
        """
        found = await rows.find(uow, principal.tenant, transaction_id, lock=lock)
        visible = await self._authority.list_visible(uow, principal)
        if found is None or (visible is not None and found.wallet_id not in visible):
            raise TransactionNotFound
        return found
