"""Compiles a policy, once per revision, into small functions that answer TRUE, FALSE or UNKNOWN.

UNKNOWN (None) is the answer where a fact is absent, cannot be decoded or is not of the declared type. What it means for
ALLOW and DENY is decided in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from lockstep.custody.policy.errors import PolicyInvalid
from lockstep.custody.policy.fields import REFERENCE
from lockstep.custody.policy.implied import complete, covers
from lockstep.custody.policy.lists import answer_along, speaks_of_lists, values_along
from lockstep.custody.policy.schema import parse_policy
from lockstep.custody.policy.sets import NO_MEMBERS, OPERATORS, Members, item_text, set_id_of
from lockstep.custody.policy.types import (
    Action,
    CallArgument,
    CallName,
    Condition,
    Fact,
    MessageMember,
    Operator,
    Policy,
    Reading,
    Rule,
)
from lockstep.custody.view.types import FieldValue, Method, RequestView

Answer: TypeAlias = bool | None
"""TRUE, FALSE, or None for UNKNOWN."""


class Facts(NamedTuple):
    """Everything that conditions may look at."""

    fields: Mapping[str, FieldValue]
    """Facts of the view and of the system by "<field source>.<field>"."""
    view: RequestView
    members: Members = NO_MEMBERS
    """Answers to the questions about condition sets; see `rules.questions`."""
    readings: Mapping[str, Reading] = MappingProxyType({})
    """What references say, by "aggregation.<id>"."""


Check: TypeAlias = Callable[[Facts], Answer]
Find: TypeAlias = Callable[[Facts], Any]
_SELECTOR = "ethereum_transaction.function_selector"


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with one function per condition, in the same order."""

    rule: Rule
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy ready to be evaluated; rules by the method that they apply to, those for "*" included (see `implied`)."""

    policy_id: str
    revision: int
    name: str
    denies: Mapping[str, tuple[CompiledRule, ...]]
    allows: Mapping[str, tuple[CompiledRule, ...]]
    set_questions: Mapping[str, tuple[tuple[Condition, Find], ...]] = field(default_factory=dict)
    """By method: conditions on condition sets, with what finds the fact that is looked up."""
    references: frozenset[str] = frozenset()
    """What its rules ask about earlier requests: "aggregation.<id>"."""
    invalid: str | None = None
    """Why the stored document was not understood; such a policy denies everything."""


def compile_policy(policy: Policy, policy_id: str, revision: int) -> CompiledPolicy:
    """Compile a policy under the id and revision that verdicts will name."""
    rules = [
        CompiledRule(rule, tuple(compile_condition(one) for one in rule.conditions))
        for rule in map(complete, policy.rules)
    ]

    def by_method(action: Action) -> dict[str, tuple[CompiledRule, ...]]:
        return {
            str(method): tuple(
                one for one in rules if one.rule.action is action and covers(one.rule, method, policy.chain_type)
            )
            for method in Method
        }

    denies, allows = by_method(Action.DENY), by_method(Action.ALLOW)
    set_questions = {
        method: tuple(
            (condition, find_value(condition.target))
            for one in (*denies[method], *allows[method])
            for condition in one.rule.conditions
            if condition.operator in OPERATORS
        )
        for method in denies
    }
    return CompiledPolicy(policy_id, revision, policy.name, denies, allows, set_questions, references_of(policy))


def references_of(policy: Policy) -> frozenset[str]:
    """What the rules of a policy ask about earlier requests."""
    conditions = (condition for rule in policy.rules for condition in rule.conditions)
    return frozenset(condition.field for condition in conditions if condition.field_source == REFERENCE)


def load_policy(document: object, policy_id: str, revision: int) -> CompiledPolicy:
    """Compile a stored document; one that is not understood as a whole denies everything. Never raises for its content."""
    try:
        return compile_policy(parse_policy(document), policy_id, revision)
    except PolicyInvalid as error:
        return CompiledPolicy(policy_id, revision, policy_id, {}, {}, invalid=error.detail)


def compile_condition(condition: Condition) -> Check:
    """The function of one condition."""
    target, judge = condition.target, _judge(condition)
    if isinstance(target, CallArgument | MessageMember) and speaks_of_lists(target.path):

        def check_list(facts: Facts) -> Answer:
            root = _root(target, facts.view)
            return None if root is None else answer_along(root, target.path, lambda value: judge(value, facts))

        return check_list
    if isinstance(target, Fact) and condition.operator not in OPERATORS:  # most conditions, so without a detour
        key, expected = target.key, condition.value_type.python_type
        test = _test(condition.operator, condition.values)

        def check_fact(facts: Facts) -> Answer:
            value = facts.fields.get(key)
            return test(value) if type(value) is expected else None

        return check_fact
    find = find_value(target)
    return lambda facts: judge(find(facts), facts)


def _judge(condition: Condition) -> Callable[[Any, Facts], Answer]:
    """What a condition says of a value; nothing can be decided about one that is not of its type."""
    expected = condition.value_type.python_type
    if condition.operator not in OPERATORS:
        test = _test(condition.operator, condition.values)
        return lambda value, _: test(value) if type(value) is expected else None
    set_id, wanted = set_id_of(condition), condition.operator is Operator.IN_CONDITION_SET

    def look_up(value: Any, facts: Facts) -> Answer:
        if type(value) is not expected:
            return None
        is_member = facts.members.get((set_id, item_text(value)))
        return None if is_member is None else is_member is wanted

    return look_up


def find_value(target: Fact | CallName | CallArgument | MessageMember) -> Find:
    """The function that finds the fact of a target, `Many` where it speaks of lists; None where there is none."""
    if isinstance(target, Fact):
        return lambda facts: facts.fields.get(target.key)
    if isinstance(target, CallName):
        return lambda facts: _call_name(target, facts.view)

    def find(facts: Facts) -> object:
        root = _root(target, facts.view)
        return None if root is None else values_along(root, target.path)

    return find


def _call_name(target: CallName, view: RequestView) -> object:
    selector = view.fields.get(_SELECTOR)
    found = target.functions.get(selector) if isinstance(selector, bytes) else None
    if found is None:  # not one of the declared functions: the call is not understood
        return None
    signature, types = found
    return None if view.arguments(types) is None else signature


def _root(target: CallArgument | MessageMember, view: RequestView) -> object:
    """Where the path of a target begins: the arguments of the call, or the message; None if it is another one."""
    if isinstance(target, CallArgument):
        return view.arguments(target.types) if view.fields.get(_SELECTOR) == target.selector else None
    if view.typed_data is None or view.typed_data.encoded_type != target.encoded_type:
        return None
    return view.typed_data.message


def _test(operator: Operator, values: tuple[FieldValue, ...]) -> Callable[[Any], bool]:
    wanted: Any = values[0]
    members = frozenset(values)
    tests: dict[Operator, Callable[[Any], bool]] = {
        Operator.EQ: lambda value: value == wanted,
        Operator.NEQ: lambda value: value != wanted,
        Operator.LT: lambda value: value < wanted,
        Operator.LTE: lambda value: value <= wanted,
        Operator.GT: lambda value: value > wanted,
        Operator.GTE: lambda value: value >= wanted,
        Operator.IN: lambda value: value in members,
        Operator.NOT_IN: lambda value: value not in members,
        Operator.CONTAINS: lambda value: wanted in value,
        Operator.STARTS_WITH: lambda value: value.startswith(wanted),
        Operator.ENDS_WITH: lambda value: value.endswith(wanted),
    }
    return tests[operator]
