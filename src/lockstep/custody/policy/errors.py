"""Why a policy document is refused. That a policy denies a request is a verdict; the service makes its error of it.

LockstepError
└── Refuse
    └── PolicyInvalid  422  a policy document that does not hold; carries its faults with their paths
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.custody.view.types import MAX_FAULTS, Fault
from lockstep.kit.errors import Unprocessable


class PolicyInvalid(Unprocessable):
    """The policy does not hold."""

    code = "policy_invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MAX_FAULTS])
        first = self.faults[0]
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"{first.path}: {first.message}{others}",
            faults=[{"path": fault.path, "message": fault.message} for fault in self.faults],
        )
