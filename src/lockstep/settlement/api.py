"""Routes of swaps: list, read, timeline. Swaps are opened through their order."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from lockstep.custody import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems
from lockstep.settlement.errors import SwapNotFound
from lockstep.settlement.schemas import State, SwapOut, SwapPage, Timeline, TimelineEntry
from lockstep.settlement.service import SwapService, describe


def router(service: SwapService, authenticate: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """Routes under /v1."""
    routes = APIRouter(prefix="/swaps", tags=["swaps"])

    @routes.get("", operation_id="list_swaps", responses=problems(BadCursor))
    async def list_swaps(
        principal: Annotated[Principal, Depends(authenticate)],
        state: Annotated[State | None, Query()] = None,
        cursor: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> SwapPage:
        """Swaps in which the caller's app, user or address is a party, the newest first."""
        page = await service.list_swaps(principal, state=state, cursor=cursor, limit=limit)
        return SwapPage(
            items=[SwapOut.model_validate(describe(swap)) for swap in page.items], next_cursor=page.next_cursor
        )

    @routes.get("/{swap_id}", operation_id="get_swap", responses=problems(SwapNotFound))
    async def get_swap(swap_id: str, principal: Annotated[Principal, Depends(authenticate)]) -> SwapOut:
        """One swap."""
        return SwapOut.model_validate(describe(await service.get_swap(principal, swap_id)))

    @routes.get("/{swap_id}/timeline", operation_id="get_swap_timeline", responses=problems(SwapNotFound))
    async def get_timeline(swap_id: str, principal: Annotated[Principal, Depends(authenticate)]) -> Timeline:
        """Everything that happened to a swap, oldest first: steps, transactions, its escrows on both chains."""
        rows = await service.get_timeline(principal, swap_id)
        return Timeline(items=[TimelineEntry.model_validate({**row, "at": rfc3339(row["at"])}) for row in rows])

    return routes
