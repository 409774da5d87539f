"""Why a condition set is refused.

Refuse
├── NotFound 404       ConditionSetNotFound, ConditionSetItemNotFound
├── Conflict 409       ConditionSetInUse
└── Unprocessable 422  ConditionSetInvalid, ConditionSetFull
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.custody.view.types import MAX_FAULTS, Fault
from lockstep.kit.errors import Conflict, NotFound, Unprocessable


class ConditionSetNotFound(NotFound):
    """There is no such condition set."""

    code = "condition_set_not_found"


class ConditionSetItemNotFound(NotFound):
    """There is no such item in this condition set."""

    code = "condition_set_item_not_found"


class ConditionSetInUse(Conflict):
    """A policy names this condition set; take it out of the policy first."""

    code = "condition_set_in_use"


class ConditionSetFull(Unprocessable):
    """The condition set would have more items than one may have."""

    code = "condition_set_full"


class ConditionSetInvalid(Unprocessable):
    """Items are not of the condition set's type."""

    code = "condition_set_invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"{first.path}: {first.message}{others}",
            faults=[{"path": fault.path, "message": fault.message} for fault in faults[:MAX_FAULTS]],
        )
