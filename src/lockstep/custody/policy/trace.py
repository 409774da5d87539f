"""Why a policy decides as it does, rule by rule: what each condition wants, what the request has, and the answer. Pure.

For whoever writes policies. A decision itself is made by `rules.evaluate` and carries no values; a trace shows the caller
its own request and a policy that it may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from lockstep.custody.policy.compile import Answer, CompiledPolicy, CompiledRule, Facts, find_value
from lockstep.custody.policy.lists import Many
from lockstep.custody.policy.rules import evaluate, facts_of
from lockstep.custody.policy.sets import NO_MEMBERS, Members
from lockstep.custody.policy.types import Action, Condition, Reading, SystemFacts
from lockstep.custody.view.types import RequestView

MAX_SHOWN = 10
"""Values of a list that are shown."""


class Holds(StrEnum):
    """Whether a condition, or all conditions of a rule, hold."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """It cannot be decided: counts as yes for DENY and as no for ALLOW."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTrace:
    """One condition against the request."""

    field_source: str
    field: str
    operator: str
    wanted: tuple[str, ...]
    seen: str | None
    """None: the request has no such field, or it cannot be decoded."""
    holds: Holds


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrace:
    """One rule of the request's method."""

    rule_id: str
    name: str
    action: Action
    holds: Holds
    conditions: tuple[ConditionTrace, ...]

    @property
    def met(self) -> int:
        """How many conditions hold before the first that does not."""
        answers = [condition.holds is Holds.YES for condition in self.conditions]
        return answers.index(False) if False in answers else len(answers)


def trace(
    policy: CompiledPolicy,
    view: RequestView,
    system: SystemFacts,
    members: Members = NO_MEMBERS,
    readings: Mapping[str, Reading] = MappingProxyType({}),
) -> tuple[RuleTrace, ...]:
    """The rules for the request's method in the order in which they are asked: DENY first, then ALLOW; where a request
    stands for several things, about the first that is refused."""
    parts = view.decided
    part = next((one for one in parts if not evaluate(one, [policy], system, members, readings).allowed), parts[0])
    facts = facts_of(part, system, members, readings)
    rules = (*policy.denies.get(part.method, ()), *policy.allows.get(part.method, ()))
    return tuple(_rule(rule, facts) for rule in rules)


def first_unmet(traces: Sequence[RuleTrace]) -> ConditionTrace | None:
    """What keeps the closest ALLOW rule from matching: the one that holds furthest, the earlier one of two."""
    allows = [one for one in traces if one.action is Action.ALLOW]
    closest = max(allows, key=lambda one: one.met, default=None)
    if closest is None or closest.met == len(closest.conditions):
        return None
    return closest.conditions[closest.met]


def _rule(compiled: CompiledRule, facts: Facts) -> RuleTrace:
    rule = compiled.rule
    conditions = tuple(
        _condition(condition, check(facts), facts)
        for condition, check in zip(rule.conditions, compiled.checks, strict=True)
    )
    answers = {condition.holds for condition in conditions}
    holds = next((answer for answer in (Holds.NO, Holds.UNKNOWN) if answer in answers), Holds.YES)
    return RuleTrace(rule_id=rule.id, name=rule.name, action=rule.action, holds=holds, conditions=conditions)


def _condition(condition: Condition, answer: Answer, facts: Facts) -> ConditionTrace:
    seen = find_value(condition.target)(facts)
    return ConditionTrace(
        field_source=condition.field_source,
        field=condition.field,
        operator=str(condition.operator),
        wanted=tuple(_text(value) for value in condition.values),
        seen=None if seen is None else _text(seen),
        holds=Holds.UNKNOWN if answer is None else Holds.YES if answer else Holds.NO,
    )


def _text(value: object) -> str:
    """A value as policies write it; of many values the first ones."""
    if isinstance(value, Many):
        more = f" and {len(value) - MAX_SHOWN} more" if len(value) > MAX_SHOWN else ""
        return f"[{', '.join(_text(one) for one in value[:MAX_SHOWN])}{more}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
