"""Compiled policies by (id, revision): a document never changes under its revision, so memory may answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime

from lockstep.custody.condition_sets import SetShelf
from lockstep.custody.policy import CompiledPolicy, Members, load_policy, questions
from lockstep.custody.seals import AuthorityTampered, Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.rules import PolicyKey, policy_keys, system_facts
from lockstep.custody.signing.types import Authority
from lockstep.custody.types import Principal
from lockstep.custody.view import RequestView
from lockstep.kit.database import UnitOfWork


class PolicyShelf:
    """Loads and compiles what is missing; the least recently used are forgotten. Looks up what policies ask of sets."""

    def __init__(self, seals: Seals, max_entries: int = 4_096) -> None:
        self._seals = seals
        self.sets = SetShelf(seals)
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

    async def load_members(
        self,
        uow: UnitOfWork,
        principal: Principal,
        authority: Authority,
        view: RequestView,
        policies: Mapping[PolicyKey, CompiledPolicy],
        now: datetime,
    ) -> Members:
        """What the policies ask of condition sets about a request, answered; takes the arguments of `rule_on`.

        Comes after the revisions that the decision will name: a set that changes in between can only make the decision
        be looked at again.

        Raises:
            AuthorityTampered: a set is not what the service wrote, or is not noted as one of a policy that names it.
        """
        attached = [policies[key] for key in policy_keys(authority)]
        asked = questions(view, attached, system_facts(principal, authority, now))
        for set_id, _ in asked:
            if set_id not in authority.revisions:
                raise AuthorityTampered(f"condition set {set_id} is missing where a policy names it")
        return await self.sets.find_members(uow, authority.app_id, asked)
