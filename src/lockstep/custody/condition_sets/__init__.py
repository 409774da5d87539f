"""Condition sets: named lists of addresses, selectors, numbers or texts that conditions of policies look values up in.

One change of a set changes every policy that names it: it is made by the set's owner, stands in the audit log with a hash
of the whole content, and what was decided before is looked at again before it is signed. A decision looks up single
values (`find_members`) and never loads a set.
"""

from lockstep.custody.condition_sets.service import ConditionSetService
from lockstep.custody.condition_sets.store import find_members, link_policy, lock_types, read_items
from lockstep.custody.condition_sets.types import ConditionSet, ConditionSetItem

__all__ = [
    "ConditionSet",
    "ConditionSetItem",
    "ConditionSetService",
    "find_members",
    "link_policy",
    "lock_types",
    "read_items",
]
