"""Routes of transactions: list, look at and cancel them. They are sent through wallets and by other modules."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from lockstep.chains.evm import NodeUnavailable
from lockstep.custody import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError, Unauthorized
from lockstep.kit.ids import WalletId
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems
from lockstep.transactions.errors import FeeCeilingTooLow, NotCancellable, NotReplaceable, TransactionNotFound
from lockstep.transactions.schemas import (
    ChainName,
    SpeedUpIn,
    StepOut,
    TransactionDetailOut,
    TransactionListOut,
    TransactionOut,
)
from lockstep.transactions.service import TransactionsService
from lockstep.transactions.types import State, Step
from lockstep.transactions.views import public

_Id = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def router(
    service: TransactionsService,
    database: Database,
    authenticate: Callable[..., Awaitable[Principal]],
    signing_errors: Sequence[type[LockstepError]] = (),
) -> APIRouter:
    """The routes under ``/transactions``.

    Args:
        signing_errors: what custody may refuse with when something is to be signed, to be declared.
        authenticate: dependency that gives the caller, or refuses.
    """
    routes = APIRouter(prefix="/transactions", tags=["transactions"])

    @routes.get("", summary="List transactions", responses=problems(Unauthorized, BadCursor))
    async def list_transactions(
        principal: Annotated[Principal, Depends(authenticate)],
        wallet_id: Annotated[str | None, Query(pattern=_Id)] = None,
        chain: Annotated[ChainName | None, Query()] = None,
        state: Annotated[State | None, Query()] = None,
        cursor: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> TransactionListOut:
        """Transactions, newest first: the app sees all of its wallets', a user those of its own, a session its wallet's."""
        async with database.tenant(principal.tenant) as uow:
            visible = await service.list_visible(uow, principal)
            wanted = visible if wallet_id is None else [WalletId(wallet_id)]
            if visible is not None and wanted is not None:
                wanted = [wallet for wallet in wanted if wallet in visible]
            page = await service.list(
                uow,
                principal.tenant,
                wallet_ids=wanted,
                chain=chain,
                state=state,
                cursor=cursor,
                limit=limit,
            )
        items = [TransactionOut.model_validate(public(transaction)) for transaction in page.items]
        return TransactionListOut(items=items, next_cursor=page.next_cursor)

    @routes.get("/{transaction_id}", summary="Get a transaction", responses=problems(Unauthorized, TransactionNotFound))
    async def get_transaction(
        principal: Annotated[Principal, Depends(authenticate)], transaction_id: Annotated[str, Path(pattern=_Id)]
    ) -> TransactionDetailOut:
        """A transaction with every hash that it was signed under and its timeline."""
        app_id = principal.tenant
        async with database.tenant(app_id) as uow:
            found = await service.get_visible(uow, principal, transaction_id)
            steps = await service.timeline(uow, app_id, transaction_id)
            hashes = await service.hashes(uow, app_id, transaction_id)
        return TransactionDetailOut.model_validate(
            {
                **public(found),
                "data": "0x" + found.data.hex(),
                "hashes": ["0x" + one.hex() for one in hashes],
                "timeline": [_step(step) for step in steps],
            }
        )

    @routes.post(
        "/{transaction_id}/cancel",
        summary="Cancel a transaction",
        responses=problems(Unauthorized, TransactionNotFound, NotCancellable, *signing_errors),
    )
    async def cancel_transaction(
        principal: Annotated[Principal, Depends(authenticate)], transaction_id: Annotated[str, Path(pattern=_Id)]
    ) -> TransactionOut:
        """Cancel a transaction: at once while it is not signed, else by a dearer self-send of nothing under its nonce.
        Whichever is mined decides, so follow it to its end. Asking twice is harmless."""
        async with database.tenant(principal.tenant) as uow:
            asked = await service.cancel(uow, principal, transaction_id)
        return TransactionOut.model_validate(public(asked))

    @routes.post(
        "/{transaction_id}/speed-up",
        summary="Speed a transaction up",
        responses=problems(
            Unauthorized, TransactionNotFound, NotReplaceable, FeeCeilingTooLow, NodeUnavailable, *signing_errors
        ),
    )
    async def speed_up_transaction(
        principal: Annotated[Principal, Depends(authenticate)],
        transaction_id: Annotated[str, Path(pattern=_Id)],
        body: SpeedUpIn,
    ) -> TransactionOut:
        """Make a transaction dearer now, at market fees under its ceilings, which may be raised here. It is decided on anew;
        what waits in the queue goes with the new ceilings."""
        async with database.tenant(principal.tenant) as uow:
            seen = await service.get_visible(uow, principal, transaction_id)
        market = await service.fee_market(seen.chain)
        async with database.tenant(principal.tenant) as uow:
            asked = await service.speed_up(
                uow,
                principal,
                transaction_id,
                market,
                max_fee_per_gas=_amount(body.max_fee_per_gas),
                max_priority_fee_per_gas=_amount(body.max_priority_fee_per_gas),
                attempt=body.attempt,
            )
        return TransactionOut.model_validate(public(asked))

    return routes


def _amount(text: str | None) -> int | None:
    return None if text is None else int(text)


def _step(step: Step) -> StepOut:
    return StepOut(
        version=step.version,
        from_state=step.from_state,
        to_state=step.to_state,
        reason=step.reason,
        facts=dict(step.facts),
        time=rfc3339(step.created_at),
    )
