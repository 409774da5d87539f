"""Adapters for the ports that modules declare: what one module asks in its words, answered by another in its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from lockstep.app.settings import CoordinatorSettings
from lockstep.auctions import COORDINATOR
from lockstep.chains.evm import parse_address
from lockstep.custody import CustodyService, Principal, TransactionIntent, Wallet, WalletNotFound
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Conflict, Forbidden
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.settlement import KIND, Call, Coordinator, LegStatus
from lockstep.transactions import State, TransactionSender, TransactionsService

_MOST_ATTEMPTS = 20
_LEG_PRIORITY = 10
"""Legs of swaps have deadlines; payments have none."""


class NoCoordinator(Conflict):
    """This deployment has no coordinator wallet, so nobody performs public duties of swaps here."""

    code = "no_coordinator"


class AttemptsUsedUp(Conflict):
    """The transaction failed too often; something must change before it is sent again."""

    code = "attempts_used_up"


class SessionNotGranted(Forbidden):
    """The session signer does not stand: it must be an active one of this wallet, granted to the coordinator."""

    code = "session_not_granted"


class EngineLegs:
    """Settlement's legs as transactions of the engine: ports `LegSender` and `LegStates`."""

    def __init__(self, transactions: TransactionsService) -> None:
        self._transactions = transactions

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
        """Have the leg decided on and queue it; the swap is woken when it is mined and when it ends."""
        queued = await self._transactions.submit(
            uow,
            principal,
            wallet_id=wallet_id,
            chain=call.chain,
            to=call.to,
            value=call.value,
            data=call.data,
            idempotency_key=idempotency_key,
            priority=_LEG_PRIORITY,
            deadline_at=deadline_at,
            # A withdrawal that is sent has shown its secret to everybody: it must arrive. Contracts refuse late locks.
            cancels_late=False,
            wakes=(KIND, wakes_id),
        )
        return queued.id

    async def list_outcomes(
        self, uow: UnitOfWork, transactions: Sequence[tuple[AppId, str]]
    ) -> Mapping[str, tuple[LegStatus, str | None]]:
        """Status and reason by id."""
        states = await self._transactions.list_states(uow, transactions)
        return {known: (_leg_status(state), reason) for known, (state, reason) in states.items()}


class MakerLegs:
    """Transactions on a maker's own authority: port `MakerTransactions` of the book."""

    def __init__(self, transactions: TransactionsService) -> None:
        self._transactions = transactions

    async def send(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, call: Call, *, idempotency_key: str
    ) -> str:
        """Decide and queue; under the next key when the last one ended without effect."""
        for attempt in range(_MOST_ATTEMPTS):
            queued = await self._transactions.submit(
                uow,
                principal,
                wallet_id=wallet_id,
                chain=call.chain,
                to=call.to,
                value=call.value,
                data=call.data,
                idempotency_key=f"{idempotency_key}:{attempt}",
            )
            if _leg_status(queued.state) is not LegStatus.FAILED:
                return queued.id
        raise AttemptsUsedUp(f"{_MOST_ATTEMPTS} transactions ended without effect; the last one is {queued.id}")


class BookWallets:
    """What the book asks custody about wallets: port `Wallets`."""

    def __init__(self, custody: CustodyService, sender: TransactionSender) -> None:
        self._custody, self._sender = custody, sender

    async def find_by_address(self, uow: UnitOfWork, app_id: AppId, address: str) -> Wallet | None:
        """The app's wallet with this address."""
        wallet = await self._custody.find_wallet_by_address(uow, parse_address(address))
        return wallet if wallet is not None and wallet.app_id == app_id else None

    async def get_for_taker(
        self, uow: UnitOfWork, principal: Principal, wallet_id: str, session_id: str | None
    ) -> tuple[Wallet, str]:
        """The wallet, if the caller acts for it, and the session signer that its owner granted to the coordinator.

        Raises:
            WalletNotFound, OwnerRequired, AuthorizationInsufficient, SessionNotGranted.
        """
        wallet = await self._custody.find_wallet(uow, principal.tenant, wallet_id)
        if principal.kind == "session":
            if principal.wallet_id != wallet.id:
                raise WalletNotFound
        else:
            await self._custody.require_owner(uow, principal, wallet)
        granted = await self._custody.find_module_principal(
            uow, COORDINATOR.removeprefix("module:"), principal.tenant, wallet.id
        )
        if granted is None or granted.session_id is None or session_id not in (None, granted.session_id):
            raise SessionNotGranted
        return wallet, granted.session_id

    async def check_allowed(self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, call: Call) -> None:
        """Have custody decide on it for the caller; nothing is queued."""
        wallet = await self._custody.find_wallet(uow, principal.tenant, wallet_id)
        intent = TransactionIntent(
            app_id=wallet.app_id,
            wallet_id=wallet.id,
            chain=call.chain,
            from_address=wallet.address,
            to=call.to,
            value=call.value,
            data=call.data,
            type=self._sender.transaction_type(call.chain),
            idempotency_key=f"check:{new_id()}",
        )
        await self._custody.decide_transaction(uow, principal, wallet, intent, is_queued=False)


def coordinator_of(settings: CoordinatorSettings | None) -> Callable[[UnitOfWork], Awaitable[Coordinator]]:
    """Who performs public duties: a wallet of an app of its own, under its own narrow policy."""

    async def find(_: UnitOfWork) -> Coordinator:
        if settings is None:
            raise NoCoordinator
        return Coordinator(
            principal=Principal(kind="app", app_id=AppId(settings.app_id)), wallet_id=WalletId(settings.wallet_id)
        )

    return find


def _leg_status(state: State) -> LegStatus:
    if state is State.FINAL:
        return LegStatus.DONE
    return LegStatus.FAILED if state.is_terminal else LegStatus.PENDING
