"""Routes of condition sets."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import Field, StringConstraints

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Name, Strict
from lockstep.custody.condition_sets.errors import (
    ConditionSetFull,
    ConditionSetInUse,
    ConditionSetInvalid,
    ConditionSetItemNotFound,
    ConditionSetNotFound,
)
from lockstep.custody.condition_sets.service import ConditionSetService
from lockstep.custody.condition_sets.types import MAX_ITEMS_AT_ONCE, ConditionSet, ConditionSetItem
from lockstep.custody.policy import SetType
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems

Description = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=500)]


class ConditionSetIn(Strict):
    """A new condition set. Its type decides how items are compared, and never changes."""

    name: Name
    value_type: Literal["address", "selector", "integer", "string"]
    description: Description | None = None
    values: Annotated[list[Value], Field(default_factory=list, max_length=MAX_ITEMS_AT_ONCE)]


class ConditionSetPatch(Strict):
    """What is to change; absent members stay."""

    name: Name | None = None
    description: Description | None = None


class ConditionSetOut(Strict):
    """A condition set without its items."""

    id: str
    name: str
    description: str | None
    value_type: Literal["address", "selector", "integer", "string"]
    owner_user_id: str | None
    revision: int = Field(description="Counts the changes of the items; decisions name it.")
    item_count: int
    content_sha256: str = Field(description="Hash of type and items, as the audit log names it.")
    created_at: str
    updated_at: str


class ConditionSetsOut(Strict):
    """A page of condition sets."""

    items: list[ConditionSetOut]
    next_cursor: str | None


class ItemIn(Strict):
    """A value that is to be in the set."""

    value: Value


class ItemOut(Strict):
    """One item: the value as it was written, and the form that is compared."""

    id: str
    condition_set_id: str
    value: str
    canonical_value: str
    created_at: str


class ItemsOut(Strict):
    """A page of items, or the items of a request."""

    items: list[ItemOut]
    next_cursor: str | None = None


def condition_set_router(sets: ConditionSetService, authenticate: Authenticate) -> APIRouter:
    """Routes of condition sets and their items."""
    router = APIRouter(prefix="/condition-sets", tags=["condition sets"])
    caller = Depends(authenticate)
    reads = (*TENANT_ERRORS, ConditionSetNotFound)
    writes = (*reads, errors.OwnerRequired)
    additions = problems(*writes, ConditionSetInvalid, ConditionSetFull)

    @router.post(
        "",
        operation_id="create_condition_set",
        status_code=201,
        responses=problems(*TENANT_ERRORS, ConditionSetInvalid),
    )
    async def create_condition_set(body: ConditionSetIn, principal: Annotated[Principal, caller]) -> ConditionSetOut:
        """Make a set that conditions of policies may look values up in. A user's set is changed by that user only."""
        made = await sets.create(
            principal, body.name, SetType(body.value_type), description=body.description, values=body.values
        )
        return _out(made)

    @router.get("", operation_id="list_condition_sets", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_condition_sets(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> ConditionSetsOut:
        """Condition sets that the caller may see, oldest first."""
        page = await sets.list_sets(principal, cursor=cursor, limit=limit)
        return ConditionSetsOut(items=[_out(one) for one in page.items], next_cursor=page.next_cursor)

    @router.get("/{set_id}", operation_id="get_condition_set", responses=problems(*reads))
    async def get_condition_set(set_id: IdPath, principal: Annotated[Principal, caller]) -> ConditionSetOut:
        """One condition set, without its items."""
        return _out(await sets.get(principal, set_id))

    @router.patch("/{set_id}", operation_id="update_condition_set", responses=problems(*writes))
    async def update_condition_set(
        set_id: IdPath, body: ConditionSetPatch, principal: Annotated[Principal, caller]
    ) -> ConditionSetOut:
        """Change name or description."""
        return _out(await sets.update(principal, set_id, name=body.name, description=body.description))

    @router.delete(
        "/{set_id}",
        operation_id="delete_condition_set",
        status_code=204,
        responses=problems(*writes, ConditionSetInUse),
    )
    async def delete_condition_set(set_id: IdPath, principal: Annotated[Principal, caller]) -> Response:
        """Delete a set that no policy in force names."""
        await sets.delete(principal, set_id)
        return Response(status_code=204)

    @router.post("/{set_id}/items", operation_id="add_condition_set_items", responses=additions)
    async def add_items(
        set_id: IdPath,
        body: Annotated[list[ItemIn], Body(min_length=1, max_length=MAX_ITEMS_AT_ONCE)],
        principal: Annotated[Principal, caller],
    ) -> ItemsOut:
        """Add up to 100 values; answers with their items, also of those that were in the set before."""
        return _items(await sets.add_items(principal, set_id, [one.value for one in body]))

    @router.put("/{set_id}/items", operation_id="replace_condition_set_items", responses=additions)
    async def replace_items(
        set_id: IdPath,
        body: Annotated[list[ItemIn], Body(max_length=MAX_ITEMS_AT_ONCE)],
        principal: Annotated[Principal, caller],
    ) -> ItemsOut:
        """Put up to 100 values in the place of all others; none empties the set."""
        return _items(await sets.replace_items(principal, set_id, [one.value for one in body]))

    @router.get("/{set_id}/items", operation_id="list_condition_set_items", responses=problems(*reads, BadCursor))
    async def list_items(
        set_id: IdPath,
        principal: Annotated[Principal, caller],
        query: Annotated[str | None, Query(min_length=1, max_length=100, description="A part of the value.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> ItemsOut:
        """Items in the order in which they were added."""
        page = await sets.list_items(principal, set_id, query=query, cursor=cursor, limit=limit)
        return _items(page.items, page.next_cursor)

    @router.get(
        "/{set_id}/items/{item_id}",
        operation_id="get_condition_set_item",
        responses=problems(*reads, ConditionSetItemNotFound),
    )
    async def get_item(set_id: IdPath, item_id: IdPath, principal: Annotated[Principal, caller]) -> ItemOut:
        """One item."""
        return _item(await sets.get_item(principal, set_id, item_id))

    @router.delete(
        "/{set_id}/items/{item_id}",
        operation_id="delete_condition_set_item",
        status_code=204,
        responses=problems(*writes, ConditionSetItemNotFound),
    )
    async def delete_item(set_id: IdPath, item_id: IdPath, principal: Annotated[Principal, caller]) -> Response:
        """Take one item out."""
        await sets.delete_item(principal, set_id, item_id)
        return Response(status_code=204)

    return router


def _out(one: ConditionSet) -> ConditionSetOut:
    return ConditionSetOut(
        id=one.id,
        name=one.name,
        description=one.description,
        value_type=one.value_type.value,
        owner_user_id=one.owner_user_id,
        revision=one.revision,
        item_count=one.item_count,
        content_sha256=one.content_hash.hex(),
        created_at=rfc3339(one.created_at),
        updated_at=rfc3339(one.updated_at),
    )


def _items(items: list[ConditionSetItem], next_cursor: str | None = None) -> ItemsOut:
    return ItemsOut(items=[_item(one) for one in items], next_cursor=next_cursor)


def _item(one: ConditionSetItem) -> ItemOut:
    return ItemOut(
        id=one.id,
        condition_set_id=one.set_id,
        value=one.original,
        canonical_value=one.value,
        created_at=rfc3339(one.created_at),
    )
