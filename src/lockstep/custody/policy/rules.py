"""The decision: a pure function of the view, the attached policies and what the service knows.

Every attached policy must allow. Inside one policy a DENY that matches wins over any ALLOW; a condition that cannot be
decided counts as holding for DENY and as not holding for ALLOW; nothing matched means deny. No I/O and no clock, so that
any decision can be made again from its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from lockstep.chains.evm import is_address, to_checksum
from lockstep.custody.policy.compile import CompiledPolicy, CompiledRule, Facts, find_value
from lockstep.custody.policy.fields import REFERENCE
from lockstep.custody.policy.lists import Many
from lockstep.custody.policy.sets import NO_MEMBERS, OPERATORS, Members, Question, item_text, set_id_of
from lockstep.custody.policy.types import (
    Condition,
    Fact,
    Operator,
    Outcome,
    Reading,
    ReasonCode,
    SystemFacts,
    Verdict,
)
from lockstep.custody.view.types import FieldValue, RequestView

Revisions = tuple[tuple[str, int], ...]


def evaluate(
    view: RequestView,
    policies: Sequence[CompiledPolicy],
    system: SystemFacts,
    members: Members = NO_MEMBERS,
    readings: Mapping[str, Reading] = MappingProxyType({}),
) -> Verdict:
    """What the attached policies say about a request.

    Args:
        policies: all that are attached, for a session its own first and then the wallet's; the order decides only
            which one a refusal names.
        members: answers to `questions`; what is not answered cannot be decided.
        readings: what their references say, by "aggregation.<id>"; one that is absent cannot be decided.
    Returns:
        Allow only if there is at least one policy and each of them allows, everything that the request stands for.
    """
    verdicts = [_evaluate(part, policies, system, members, readings) for part in view.decided]
    for number, verdict in enumerate(verdicts, 1):
        if not verdict.allowed:
            return verdict if len(verdicts) == 1 else _in_part(verdict, number, len(verdicts))
    return verdicts[0]


def _evaluate(
    view: RequestView,
    policies: Sequence[CompiledPolicy],
    system: SystemFacts,
    members: Members,
    readings: Mapping[str, Reading],
) -> Verdict:
    revisions = tuple((policy.policy_id, policy.revision) for policy in policies)
    if not policies:
        return Verdict(
            decision=Outcome.DENY,
            reason_code=ReasonCode.NO_POLICY,
            reason="No policy is attached, so nothing is allowed.",
        )
    facts = facts_of(view, system, members, readings)
    first: CompiledRule | None = None
    for policy in policies:
        if policy.invalid is not None:
            return _invalid(policy, revisions)
        allowing = _decide(policy, facts, revisions)
        if isinstance(allowing, Verdict):
            return allowing
        first = first or allowing
    assert first is not None  # every policy returned an allowing rule
    deciding = policies[0]
    return Verdict(
        decision=Outcome.ALLOW,
        reason_code=ReasonCode.ALLOWED,
        reason=f'Allowed by rule "{first.rule.name}" of policy "{deciding.name}".',
        policy_id=deciding.policy_id,
        rule_id=first.rule.id,
        policy_revision=deciding.revision,
        matched=tuple(condition.name for condition in first.rule.conditions),
        policies=revisions,
    )


def questions(view: RequestView, policies: Sequence[CompiledPolicy], system: SystemFacts) -> set[Question]:
    """What these policies are going to ask of condition sets about a request."""
    return set[Question]().union(*(_questions(part, policies, system) for part in view.decided))


def _questions(view: RequestView, policies: Sequence[CompiledPolicy], system: SystemFacts) -> set[Question]:
    asked = [one for policy in policies for one in policy.set_questions.get(view.method, ())]
    if not asked:
        return set()
    facts = facts_of(view, system)
    found = [(condition, find(facts)) for condition, find in asked]
    values = [
        (condition, one) for condition, value in found for one in (value if isinstance(value, Many) else (value,))
    ]
    return {
        (set_id_of(condition), item_text(value))
        for condition, value in values
        if type(value) is condition.value_type.python_type
    }


def facts_of(
    view: RequestView,
    system: SystemFacts,
    members: Members = NO_MEMBERS,
    readings: Mapping[str, Reading] = MappingProxyType({}),
) -> Facts:
    """Everything that conditions may look at."""
    fields: dict[str, FieldValue] = {**view.fields, **_system_fields(system)}
    for name, reading in readings.items():
        if reading.total is not None:
            fields[f"{REFERENCE}.{name}"] = reading.total
    return Facts(fields, view, members, readings)


def _decide(policy: CompiledPolicy, facts: Facts, revisions: Revisions) -> CompiledRule | Verdict:
    """The rule that allows, or the verdict that refuses."""
    method = facts.view.method
    for rule in policy.denies.get(method, ()):
        for check in rule.checks:
            if check(facts) is False:
                break
        else:  # every condition holds or cannot be decided
            return _denied(policy, rule, facts, revisions)
    closest, furthest = None, -1
    for rule in policy.allows.get(method, ()):
        held = 0
        for check in rule.checks:
            if check(facts) is not True:
                break
            held += 1
        else:
            return rule
        if held > furthest:
            closest, furthest = rule, held
    return _unmatched(policy, closest, facts, revisions)


def _system_fields(system: SystemFacts) -> dict[str, FieldValue]:
    seconds = system.current_unix_timestamp
    fields: dict[str, FieldValue] = {
        "system.current_unix_timestamp": seconds,
        "system.hour_utc": seconds // 3_600 % 24,
        "system.weekday_utc": (seconds // 86_400 + 3) % 7 + 1,  # 1970 began on a Thursday
        "system.wallet_id": system.wallet_id,
        "system.app_id": system.app_id,
    }
    if system.user_id is not None:
        fields["system.user_id"] = system.user_id
    if system.session_id is not None:
        fields["system.session_id"] = system.session_id
    return fields


def _in_part(verdict: Verdict, number: int, count: int) -> Verdict:
    """The verdict of a request that stands for several things, with the one that is refused."""
    return replace(verdict, reason=f"Part {number} of {count}: {verdict.reason}")


def _invalid(policy: CompiledPolicy, revisions: Revisions) -> Verdict:
    return Verdict(
        decision=Outcome.DENY,
        reason_code=ReasonCode.POLICY_INVALID,
        reason="An attached policy cannot be understood, so nothing is allowed until it is repaired.",
        policy_id=policy.policy_id,
        policy_revision=policy.revision,
        policies=revisions,
    )


def _denied(policy: CompiledPolicy, rule: CompiledRule, facts: Facts, revisions: Revisions) -> Verdict:
    matched, unknown, _ = _answers(rule, facts)
    doubt = f", because {unknown[0].rpartition(' ')[0]} cannot be decided" if unknown else ""
    return Verdict(
        decision=Outcome.DENY,
        reason_code=ReasonCode.DENIED_BY_RULE,
        reason=f'Denied by rule "{rule.rule.name}" of policy "{policy.name}"{doubt}.',
        policy_id=policy.policy_id,
        rule_id=rule.rule.id,
        policy_revision=policy.revision,
        matched=matched,
        unknown=unknown,
        policies=revisions,
    )


def _unmatched(policy: CompiledPolicy, closest: CompiledRule | None, facts: Facts, revisions: Revisions) -> Verdict:
    """Names the closest ALLOW rule: the one that held furthest into its conditions, the earlier one of two."""
    matched, unknown, unmet = _answers(closest, facts) if closest is not None else ((), (), None)
    reason = f'No rule of policy "{policy.name}" allows {facts.view.method}.'
    if closest is not None and unmet is not None:
        reason = (
            f'No rule of policy "{policy.name}" allows this: "{closest.rule.name}" wants {_in_words(unmet, facts)}.'
        )
    return Verdict(
        decision=Outcome.DENY,
        reason_code=ReasonCode.NO_MATCHING_RULE,
        reason=reason,
        policy_id=policy.policy_id,
        rule_id=None,
        policy_revision=policy.revision,
        matched=matched,
        unknown=unknown,
        unmet=None if unmet is None else unmet.name,
        policies=revisions,
    )


def _answers(rule: CompiledRule, facts: Facts) -> tuple[tuple[str, ...], tuple[str, ...], Condition | None]:
    """Names of the conditions that hold and that cannot be decided, and the first that does not hold."""
    matched, unknown, unmet = [], [], None
    for condition, check in zip(rule.rule.conditions, rule.checks, strict=True):
        answer = check(facts)
        if answer is True:
            matched.append(condition.name)
            continue
        unmet = unmet or condition
        if answer is None:
            unknown.append(condition.name)
    return tuple(matched), tuple(unknown), unmet


_PHRASES = {
    Operator.EQ: "to be",
    Operator.NEQ: "not to be",
    Operator.LT: "to be below",
    Operator.LTE: "to be at most",
    Operator.GT: "to be above",
    Operator.GTE: "to be at least",
    Operator.CONTAINS: "to contain",
    Operator.STARTS_WITH: "to start with",
    Operator.ENDS_WITH: "to end with",
}


def _in_words(condition: Condition, facts: Facts) -> str:
    """A condition for people. Numbers and addresses are named, text and bytes are not: they may be somebody's secret."""
    field = f"{condition.field_source}.{condition.field}"
    if condition.operator in OPERATORS:
        negation = "" if condition.operator is Operator.IN_CONDITION_SET else "not "
        return _with_actual(f"{field} {negation}to be in condition set {set_id_of(condition)}", condition, facts)
    shown = [text for value in condition.values if (text := _shown(value, condition)) is not None]
    if condition.operator in _PHRASES:
        wanted = f"{field} {_PHRASES[condition.operator]} {shown[0] if shown else 'the given text'}"
    elif len(shown) == len(condition.values) <= 3:
        wanted = f"{field} {'not ' if condition.operator is Operator.NOT_IN else ''}to be one of {', '.join(shown)}"
    else:
        negation = "not " if condition.operator is Operator.NOT_IN else ""
        wanted = f"{field} {negation}to be one of {len(condition.values)} listed values"
    return _with_actual(wanted, condition, facts)


def _with_actual(wanted: str, condition: Condition, facts: Facts) -> str:
    reading = facts.readings.get(condition.field) if condition.field_source == REFERENCE else None
    if reading is not None and reading.asked is not None:
        return _limit_in_words(condition, reading, reading.asked)
    actual = find_value(condition.target)(facts)
    if actual is None:
        return f"{wanted}, which cannot be decided here"
    text = _shown(actual, condition)
    return f"{wanted}, but it is {text}" if text is not None else wanted


def _limit_in_words(condition: Condition, reading: Reading, asked: int) -> str:
    """A limit with what is left of it."""
    limit = condition.values[0]
    assert isinstance(limit, int)  # the schema says so
    most = limit - 1 if condition.operator is Operator.LT else limit
    within = "" if reading.window_seconds is None else f" within {reading.window_seconds:,} seconds"
    wanted = f'the sum "{reading.name}" {_PHRASES[condition.operator]} {limit}{within}'
    if condition.operator not in (Operator.LT, Operator.LTE):
        return f"{wanted}, but with this request it is {reading.used + asked}"
    return f"{wanted}: {reading.used} are used, so {max(most - reading.used, 0)} are left, and this asks for {asked}"


def _shown(value: object, condition: Condition) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if condition.value_type.kind == "address" and is_address(value):
        return to_checksum(str(value))
    is_name = not isinstance(condition.target, Fact) and condition.field == "function_name"
    is_selector = condition.field == "function_selector"
    if is_name:
        return str(value)
    return "0x" + value.hex() if is_selector and isinstance(value, bytes) else None
