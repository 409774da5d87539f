"""The policy language as data: documents that were checked, and what an evaluation says.

A `Policy` exists only when the whole document was understood; see `schema.parse_policy`. Evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from lockstep.custody.policy.values import ValueType
from lockstep.custody.view.types import FieldValue

ANY_METHOD = "*"


class Action(StrEnum):
    """What a rule does when it matches."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class Operator(StrEnum):
    """How a fact is compared with the value of a condition."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    IN_CONDITION_SET = "in_condition_set"
    NOT_IN_CONDITION_SET = "not_in_condition_set"


class Outcome(StrEnum):
    """The outcome of an evaluation."""

    ALLOW = "allow"
    DENY = "deny"


class ReasonCode(StrEnum):
    """Why; stable, for programs."""

    ALLOWED = "allowed"
    DENIED_BY_RULE = "denied_by_rule"
    NO_MATCHING_RULE = "no_matching_rule"
    NO_POLICY = "no_policy"
    POLICY_INVALID = "policy_invalid"


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact that stands in the view or the system facts under `key`, "<field source>.<field>"."""

    key: str


@dataclass(frozen=True, slots=True)
class CallName:
    """The function that is called, as its canonical signature, if it is one of the condition's ABI."""

    functions: Mapping[bytes, tuple[str, tuple[str, ...]]]
    """(signature, argument types) by selector."""


@dataclass(frozen=True, slots=True)
class CallArgument:
    """One argument (or a member of a struct in it) of one function, by position; see `lists` for what is said of lists."""

    selector: bytes
    types: tuple[str, ...]
    path: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class MessageMember:
    """One member of an EIP-712 message whose types are exactly these."""

    encoded_type: str
    path: tuple[str, ...]


Target: TypeAlias = Fact | CallName | CallArgument | MessageMember


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; its values are already of the field's type."""

    field_source: str
    field: str
    operator: Operator
    target: Target
    value_type: ValueType
    values: tuple[FieldValue, ...]
    """One value, or several for `in` and `not_in`; for condition sets the id of the set."""

    @property
    def name(self) -> str:
        """For people and logs; carries no value."""
        return f"{self.field_source}.{self.field} {self.operator}"


@dataclass(frozen=True, slots=True)
class Rule:
    """ALLOW or DENY for one method (or all), under conditions that must all hold."""

    id: str
    name: str
    method: str
    """A value of `Method`, or "*"."""
    action: Action
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A document that was understood as a whole."""

    name: str
    chain_type: str
    version: str
    rules: tuple[Rule, ...]
    document: Mapping[str, Any]
    """The flat JSON form with every rule's id; parses to the same policy. Store this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """What the service itself knows about a request; None is absent, and no rule about it can hold."""

    current_unix_timestamp: int
    """Whole seconds since 1970."""
    wallet_id: str
    app_id: str
    user_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How much of what a limit counts is used, and what the request asks for."""

    name: str
    used: int
    """Before the request."""
    asked: int | None
    """None: it cannot be told, so no rule about the sum can be decided."""
    window_seconds: int | None = None
    """None: it is counted for good."""

    @property
    def total(self) -> int | None:
        """With the request."""
        return None if self.asked is None else self.used + self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the attached policies say together. Contains no secret; `reason` is one sentence for a person."""

    decision: Outcome
    reason_code: ReasonCode
    reason: str
    policy_id: str | None = None
    """The deciding policy: the first that does not allow; when all allow, the first."""
    rule_id: str | None = None
    policy_revision: int | None = None
    matched: tuple[str, ...] = ()
    """Conditions that hold, of the deciding rule (or, where nothing matched, of the closest ALLOW rule)."""
    unknown: tuple[str, ...] = ()
    """Conditions that could not be decided, of the same rule."""
    unmet: str | None = None
    """First condition of the closest ALLOW rule that does not hold."""
    policies: tuple[tuple[str, int], ...] = ()
    """(policy id, revision) of every attached policy, in the order of evaluation."""

    @property
    def allowed(self) -> bool:
        return self.decision is Outcome.ALLOW

    def facts(self) -> dict[str, object]:
        """Named facts for a problem document, an audit entry or a log; the sentence is `reason`."""
        return {
            "reason_code": str(self.reason_code),
            "policy_id": self.policy_id,
            "rule_id": self.rule_id,
            "policy_revision": self.policy_revision,
            "unmet": self.unmet,
        }
