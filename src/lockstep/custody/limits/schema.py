"""Reads the document of an aggregation: everything is checked when it is written, and all faults are told together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockstep.assets import BadAsset, parse_asset
from lockstep.custody.limits.errors import AggregationInvalid
from lockstep.custody.limits.types import CompiledAggregation, Metric
from lockstep.custody.policy import Condition, fields
from lockstep.custody.policy.compile import compile_condition
from lockstep.custody.policy.schema import MAX_NAME, parse_conditions
from lockstep.custody.policy.sets import OPERATORS as SET_OPERATORS
from lockstep.custody.policy.types import ANY_METHOD
from lockstep.custody.view.types import Fault

MIN_WINDOW: Final = 3_600
MAX_WINDOW: Final = 259_200
MAX_GROUPS: Final = 2
MOVEMENT: Final = "movement"
"""Field source of what really moves, with everything unwrapped."""
_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    fields.SYSTEM: frozenset({"wallet_id", "user_id", "session_id"}),
    fields.TRANSACTION: frozenset({"to", "from", "chain_id", "function_selector"}),
    fields.TYPED_DATA_DOMAIN: frozenset({"chain_id", "verifying_contract"}),
}
"""Facts with few values: each value is a group with a limit of its own."""


def parse_aggregation(raw: object) -> dict[str, Any]:
    """The document in its full form, once it holds: ``name, method, metric, window, conditions, group_by``.

    Raises:
        AggregationInvalid: any fault; all of them, with their paths.
    """
    faults: list[Fault] = []
    document = _members(raw, "", {"name", "metric", "window"}, {"method", "conditions", "group_by"}, faults)
    full = {"method": ANY_METHOD, "conditions": [], "group_by": [], **document}
    _read(full, faults)
    if faults:
        raise AggregationInvalid(faults)
    metric = {"function": full["metric"]["function"], **full["metric"]}
    return {**full, "metric": metric, "window": {"type": "rolling", "seconds": full["window"]["seconds"]}}


def compile_aggregation(document: Mapping[str, Any], aggregation_id: str, app_id: str) -> CompiledAggregation:
    """A stored document, ready to say what requests count for.

    Raises:
        AggregationInvalid: it was not written by us.
    """
    faults: list[Fault] = []
    metric, conditions, keys = _read(document, faults)
    if faults or metric is None:
        raise AggregationInvalid(faults)
    return CompiledAggregation(
        reference=f"aggregation.{aggregation_id}",
        app_id=app_id,
        name=document["name"],
        method=document["method"],
        metric=metric,
        window_seconds=document["window"]["seconds"],
        checks=tuple(compile_condition(condition) for condition in conditions),
        group_by=keys,
    )


def _read(
    document: Mapping[str, Any], faults: list[Fault]
) -> tuple[Metric | None, tuple[Condition, ...], tuple[str, ...]]:
    name, method = document.get("name", "-"), document["method"]
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        faults.append(Fault("name", f"expected 1 to {MAX_NAME} printable characters"))
    if method not in fields.METHODS:
        faults.append(Fault("method", f"expected one of {', '.join(fields.METHODS)}"))
        method = ANY_METHOD
    if "window" in document:
        _read_window(document["window"], faults)
    metric = _read_metric(document["metric"], faults) if "metric" in document else None
    conditions, wrong = parse_conditions(document["conditions"], "conditions", method)
    faults += wrong
    for number, condition in enumerate(conditions):
        if condition.field_source == fields.REFERENCE:
            faults.append(Fault(f"conditions[{number}].field_source", "an aggregation names no other one"))
        if condition.operator in SET_OPERATORS:
            faults.append(Fault(f"conditions[{number}].operator", "condition sets are asked by policies only"))
    return metric, conditions, _read_groups(document["group_by"], faults)


def _read_window(raw: object, faults: list[Fault]) -> None:
    window = _members(raw, "window", {"seconds"}, {"type"}, faults)
    if window.get("type", "rolling") != "rolling":
        faults.append(Fault("window.type", 'expected "rolling"'))
    seconds = window.get("seconds", MIN_WINDOW)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not MIN_WINDOW <= seconds <= MAX_WINDOW:
        faults.append(Fault("window.seconds", f"expected a whole number from {MIN_WINDOW} to {MAX_WINDOW}"))


def _read_metric(raw: object, faults: list[Fault]) -> Metric | None:
    metric = _members(raw, "metric", {"function"}, {"field_source", "field", "asset"}, faults)
    function = metric.get("function", "sum")
    source = metric.get("field_source"), metric.get("field")
    if function == "count":
        for name in metric.keys() & {"field_source", "field", "asset"}:
            faults.append(Fault(f"metric.{name}", "requests are counted, whatever they move"))
        return Metric("count")
    if function != "sum":
        faults.append(Fault("metric.function", "expected sum or count"))
        return None
    if source == (fields.TRANSACTION, "value"):
        if "asset" in metric:
            faults.append(Fault("metric.asset", f"belongs to {MOVEMENT}.amount only"))
        return Metric("native")
    if source != (MOVEMENT, "amount"):
        faults.append(Fault("metric.field", f"expected {fields.TRANSACTION}.value, or {MOVEMENT}.amount with an asset"))
        return None
    try:
        chain, token = parse_asset(str(metric.get("asset")))
    except BadAsset as error:
        faults.append(Fault("metric.asset", error.detail))
        return None
    return Metric("native", chain) if token is None else Metric("token", chain, token)


def _read_groups(raw: object, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or len(raw) > MAX_GROUPS:
        faults.append(Fault("group_by", f"expected a list of at most {MAX_GROUPS} fields"))
        return ()
    keys: list[str] = []
    for number, entry in enumerate(raw):
        at = f"group_by[{number}]"
        group = _members(entry, at, {"field_source", "field"}, set(), faults)
        source, field = group.get("field_source"), group.get("field")
        if not isinstance(source, str) or field not in _GROUPS.get(source, ()):
            offered = ", ".join(f"{one}.{name}" for one, names in _GROUPS.items() for name in sorted(names))
            faults.append(Fault(f"{at}.field", f"expected one of {offered}"))
        elif f"{source}.{field}" in keys:
            faults.append(Fault(f"{at}.field", "stands there twice"))
        else:
            keys.append(f"{source}.{field}")
    return tuple(keys)


def _members(value: object, at: str, required: set[str], optional: set[str], faults: list[Fault]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        faults.append(Fault(at or "aggregation", "expected an object"))
        return {}
    prefix = f"{at}." if at else ""
    faults += [Fault(prefix + str(name)[:64], "is not known here") for name in value if name not in required | optional]
    faults += [Fault(prefix + name, "is missing") for name in sorted(required - value.keys())]
    return value
