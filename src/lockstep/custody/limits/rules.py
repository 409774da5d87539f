"""What a request asks of limits, and how they stand. Pure.

An aggregation counts every request of a wallet or session signer under whose policies it is named, of its method and
under its conditions, whichever rule allows it. A condition that cannot be decided counts the request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from lockstep.custody.limits.types import (
    SESSION_COUNT,
    SESSION_TOTAL,
    SESSION_WINDOW,
    Charge,
    CompiledAggregation,
    Counter,
    LimitStanding,
    Metric,
    SessionCaps,
)
from lockstep.custody.policy import CompiledPolicy, Operator, Reading
from lockstep.custody.policy.compile import Facts
from lockstep.custody.policy.fields import REFERENCE
from lockstep.custody.policy.types import ANY_METHOD
from lockstep.custody.view.leaves import Leaves, leaves_of
from lockstep.custody.view.types import FieldValue, Method


def charges_of(
    caps: SessionCaps | None, aggregations: Iterable[CompiledAggregation], facts: Facts
) -> tuple[Charge, ...]:
    """What a request asks of the caps of its session signer and of these aggregations."""
    found = list(aggregations)
    if caps is None and not found:
        return ()
    leaves = leaves_of(facts.view)
    charges = [] if caps is None else session_charges(caps, leaves)
    for one in found:
        counter = Counter(one.reference, _group(one.group_by, facts.fields), one.window_seconds)
        asked = _measure(one.metric, leaves) if _is_counted(one, facts) else 0
        charges.append(Charge(one.reference, one.name, counter, asked))
    return tuple(charges)


def session_charges(caps: SessionCaps, leaves: Leaves) -> list[Charge]:
    """What a request with these leaves asks of the caps of its session signer."""

    def charge(reading: str, name: str, window_seconds: int | None, asked: int | None) -> Charge:
        kind = reading.partition(".")[2]
        return Charge(reading, name, Counter(f"session.{caps.session_id}.{kind}", "[]", window_seconds), asked)

    charges = []
    if caps.max_total_value is not None:
        charges.append(charge(SESSION_TOTAL, "value of this session signer", None, leaves.native()))
    if caps.max_value_per_window is not None:
        name = "value of this session signer within its window"
        charges.append(charge(SESSION_WINDOW, name, caps.window_seconds, leaves.native()))
    if caps.max_transactions is not None:
        charges.append(charge(SESSION_COUNT, "requests of this session signer", None, 1))
    return charges


def session_maxima(caps: SessionCaps) -> dict[str, int]:
    """The caps that there are, by the name of their reading."""
    maxima = {
        SESSION_TOTAL: caps.max_total_value,
        SESSION_WINDOW: caps.max_value_per_window,
        SESSION_COUNT: caps.max_transactions,
    }
    return {name: maximum for name, maximum in maxima.items() if maximum is not None}


def standings(
    caps: SessionCaps | None,
    policies: Sequence[CompiledPolicy],
    readings: Mapping[str, Reading],
    methods: Iterable[str] = tuple(Method),
) -> tuple[LimitStanding, ...]:
    """The limits that a request meets, each once: caps of the session signer, and sums that ALLOW rules bound.

    Args:
        methods: of everything that the request stands for.
    """
    found = []
    for name, maximum in ({} if caps is None else session_maxima(caps)).items():
        if name in readings:
            found.append(_standing(name, readings[name], maximum, None, None))
    for policy in policies:
        for compiled in (rule for method in methods for rule in policy.allows.get(method, ())):
            for condition in compiled.rule.conditions:
                reading = readings.get(condition.field) if condition.field_source == REFERENCE else None
                if reading is None or condition.operator not in (Operator.LT, Operator.LTE):
                    continue
                limit = condition.values[0]
                assert isinstance(limit, int)  # the schema says so
                most = limit - 1 if condition.operator is Operator.LT else limit
                found.append(_standing(condition.field, reading, most, policy.policy_id, compiled.rule.id))
    return tuple(dict.fromkeys(found))


def _standing(limit: str, reading: Reading, maximum: int, policy_id: str | None, rule_id: str | None) -> LimitStanding:
    return LimitStanding(
        limit=limit,
        name=reading.name,
        policy_id=policy_id,
        rule_id=rule_id,
        maximum=maximum,
        used=reading.used,
        asked=reading.asked,
        window_seconds=reading.window_seconds,
    )


def _is_counted(aggregation: CompiledAggregation, facts: Facts) -> bool:
    if aggregation.method not in (ANY_METHOD, facts.view.method):
        return False
    return all(check(facts) is not False for check in aggregation.checks)


def _measure(metric: Metric, leaves: Leaves) -> int | None:
    if metric.kind == "count":
        return 1
    if metric.token is None:
        return leaves.native(metric.chain)
    assert metric.chain is not None  # a token is one of a chain
    return leaves.token(metric.chain, metric.token)


def group_of(keys: Sequence[str], known: Mapping[str, FieldValue | None]) -> str | None:
    """The group of every request with these facts; None where it depends on more than them."""
    return _group(keys, known) if all(key in known for key in keys) else None


def _group(keys: Sequence[str], fields: Mapping[str, FieldValue | None]) -> str:
    """The group of a request; what has no such fact makes up a group of its own."""
    values = [fields.get(key) for key in keys]
    texts = [None if v is None else "0x" + v.hex() if isinstance(v, bytes) else str(v) for v in values]
    return json.dumps(texts, separators=(",", ":"))
