"""Reads a policy document into a `Policy`: everything is type-checked here, when it is written, and nothing is skipped.

All faults are reported together, each with its path. What later versions will know is refused by name: a rule that is not
understood must not look as if it held. Whether the condition sets and aggregations that a document names exist is looked
up by whoever stores it; see `sets.check_sets` and `compile.references_of`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lockstep.custody.policy import fields, sets
from lockstep.custody.policy.calls import find_function, parse_abi, resolve_argument
from lockstep.custody.policy.errors import PolicyInvalid
from lockstep.custody.policy.messages import parse_types, resolve_member
from lockstep.custody.policy.types import (
    ANY_METHOD,
    Action,
    CallName,
    Condition,
    Fact,
    Operator,
    Policy,
    Rule,
    Target,
)
from lockstep.custody.policy.values import STRING, UINT256, ValueType, parse_value
from lockstep.custody.view.types import Fault, Method
from lockstep.kit.ids import is_id

VERSION = "1.0"
MAX_RULES = 100
MAX_CONDITIONS = 50
MAX_LIST = 500
MAX_NAME = 50
MAX_DOCUMENT_BYTES = 262_144
_AGGREGATION = re.compile(r"aggregation\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_RULE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EQUALITY = frozenset({Operator.EQ, Operator.NEQ, Operator.IN, Operator.NOT_IN})


def parse_policy(document: object) -> Policy:
    """The policy that a document stands for.

    Takes the flat form `{"version", "name", "chain_type", "rules": [...]}`, or the nested one whose `rules` is
    `{"version", "rules": [...]}`. Rules without an id get one by their position ("rule-1").

    Raises:
        PolicyInvalid: any fault; all of them, with their paths.
    """
    reader = _Reader()
    policy = reader.policy(document)
    if policy is None:
        raise PolicyInvalid(reader.faults)
    return policy


def parse_conditions(raw: object, at: str, method: str) -> tuple[tuple[Condition, ...], list[Fault]]:
    """Conditions that stand elsewhere than in a policy, and what is wrong with them.

    Args:
        at: path of the list in its document.
        method: a value of `Method`, or "*".
    """
    reader = _Reader()
    if not isinstance(raw, list | tuple) or len(raw) > 2 * MAX_CONDITIONS:
        return (), [Fault(at, f"expected a list of at most {2 * MAX_CONDITIONS} conditions")]
    read = [reader.condition(one, f"{at}[{number}]", method) for number, one in enumerate(raw)]
    return tuple(condition for condition in read if condition is not None), reader.faults


class _Reader:
    """Reads one document and collects what is wrong with it; a part with a fault is read as None."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._methods: tuple[str, ...] = fields.METHODS

    def policy(self, document: object) -> Policy | None:
        if not self._small_enough(document):
            return None
        raw = self._members(document, "", {"name", "chain_type", "rules"}, {"version"})
        version, rules = raw.get("version", VERSION), raw.get("rules", [])
        if isinstance(rules, Mapping):
            nested = self._members(rules, "rules", {"rules"}, {"version"})
            version, rules = nested.get("version", version), nested.get("rules", [])
        if version != VERSION:
            self._add("version", f'expected "{VERSION}"')
        name = self._name(raw["name"], "name") if "name" in raw else ""
        family = raw.get("chain_type", "ethereum")
        if not isinstance(family, str) or family not in fields.CHAIN_TYPES:
            self._add("chain_type", f"expected one of {', '.join(fields.CHAIN_TYPES)}")
            family = "ethereum"
        self._methods = (*fields.CHAIN_TYPES[family], ANY_METHOD)
        if not isinstance(rules, list | tuple):
            self._add("rules", "expected a list of rules")
            rules = []
        if len(rules) > MAX_RULES:
            self._add("rules", f"expected at most {MAX_RULES} rules, was {len(rules)}")
            rules = []
        read = [self._rule(rule, f"rules[{index}]", index, rules) for index, rule in enumerate(rules)]
        self._unique_ids(rules)
        if self.faults:
            return None
        found = tuple(rule for rule in read if rule is not None)
        plain = [{**raw_rule, "id": rule.id, "name": rule.name} for raw_rule, rule in zip(rules, found, strict=True)]
        document = {"version": VERSION, "name": name, "chain_type": family, "rules": plain}
        return Policy(name=name, chain_type=family, version=VERSION, rules=found, document=document)

    def _rule(self, value: object, at: str, index: int, all_rules: Any) -> Rule | None:
        before = len(self.faults)
        raw = self._members(value, at, {"method", "action", "conditions"}, {"id", "name", "unconditional"})
        rule_id = raw.get("id")
        if "id" not in raw:
            rule_id = _free_id(index, all_rules)
        elif not isinstance(rule_id, str) or not _RULE_ID.fullmatch(rule_id):
            self._add(f"{at}.id", "expected 1 to 64 letters, digits, _ or -")
        name = self._name(raw["name"], f"{at}.name") if "name" in raw else str(rule_id)
        method = raw.get("method")
        if "method" in raw and method not in self._methods:
            later = isinstance(method, str) and method in fields.LATER_METHODS
            expected = f"expected one of {', '.join(self._methods)}"
            self._add(f"{at}.method", f"{method} is not offered yet; {expected}" if later else expected)
            method = None
        action = raw.get("action")
        if "action" in raw and not (isinstance(action, str) and action in set(Action)):
            self._add(f"{at}.action", "expected ALLOW or DENY")
        given = raw.get("conditions", [])
        if not isinstance(given, list | tuple) or len(given) > MAX_CONDITIONS:
            self._add(f"{at}.conditions", f"expected a list of at most {MAX_CONDITIONS} conditions")
            given = []
        conditions = [
            self.condition(one, f"{at}.conditions[{number}]", method if isinstance(method, str) else ANY_METHOD)
            for number, one in enumerate(given)
        ]
        unconditional = raw.get("unconditional", False)
        if not isinstance(unconditional, bool):
            self._add(f"{at}.unconditional", "expected true or false")
        elif unconditional and given:
            self._add(f"{at}.unconditional", "the rule has conditions; expected none, or no unconditional")
        elif action == Action.ALLOW and raw.get("conditions") == [] and not unconditional:
            self._add(
                f"{at}.conditions", 'allows everything of this method; say "unconditional": true if that is meant'
            )
        if action == Action.ALLOW and method == Method.SIGN_CARDANO and given and not _bounds_fee(given):
            self._add(
                f"{at}.conditions", "the fee could take everything; expected a condition on cardano_transaction.fee"
            )
        if len(self.faults) > before:
            return None
        read = tuple(condition for condition in conditions if condition is not None)
        return Rule(id=str(rule_id), name=name, method=str(method), action=Action(str(action)), conditions=read)

    def condition(self, value: object, at: str, method: str) -> Condition | None:
        before = len(self.faults)
        required, optional = {"field_source", "field", "operator", "value"}, {"abi", "typed_data"}
        raw = self._members(value, at, required, optional)
        if raw.keys() < required:
            return None
        source, field = raw["field_source"], raw["field"]
        operator = self._operator(raw["operator"], f"{at}.operator")
        if isinstance(source, str):
            source = fields.SOURCE_ALIASES.get(source, source)
        if source not in fields.SOURCES:
            later = isinstance(source, str) and source in fields.LATER_SOURCES
            expected = f"expected one of {', '.join(fields.SOURCES)}"
            self._add(f"{at}.field_source", f"{source} is not offered yet; {expected}" if later else expected)
            return None
        if not isinstance(field, str) or not 0 < len(field) <= 512:
            self._add(f"{at}.field", "expected the name of a field")
            return None
        for extra, owner in (("abi", fields.CALLDATA), ("typed_data", fields.TYPED_DATA_MESSAGE)):
            if extra in raw and source != owner:
                self._add(f"{at}.{extra}", f"belongs to {owner} only")
        field = fields.ALIASES.get((source, field), field)
        reason = fields.undecidable(method, source, field)
        if reason is not None:
            self._add(f"{at}.field_source" if source in reason else f"{at}.field", reason)
        resolved = self._target(source, field, raw, at)
        if resolved is None or operator is None:
            return None
        target, kind = resolved
        allowed = _EQUALITY if isinstance(target, CallName) else fields.operators_of(kind)
        if source == fields.REFERENCE:
            allowed = fields.ORDER
        if operator not in allowed:
            shown = ", ".join(one for one in Operator if one in allowed)
            what = "function names" if isinstance(target, CallName) else f"a field of type {kind}"
            self._add(f"{at}.operator", f"{operator} does not fit {what}; expected one of {shown}")
            return None
        values = self._values(
            raw["value"], f"{at}.value", operator, kind, raw if isinstance(target, CallName) else None
        )
        if len(self.faults) > before:
            return None
        return Condition(source, field, operator, target, kind, values)

    def _target(self, source: str, field: str, raw: Mapping[str, Any], at: str) -> tuple[Target, ValueType] | None:
        if source in fields.FIELDS:
            known = fields.FIELDS[source]
            if field not in known:
                self._add(f"{at}.field", f"{source} has no such field; expected one of {', '.join(known)}")
                return None
            return Fact(f"{source}.{field}"), known[field]
        if source == fields.REFERENCE:
            if not _AGGREGATION.fullmatch(field):
                self._add(f"{at}.field", "expected aggregation.<id>")
                return None
            return Fact(f"{source}.{field}"), UINT256
        needed, part = ("abi", "abi") if source == fields.CALLDATA else ("typed_data", "typed_data")
        if needed not in raw:
            self._add(f"{at}.{needed}", f"is missing; conditions on {source} carry it")
            return None
        try:
            if source == fields.TYPED_DATA_MESSAGE:
                types, primary = parse_types(raw["typed_data"])
                part = "field"
                return resolve_member(types, primary, field)
            functions = parse_abi(raw["abi"])
            part = "field"
            if field == "function_name":
                return CallName({f.selector: (f.signature, f.types) for f in functions}), STRING
            return resolve_argument(functions, field)
        except ValueError as error:
            self._add(f"{at}.{part}", str(error))
            return None

    def _operator(self, value: object, at: str) -> Operator | None:
        if isinstance(value, str) and value in set(Operator):
            return Operator(value)
        self._add(at, f"expected one of {', '.join(Operator)}")
        return None

    def _values(
        self, value: object, at: str, operator: Operator, kind: ValueType, call: Mapping[str, Any] | None
    ) -> tuple[Any, ...]:
        if operator in sets.OPERATORS:
            if not isinstance(value, str) or not is_id(value):
                self._add(at, "expected the id of a condition set")
                return ()
            return (value,)
        if operator in fields.LISTS:
            if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_LIST:
                self._add(at, f"expected a list of 1 to {MAX_LIST} values")
                return ()
            texts = [(one, f"{at}[{index}]") for index, one in enumerate(value)]
        else:
            texts = [(value, at)]
        values: list[Any] = []
        functions = parse_abi(call["abi"]) if call is not None else ()
        for text, where in texts:
            try:
                read = parse_value(kind, text, whole=operator not in fields.PARTS)
                if operator in fields.PARTS and not read:
                    raise ValueError("expected at least one character or byte; an empty part is in everything")
                values.append(find_function(functions, str(read)).signature if call is not None else read)
            except ValueError as error:
                self._add(where, str(error))
        return tuple(values)

    def _unique_ids(self, rules: Any) -> None:
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            rule_id = rule.get("id") if isinstance(rule, Mapping) else None
            if isinstance(rule_id, str):
                if rule_id in seen:
                    self._add(f"rules[{index}].id", f"{rule_id[:64]} is used twice")
                seen.add(rule_id)

    def _members(self, value: object, at: str, required: set[str], optional: set[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._add(at or "policy", "expected an object")
            return {}
        prefix = f"{at}." if at else ""
        for name in value:
            if name not in required and name not in optional:
                self._add(prefix + str(name)[:64], "is not known here")
        for name in sorted(required - value.keys()):
            self._add(prefix + name, "is missing")
        return value

    def _name(self, value: object, at: str) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
            self._add(at, f"expected 1 to {MAX_NAME} printable characters")
            return ""
        return value

    def _small_enough(self, document: object) -> bool:
        try:
            size = len(json.dumps(document))
        except (TypeError, ValueError, RecursionError):
            self._add("policy", "expected a JSON document")
            return False
        if size > MAX_DOCUMENT_BYTES:
            self._add("policy", f"expected at most {MAX_DOCUMENT_BYTES} bytes of JSON, was {size}")
            return False
        return True

    def _add(self, path: str, message: str) -> None:
        self.faults.append(Fault(path, message))


def _free_id(index: int, rules: Any) -> str:
    taken = {rule.get("id") for rule in rules if isinstance(rule, Mapping) and isinstance(rule.get("id"), str)}
    candidate = f"rule-{index + 1}"
    while candidate in taken:
        candidate += "-x"
    return candidate


def _bounds_fee(conditions: Any) -> bool:
    return any(
        isinstance(one, Mapping) and (one.get("field_source"), one.get("field")) == (fields.CARDANO, "fee")
        for one in conditions
    )
