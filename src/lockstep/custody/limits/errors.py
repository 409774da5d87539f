"""Why an aggregation is refused. That a limit is reached is a denied decision (`custody.errors`).

Refuse
├── AggregationNotFound   404
├── AggregationInUse      409  a policy names it
└── Unprocessable         422
    ├── AggregationInvalid     carries its faults with their paths
    └── TooManyAggregations
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.custody.view.types import MAX_FAULTS, Fault
from lockstep.kit.errors import Conflict, NotFound, Unprocessable


class AggregationNotFound(NotFound):
    """There is no such aggregation."""

    code = "aggregation_not_found"


class AggregationInUse(Conflict):
    """A policy in force names the aggregation; change the policy first."""

    code = "aggregation_in_use"


class TooManyAggregations(Unprocessable):
    """The app has as many aggregations as it may have."""

    code = "too_many_aggregations"


class AggregationInvalid(Unprocessable):
    """The aggregation does not hold."""

    code = "aggregation_invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MAX_FAULTS])
        first = self.faults[0]
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"{first.path}: {first.message}{others}",
            faults=[{"path": fault.path, "message": fault.message} for fault in self.faults],
        )
