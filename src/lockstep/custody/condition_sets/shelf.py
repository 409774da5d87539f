"""The content of condition sets, held in memory by its hash once it was seen to be what the service wrote.

Items have no seals of their own: a code on each would show who put one in and never that one was taken out. The sealed row
of a set carries the hash of all of them, so the whole content is read and hashed once after each change, and looked up
here from then on; a decision reads the row, and never the set.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from lockstep.custody.condition_sets import store
from lockstep.custody.condition_sets.types import ConditionSet
from lockstep.custody.policy import NO_MEMBERS, Members, SetType
from lockstep.custody.policy.sets import Question
from lockstep.custody.seals import AuthorityTampered, Content, Kind, Sealed, Seals, contents
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId

MAX_ITEMS_HELD: Final = 1_000_000
"""Items of all sets in memory, about 150 MB; the least recently used sets are forgotten, and read again."""
_AT_A_STRETCH: Final = 2_000
"""Items that are hashed before others may go on."""


class SetShelf:
    """Answers questions about condition sets."""

    def __init__(self, seals: Seals, max_items: int = MAX_ITEMS_HELD) -> None:
        self._seals, self._max_items = seals, max_items
        self._held: OrderedDict[bytes, frozenset[str]] = OrderedDict()

    async def find_members(self, uow: UnitOfWork, app_id: AppId, asked: Collection[Question]) -> Members:
        """Answers to questions of policies of an app; a set that does not exist has none.

        Raises:
            AuthorityTampered: a set, or its items, are not what the service wrote.
        """
        if not asked:
            return NO_MEMBERS
        contents_of = await self.contents(uow, app_id, {set_id for set_id, _ in asked})
        return {(set_id, text): text in contents_of[set_id] for set_id, text in asked if set_id in contents_of}

    async def contents(self, uow: UnitOfWork, app_id: AppId, set_ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The items of those of these sets that exist. Raises like `find_members`."""
        found: dict[str, frozenset[str]] = {}
        mark = self._seals.mark()
        for head, seal in await store.find_sealed(uow, app_id, set_ids):
            check_seal(self._seals, head, seal, mark)
            items = self._held.get(head.content_hash)
            if items is None:
                items = await self._read(uow, app_id, head.id)
            else:
                self._held.move_to_end(head.content_hash)
            if items is not None:
                found[head.id] = items
        return found

    async def _read(self, uow: UnitOfWork, app_id: AppId, set_id: str) -> frozenset[str] | None:
        """The items, with the row again: a change may have come in between. None: the set was deleted."""
        mark = self._seals.mark()
        content = await store.find_content(uow, app_id, set_id)
        if content is None:
            return None
        head, seal, values = content
        check_seal(self._seals, head, seal, mark)
        if await _hash_of(head.value_type, values) != head.content_hash:
            raise AuthorityTampered(f"the items of condition set {set_id} are not what the service wrote")
        self._held[head.content_hash] = items = frozenset(values)
        while len(self._held) > 1 and sum(map(len, self._held.values())) > self._max_items:
            self._held.popitem(last=False)
        return items


def check_seal(seals: Seals, head: ConditionSet, seal: Sealed | None, mark: int) -> None:
    """Believe the row of a set, or raise.

    Args:
        mark: from before it was read.
    Raises:
        AuthorityTampered: the row is not what the service wrote, or is older than it was.
    """
    found = {} if seal is None else {(str(Kind.CONDITION_SET), head.id): seal}
    fault = seals.find_fault([(Kind.CONDITION_SET, head.id, sealed_content(head))], found, mark)
    if fault is not None:
        raise AuthorityTampered(fault)


def sealed_content(of: ConditionSet) -> Content:
    """What the seal of a set is over."""
    return contents.of_condition_set(of.app_id, of.owner_user_id, str(of.value_type), of.revision, of.content_hash)


async def _hash_of(value_type: SetType, values: Iterable[str]) -> bytes:
    """`types.content_hash` of values that come in the order of their bytes, letting others go on in between."""
    whole = hashlib.sha256(f"{value_type}\n".encode())
    for number, value in enumerate(values, 1):
        whole.update(hashlib.sha256(value.encode()).digest())
        if number % _AT_A_STRETCH == 0:
            await asyncio.sleep(0)
    return whole.digest()
