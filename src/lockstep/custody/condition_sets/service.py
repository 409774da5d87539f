"""Condition sets: made by apps and users, changed by their owner, every change counted, hashed and audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.base import after_of, require_app_or_user
from lockstep.custody.condition_sets import store
from lockstep.custody.condition_sets.errors import (
    ConditionSetFull,
    ConditionSetInUse,
    ConditionSetInvalid,
    ConditionSetItemNotFound,
    ConditionSetNotFound,
)
from lockstep.custody.condition_sets.shelf import sealed_content
from lockstep.custody.condition_sets.types import MAX_ITEMS, ConditionSet, ConditionSetItem, content_hash
from lockstep.custody.errors import OwnerRequired
from lockstep.custody.policy import SetType
from lockstep.custody.policy.sets import parse_item
from lockstep.custody.seals import AuthorityTampered, Kind, Seals
from lockstep.custody.types import Principal
from lockstep.custody.view import Fault
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import new_id
from lockstep.kit.paging import Page, page_of
from lockstep.kit.telemetry import current_correlation_id


class ConditionSetService:
    """The condition sets of apps and their users. A user's set is changed by that user only."""

    def __init__(self, database: Database, audit: AuditLog, seals: Seals, clock: Clock) -> None:
        self._database, self._audit, self._seals, self._clock = database, audit, seals, clock

    async def create(
        self,
        principal: Principal,
        name: str,
        value_type: SetType,
        *,
        description: str | None = None,
        values: Sequence[str] = (),
    ) -> ConditionSet:
        """Make a set, with its first items.

        Raises:
            ConditionSetInvalid: values that are not of the type, with their paths.
            CallerNotAllowed: neither an app nor a user.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        set_id = new_id()
        items = self._items(set_id, value_type, values, "values[{}]")
        made = ConditionSet(
            id=set_id,
            app_id=app_id,
            name=name,
            description=description,
            value_type=value_type,
            owner_user_id=principal.user_id,
            revision=1,
            item_count=len(items),
            content_hash=content_hash(value_type, [item.value for item in items]),
            created_at=now,
            updated_at=now,
        )
        async with self._database.tenant(app_id) as uow:
            await store.insert_set(uow, made)
            await store.insert_items(uow, app_id, items)
            await self._seals.add(uow, app_id, Kind.CONDITION_SET, {made.id: sealed_content(made)})
            self._note(uow, principal, made, "created", added=made.item_count)
        return made

    async def get(self, principal: Principal, set_id: str) -> ConditionSet:
        """
        Raises:
            ConditionSetNotFound: there is none for this caller.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            return _visible(principal, await store.find_set(uow, principal.tenant, set_id))

    async def list_sets(
        self, principal: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[ConditionSet]:
        """Sets that the caller may see, oldest first."""
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            found = await store.list_sets(
                uow, app_id, visible_to=principal.user_id, after=after_of(cursor), limit=limit + 1
            )
        return page_of(found, limit, lambda one: (one.id,))

    async def update(
        self, principal: Principal, set_id: str, *, name: str | None = None, description: str | None = None
    ) -> ConditionSet:
        """Change the words for people; no policy decides otherwise for it.

        Raises:
            ConditionSetNotFound, OwnerRequired, CallerNotAllowed: as named.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            old = await self._locked(uow, principal, set_id)
            wanted = replace(old, name=name or old.name, description=description or old.description)
            if wanted == old:
                return old
            changed = await store.update_words(
                uow, old.app_id, old.id, wanted.name, wanted.description, self._clock.now()
            )
            self._note(uow, principal, changed, "renamed")
        return changed

    async def delete(self, principal: Principal, set_id: str) -> None:
        """Delete a set with its items.

        Raises:
            ConditionSetInUse: a policy in force names it.
            ConditionSetNotFound, OwnerRequired, CallerNotAllowed: as named.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            found = await self._locked(uow, principal, set_id)
            if await store.is_in_use(uow, found.app_id, found.id):
                raise ConditionSetInUse
            await store.delete_set(uow, found.app_id, found.id)
            self._note(uow, principal, found, "deleted", removed=found.item_count)

    async def add_items(self, principal: Principal, set_id: str, values: Sequence[str]) -> list[ConditionSetItem]:
        """Add values; those that are in the set already stay as they are.

        Returns:
            The items with these values, each once, new ones and old ones.
        Raises:
            ConditionSetInvalid, ConditionSetFull: nothing was added.
            ConditionSetNotFound, OwnerRequired, CallerNotAllowed: as named.
        """
        return await self._write(principal, set_id, values, replaces=False)

    async def replace_items(self, principal: Principal, set_id: str, values: Sequence[str]) -> list[ConditionSetItem]:
        """Put these values in the place of all others; an empty list empties the set. Raises like `add_items`."""
        return await self._write(principal, set_id, values, replaces=True)

    async def list_items(
        self, principal: Principal, set_id: str, *, query: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[ConditionSetItem]:
        """Items in the order in which they were added.

        Args:
            query: only values with this part; case does not matter.
        Raises:
            ConditionSetNotFound: there is none for this caller.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            found = _visible(principal, await store.find_set(uow, principal.tenant, set_id))
            rows = await store.list_items(
                uow, found.app_id, found.id, query=query, after=after_of(cursor), limit=limit + 1
            )
        return page_of(rows, limit, lambda one: (one.id,))

    async def get_item(self, principal: Principal, set_id: str, item_id: str) -> ConditionSetItem:
        """
        Raises:
            ConditionSetNotFound, ConditionSetItemNotFound: there is none for this caller.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            found = _visible(principal, await store.find_set(uow, principal.tenant, set_id))
            items = await store.find_items(uow, found.app_id, found.id, ids=[item_id])
        if not items:
            raise ConditionSetItemNotFound
        return items[0]

    async def delete_item(self, principal: Principal, set_id: str, item_id: str) -> None:
        """Take one item out.

        Raises:
            ConditionSetNotFound, ConditionSetItemNotFound, OwnerRequired, CallerNotAllowed: as named.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            found = await self._unedited(uow, principal, set_id)
            if not await store.delete_item(uow, found.app_id, found.id, item_id):
                raise ConditionSetItemNotFound
            await self._count(uow, principal, found, removed=1)

    async def _write(
        self, principal: Principal, set_id: str, values: Sequence[str], *, replaces: bool
    ) -> list[ConditionSetItem]:
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            found = await self._unedited(uow, principal, set_id)
            items = self._items(found.id, found.value_type, values, "[{}].value")
            wanted = [item.value for item in items]
            removed = await store.delete_items_except(uow, found.app_id, found.id, wanted) if replaces else 0
            added = await store.insert_items(uow, found.app_id, items)
            if found.item_count - removed + added > MAX_ITEMS:
                raise ConditionSetFull(f"expected at most {MAX_ITEMS} items")
            if added or removed:
                await self._count(uow, principal, found, added=added, removed=removed)
            return await store.find_items(uow, found.app_id, found.id, values=wanted)

    async def _unedited(self, uow: UnitOfWork, principal: Principal, set_id: str) -> ConditionSet:
        """The set, if this caller may change it and its items are what the service wrote: a change seals what is there, and
        an edit of somebody else must never be sealed with it.

        Raises:
            AuthorityTampered: they are not.
        """
        found = await self._locked(uow, principal, set_id)
        if await store.compute_content(uow, found) != (found.item_count, found.content_hash):
            raise AuthorityTampered(f"the items of condition set {found.id} are not what the service wrote")
        return found

    async def _count(self, uow: UnitOfWork, principal: Principal, before: ConditionSet, **facts: int) -> None:
        """Count, hash, seal and note a change of items."""
        after = await store.count_revision(uow, before, self._clock.now())
        await self._seals.change(
            uow, after.app_id, Kind.CONDITION_SET, after.id, sealed_content(before), sealed_content(after)
        )
        self._note(uow, principal, after, "changed", **facts)

    def _items(self, set_id: str, value_type: SetType, values: Sequence[str], path: str) -> list[ConditionSetItem]:
        """Items for these values, one per different value."""
        faults: list[Fault] = []
        items: dict[str, ConditionSetItem] = {}
        now = self._clock.now()
        for at, original in enumerate(values):
            try:
                value = parse_item(value_type, original)
            except ValueError as error:
                faults.append(Fault(path.format(at), str(error)))
                continue
            item = ConditionSetItem(id=new_id(), set_id=set_id, value=value, original=original, created_at=now)
            items.setdefault(value, item)
        if faults:
            raise ConditionSetInvalid(faults)
        return list(items.values())

    async def _locked(self, uow: UnitOfWork, principal: Principal, set_id: str) -> ConditionSet:
        """The set, if this caller may change it."""
        found = _visible(principal, await store.lock_set(uow, principal.tenant, set_id))
        if found.owner_user_id != principal.user_id:
            raise OwnerRequired("only who made the condition set may change it")
        return found

    def _note(self, uow: UnitOfWork, principal: Principal, changed: ConditionSet, action: str, **facts: int) -> None:
        self._audit.append(
            uow,
            AuditEvent(
                app_id=changed.app_id,
                subject=changed.id,
                actor=principal.label,
                action=f"condition_set.{action}",
                resource=f"condition_set:{changed.id}",
                facts={
                    "name": changed.name,
                    "revision": changed.revision,
                    "content_sha256": changed.content_hash.hex(),
                    **facts,
                },
                correlation_id=current_correlation_id(),
            ),
        )


def _visible(principal: Principal, found: ConditionSet | None) -> ConditionSet:
    foreign = found is not None and principal.kind == "user" and found.owner_user_id not in (None, principal.user_id)
    if found is None or foreign:
        raise ConditionSetNotFound
    return found
