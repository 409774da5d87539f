"""Putting seals on what carries authority, and looking at them whenever something rests on it."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import Counter

from lockstep.custody.seals import store
from lockstep.custody.seals.anchors import Anchors, Subject
from lockstep.custody.seals.errors import AuthorityTampered
from lockstep.custody.seals.rules import Content, Kind, Sealed, refuse_age, seal_code
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Conflict

log = structlog.get_logger(__name__)

MAX_REMEMBERED: Final = 50_000
DEPLOYMENT: Final = ""
"""Stands for the app of what belongs to the deployment."""

_broken = Counter("lockstep_seals_broken", "Rows that carry authority and were not believed; alert above 0", ["kind"])


class Seals:
    """Seals rows and believes only sealed ones."""

    def __init__(self, key: bytes, anchors: Anchors) -> None:
        """
        Args:
            key: the 32 bytes under which rows are sealed; whoever signs never has it.
        """
        if len(key) != 32:
            raise ValueError(f"expected a key of 32 bytes, was {len(key)}")
        self._key, self._anchors = key, anchors
        self._held: str | None = None
        self._believed: OrderedDict[tuple[str, str, int, bytes], Content] = OrderedDict()

    def hold(self, reason: str | None) -> None:
        """Believe nothing that a signature rests on, for this reason; None: go on. Callers are still let in."""
        self._held = reason

    # --- writing ------------------------------------------------------------------------------------------------------

    async def add(self, uow: UnitOfWork, app_id: str, kind: Kind, rows: Mapping[str, Content]) -> None:
        """Seal rows that the same database transaction has made.

        Raises:
            Conflict: one of them has a seal already.
        """
        await self._put(uow, app_id, {(kind, subject): (1, content) for subject, content in rows.items()})

    async def change(
        self, uow: UnitOfWork, app_id: str, kind: Kind, subject: str, before: Content, after: Content
    ) -> None:
        """Seal a row anew that the same database transaction has changed. What it was must have been sealed: an edit of
        somebody else is never sealed over.

        Raises:
            AuthorityTampered: the row as it was is not to be believed.
            Conflict: it has changed meanwhile.
        """
        mark = self.mark()
        found = await store.find_seals(uow, app_id, [(kind, subject)])
        self._believe(kind, subject, before, found.get((kind, subject)), mark)
        revision = found[kind, subject].revision + 1 if (kind, subject) in found else 1
        await self._put(uow, app_id, {(kind, subject): (revision, after)})

    async def remove(self, uow: UnitOfWork, app_id: str, kind: Kind, subject: str, before: Content) -> None:
        """Take away the seal of a row that the same database transaction has deleted: nothing under its id is believed again.

        Raises:
            AuthorityTampered: the row as it was is not to be believed.
        """
        mark = self.mark()
        found = await store.find_seals(uow, app_id, [(kind, subject)])
        self._believe(kind, subject, before, found.get((kind, subject)), mark)
        await store.delete_seal(uow, app_id, kind, subject)
        noted = {(str(kind), subject): found[kind, subject].revision + 1}
        uow.after_commit(lambda: self._anchors.note(noted))

    async def _put(self, uow: UnitOfWork, app_id: str, rows: Mapping[Subject, tuple[int, Content]]) -> None:
        seals = {
            (kind, subject): Sealed(revision, seal_code(self._key, kind, subject, revision, content))
            for (kind, subject), (revision, content) in rows.items()
        }
        if seals and await store.put_seals(uow, app_id, seals) != len(seals):
            raise Conflict("what is to be sealed was changed by somebody else at this moment; ask again")
        noted = {
            (kind, subject): seal.revision
            for (kind, subject), seal in seals.items()
            if seal.revision > 1 or kind == Kind.KILL_SWITCH
        }
        if noted:
            uow.after_commit(lambda: self._anchors.note(noted))

    # --- looking ------------------------------------------------------------------------------------------------------

    async def check(self, uow: UnitOfWork, app_id: str, rows: Sequence[tuple[Kind, str, Content]]) -> None:
        """Believe these rows, or raise.

        Raises:
            AuthorityTampered: one of them was changed past the service, or is older than it was.
        """
        mark = self.mark()
        found = await store.find_seals(uow, app_id, [(kind, subject) for kind, subject, _ in rows])
        for kind, subject, content in rows:
            self._believe(kind, subject, content, found.get((kind, subject)), mark)

    def mark(self) -> int:
        """Taken before rows are read, for `find_fault`: a change that is noted while they are read says nothing against them."""
        return self._anchors.mark()

    def find_fault(
        self, rows: Sequence[tuple[Kind, str, Content]], seals: Mapping[tuple[str, str], Sealed], mark: int
    ) -> str | None:
        """Why one of these rows is not believed, in one sentence; None: all are.

        Args:
            seals: by (kind, id), read in the same snapshot as the rows.
            mark: from before they were read.
        """
        if self._held is not None:
            return self._held
        for kind, subject, content in rows:
            try:
                self._believe(kind, subject, content, seals.get((kind, subject)), mark)
            except AuthorityTampered as fault:
                return fault.detail
        return None

    def code(self, kind: str, subject: str, content: Content) -> bytes:
        """The code of something that is written once, and has it in its own row."""
        return seal_code(self._key, kind, subject, 1, content)

    def is_sealed(self, kind: str, subject: str, content: Content, code: bytes | None) -> bool:
        """Whether `code` is that of this content."""
        right = code is not None and hmac.compare_digest(code, self.code(kind, subject, content))
        if not right:
            _tell(kind, subject, "has no seal or a wrong one")
        return right

    def _believe(self, kind: Kind, subject: str, content: Content, seal: Sealed | None, mark: int) -> None:
        anchored = self._anchors.find(kind, subject, mark)
        why = refuse_age(kind, None if seal is None else seal.revision, anchored)
        if why is None and seal is not None and not self._fits(kind, subject, content, seal):
            why = "does not have the seal of what it says"
        if why is None and seal is None and any(member is not None for member in content):
            why = "has no seal"
        if why is not None:
            _tell(kind, subject, why)
            raise AuthorityTampered(f"the {kind.replace('_', ' ')} {subject or 'of the deployment'} {why}")

    def _fits(self, kind: Kind, subject: str, content: Content, seal: Sealed) -> bool:
        name = (kind, subject, seal.revision, seal.code)
        known = self._believed.get(name)
        if known is not None:
            return known == content
        if not hmac.compare_digest(seal.code, seal_code(self._key, kind, subject, seal.revision, content)):
            return False
        self._believed[name] = content
        while len(self._believed) > MAX_REMEMBERED:
            self._believed.popitem(last=False)
        return True


def _tell(kind: str, subject: str, why: str) -> None:
    _broken.labels(kind).inc()
    log.error(
        "seal_broken",
        kind=kind,
        id=subject,
        reason=why,
        hint="somebody wrote to the database past the service, or it was restored",
    )
