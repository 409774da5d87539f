"""A desk with the service that operators use, and what that service asks custody."""

from __future__ import annotations

import asyncio

from tests.support.evm import address
from tests.support.transactions import APP, Desk, decision_of

from lockstep.chains.evm import ChainRegistry
from lockstep.custody import CallerNotAllowed, Decision, Principal, TransactionIntent, Wallet
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import WalletId
from lockstep.transactions import EngineSettings, State, Transaction, TransactionsService

APP_ITSELF = Principal(kind="app", app_id=APP)
RECIPIENT_HAS = 10**22


class Custody:
    """What the service asks custody; refuses what the test says."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.refusal: LockstepError | None = None
        self.decided: list[tuple[Principal, TransactionIntent]] = []
        """Transactions that were decided on anew."""

    async def list_visible(self, _: UnitOfWork, principal: Principal) -> list[WalletId] | None:
        return None if principal.wallet_id is None else [principal.wallet_id]

    async def check_withdrawal(self, _: UnitOfWork, principal: Principal, __: WalletId, decision_id: str) -> None:
        if principal.kind == "session" and principal.session_id != decision_id:
            raise CallerNotAllowed

    async def find_wallet(self, *_: object) -> Wallet | None:
        return None

    async def release_decisions(self, uow: UnitOfWork, decision_ids: list[str]) -> None:
        await self._desk.keys.release_decisions(uow, decision_ids)

    async def decide_transaction(
        self,
        _: UnitOfWork,
        principal: Principal,
        __: Wallet | None,
        intent: TransactionIntent,
        *,
        replaces: str | None = None,
    ) -> Decision:
        if self.refusal is not None:
            raise self.refusal
        self.decided.append((principal, intent))
        return decision_of(next(i for i in range(10) if address(i) == intent.from_address))

    async def decide_replacement(
        self, uow: UnitOfWork, principal: Principal, wallet: Wallet | None, intent: TransactionIntent, *, replaces: str
    ) -> Decision:
        return await self.decide_transaction(uow, principal, wallet, intent)

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        if self.refusal is not None:
            raise self.refusal
        return await self._desk.keys.decide_cancellation(uow, principal, intent)


class Office(Desk):
    """A desk with the service that operators use."""

    def __init__(self, database: Database, chains: ChainRegistry, settings: EngineSettings | None = None) -> None:
        super().__init__(database, chains, settings)
        self.custody = Custody(self)
        self.service = TransactionsService(self.sender, self.custody, self.clock)  # type: ignore[arg-type]  # what it asks here

    async def cancel(self, transaction_id: str, principal: Principal = APP_ITSELF) -> Transaction:
        async with self.database.tenant(principal.tenant) as uow:
            return await self.service.cancel(uow, principal, transaction_id)

    async def stuck(self, **changes: object) -> Transaction:
        """A transaction in the pool of a node that mines only when it is told to."""
        await self.client.call("evm_setAutomine", [False])
        return await self.run_until((await self.submit(**changes)).id, State.BROADCAST)

    async def received(self) -> int:
        return await self.client.balance(address(5), await self.client.head()) - RECIPIENT_HAS

    async def let_it_win(self, transaction_id: str) -> Transaction:
        """The end of a transaction whose self-send reaches the pool before the next block."""
        await self.run_until(transaction_id, State.REPLACED, State.SIGNED)
        await self.run_until(transaction_id, State.BROADCAST)
        return await self.mine_until(transaction_id, State.CANCELLED)

    async def mine_until(self, transaction_id: str, *states: State) -> Transaction:
        async with asyncio.timeout(30):
            while (found := await self.get(transaction_id)).state not in states:
                await self.engine.step()
                await self.mine()
        return found
