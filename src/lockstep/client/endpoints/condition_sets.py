"""Calls of condition sets: lists that conditions of policies look values up in."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.client.decoding import read
from lockstep.client.models import ConditionSet, ConditionSetItem
from lockstep.client.requests import Page, Request, get, given, listing, nothing, of, segment, send


def create_condition_set(
    name: str, value_type: str, *, description: str | None = None, values: Sequence[str] = ()
) -> Request[ConditionSet]:
    """Make a set.

    Args:
        value_type: "address", "selector", "integer" or "string"; it never changes.
        values: the first items, at most 100.
    """
    body = given(name=name, value_type=value_type, description=description, values=list(values))
    return send("POST", "/v1/condition-sets", of(ConditionSet), body)


def get_condition_set(set_id: str) -> Request[ConditionSet]:
    """One condition set, without its items."""
    return get(_path(set_id), of(ConditionSet))


def list_condition_sets(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[ConditionSet]]:
    """Condition sets that the caller may see, oldest first."""
    return listing("/v1/condition-sets", ConditionSet, cursor=cursor, limit=limit)


def update_condition_set(
    set_id: str, *, name: str | None = None, description: str | None = None
) -> Request[ConditionSet]:
    """Change name or description."""
    return send("PATCH", _path(set_id), of(ConditionSet), given(name=name, description=description), is_repeatable=True)


def delete_condition_set(set_id: str) -> Request[None]:
    """Delete a set that no policy in force names."""
    return send("DELETE", _path(set_id), nothing)


def add_condition_set_items(set_id: str, values: Sequence[str]) -> Request[tuple[ConditionSetItem, ...]]:
    """Add 1 to 100 values; answers with their items, also of those that were in the set before."""
    return _write("POST", set_id, values)


def replace_condition_set_items(set_id: str, values: Sequence[str]) -> Request[tuple[ConditionSetItem, ...]]:
    """Put up to 100 values in the place of all others; none empties the set."""
    return _write("PUT", set_id, values)


def list_condition_set_items(
    set_id: str, *, query: str | None = None, cursor: str | None = None, limit: int | None = None
) -> Request[Page[ConditionSetItem]]:
    """Items in the order in which they were added.

    Args:
        query: only values with this part; case does not matter.
    """
    return listing(f"{_path(set_id)}/items", ConditionSetItem, query=query, cursor=cursor, limit=limit)


def get_condition_set_item(set_id: str, item_id: str) -> Request[ConditionSetItem]:
    """One item."""
    return get(f"{_path(set_id)}/items/{segment(item_id)}", of(ConditionSetItem))


def delete_condition_set_item(set_id: str, item_id: str) -> Request[None]:
    """Take one item out."""
    return send("DELETE", f"{_path(set_id)}/items/{segment(item_id)}", nothing)


def _write(method: str, set_id: str, values: Sequence[str]) -> Request[tuple[ConditionSetItem, ...]]:
    return send(
        method,
        f"{_path(set_id)}/items",
        lambda document: read(tuple[ConditionSetItem, ...], document["items"]),
        [{"value": value} for value in values],
        is_repeatable=True,
    )


def _path(set_id: str) -> str:
    return f"/v1/condition-sets/{segment(set_id)}"
