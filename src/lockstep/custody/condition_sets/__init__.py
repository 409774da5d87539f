"""Condition sets: named lists of addresses, selectors, numbers or texts that conditions of policies look values up in.

One change of a set changes every policy that names it: it is made by the set's owner, stands in the audit log with a hash
of the whole content, and what was decided before is looked at again before it is signed. A decision never loads a set:
its content is held by `SetShelf`.
"""

from lockstep.custody.condition_sets.service import ConditionSetService
from lockstep.custody.condition_sets.shelf import SetShelf
from lockstep.custody.condition_sets.store import link_policy, lock_types
from lockstep.custody.condition_sets.types import ConditionSet, ConditionSetItem

__all__ = ["ConditionSet", "ConditionSetItem", "ConditionSetService", "SetShelf", "link_policy", "lock_types"]
