"""Compiled policies by (id, revision): a document never changes under its revision, so memory may answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from lockstep.custody.policy import CompiledPolicy, load_policy
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.rules import PolicyKey, policy_keys
from lockstep.custody.signing.types import Authority
from lockstep.kit.database import UnitOfWork


class PolicyShelf:
    """Loads and compiles what is missing; the least recently used are forgotten."""

    def __init__(self, seals: Seals, max_entries: int = 4_096) -> None:
        self._seals = seals
        self._compiled: OrderedDict[PolicyKey, CompiledPolicy] = OrderedDict()
        self._max_entries = max_entries

    async def load(
        self, uow: UnitOfWork, authorities: Iterable[Authority | None]
    ) -> Mapping[PolicyKey, CompiledPolicy]:
        """All policies that these authorities rest on. A document that is not understood denies everything."""
        wanted: dict[PolicyKey, str] = {}
        for authority in authorities:
            if authority is not None:
                wanted.update(dict.fromkeys(policy_keys(authority), authority.app_id))
        missing = [key for key in wanted if key not in self._compiled]
        if missing:
            documents = await store.load_documents(uow, self._seals, sorted({wanted[key] for key in missing}), missing)
            for key in missing:
                self._compiled[key] = load_policy(documents.get(key), *key)
        found = {}
        for key in wanted:
            found[key] = self._compiled[key]
            self._compiled.move_to_end(key)
        while len(self._compiled) > self._max_entries:
            self._compiled.popitem(last=False)
        return found
