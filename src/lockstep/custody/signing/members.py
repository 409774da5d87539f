"""Looks up, for one decision, what its policies ask of condition sets: in the transaction that decides, after the revisions
that the decision will name, so that a set which changes in between only makes the decision be looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lockstep.custody.condition_sets import find_members
from lockstep.custody.policy import NO_MEMBERS, CompiledPolicy, Members, questions
from lockstep.custody.signing.rules import PolicyKey, policy_keys, system_facts
from lockstep.custody.signing.types import Authority
from lockstep.custody.types import Principal
from lockstep.custody.view import RequestView
from lockstep.kit.database import UnitOfWork


async def load_members(
    uow: UnitOfWork,
    principal: Principal,
    authority: Authority,
    view: RequestView,
    policies: Mapping[PolicyKey, CompiledPolicy],
    now: datetime,
) -> Members:
    """Answers for `rule_on`, which takes the same arguments. Asks the database only where a policy names a set."""
    attached = [policies[key] for key in policy_keys(authority)]
    asked = questions(view, attached, system_facts(principal, authority, now))
    return await find_members(uow, authority.app_id, asked) if asked else NO_MEMBERS
