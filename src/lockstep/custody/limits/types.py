"""The nouns of spending limits: what is counted, in which counter, and how much of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from lockstep.custody.policy.compile import Check
from lockstep.kit.ids import AppId

SEALED_AS: Final = "aggregation"
"""Kind of the seals that aggregations have in their own rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """What limits of an app may count; never changes."""

    id: str
    app_id: AppId
    name: str
    document: Mapping[str, Any]
    """Method, metric, window, conditions and group_by as they were accepted."""
    created_at: datetime

    @property
    def reference(self) -> str:
        """The field by which policies name it."""
        return f"aggregation.{self.id}"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is added up: requests, native coin or a token."""

    kind: Literal["count", "native", "token"]
    chain: str | None = None
    """CAIP-2; None: all chains together."""
    token: str | None = None
    """Contract in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledAggregation:
    """An aggregation ready to say what a request counts for."""

    reference: str
    app_id: str
    name: str
    method: str
    """A value of `Method`, or "*"."""
    metric: Metric
    window_seconds: int
    checks: tuple[Check, ...]
    group_by: tuple[str, ...]
    """Keys of the facts whose values are counted apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCaps:
    """What a session signer may use in all, and within a window. None: no limit of its own. Amounts in wei."""

    session_id: str
    max_total_value: int | None = None
    max_value_per_window: int | None = None
    window_seconds: int | None = None
    max_transactions: int | None = None


SESSION_TOTAL, SESSION_WINDOW, SESSION_COUNT = "session.total_value", "session.window_value", "session.transactions"
"""Names of readings for the caps of a session signer."""


@dataclass(frozen=True, slots=True, order=True)
class Counter:
    """One sum: of a limit, for one group. Counters are locked in their order."""

    limit_id: str
    group: str
    window_seconds: int | None
    """None: what is used is used for good."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request asks of one counter."""

    reading: str
    """Name under which rules find it."""
    name: str
    """For people."""
    counter: Counter
    asked: int | None
    """None: it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStanding:
    """A limit as a caller is shown it. Amounts in the smallest unit of what is counted."""

    limit: str
    """``aggregation.<id>``, or the name of a session's cap."""
    name: str
    policy_id: str | None
    rule_id: str | None
    """Rule that sets this maximum; None: the session signer does."""
    maximum: int
    used: int
    asked: int | None
    """None: it cannot be told what the request asks for."""
    window_seconds: int | None

    @property
    def left(self) -> int:
        return max(self.maximum - self.used, 0)
