"""Policies as formulas over the facts of a request that nobody has made yet.

Each fact is a variable with a second one that says whether the request has it; a condition on a fact that is absent cannot
be decided, as in the evaluator. The axioms say what is true of every request, and no more: where they leave more open than
there is, a proof still holds for everything that there is, and a solution that is no request is found out when it is
written as one. Addresses and numbers are integers, text and bytes are strings (a byte is a character below 256).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import z3

from lockstep.custody.policy import fields
from lockstep.custody.policy.compile import CompiledPolicy, CompiledRule
from lockstep.custody.policy.lists import speaks_of_lists
from lockstep.custody.policy.proofs.types import Search
from lockstep.custody.policy.sets import MAX_TEXT, OPERATORS, set_id_of
from lockstep.custody.policy.types import CallArgument, CallName, Condition, Fact, MessageMember, Operator, Target
from lockstep.custody.policy.values import ADDRESS, STRING, UINT256, ValueType
from lockstep.custody.view.types import FieldValue, Method

TO = Fact("ethereum_transaction.to")
SELECTOR = Fact("ethereum_transaction.function_selector")
DATA = Fact("ethereum_transaction.data")
TRANSACTIONS = (Method.SEND_TRANSACTION, Method.SIGN_TRANSACTION)
UNDERSTOOD = (*TRANSACTIONS, Method.PERSONAL_SIGN, Method.SIGN_TYPED_DATA)
"""Methods whose requests are described by axioms and can be written down; nothing is assumed of the others."""
_HIGHEST = 0x2FFFF
"""The highest character of the solver's strings."""
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
_SELECTOR_TYPE = ValueType("bytes", 4)


class BeyondSolver(Exception):
    """A policy has text that the solver cannot hold."""


class Model:
    """The variables of one search, what is true of them, and formulas over them."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.method = search.method
        self.variables: dict[Target, tuple[Any, Any, ValueType]] = {}
        """(whether the request has it, its value, its type) by fact."""
        self.axioms: list[Any] = []
        self.wishes: list[Any] = []
        """What makes a request easy to write down, or to read; none of it need be so."""
        self.canonical: dict[tuple[str, ...], Any] = {}
        """Whether the arguments of the call are the canonical form of these types."""
        self.calls: dict[bytes, tuple[str, ...]] = {}
        """Types of the arguments of every function that a condition speaks of, by selector."""
        self.message_types: dict[str, int] = {}
        """Numbers of the types that messages are declared with; 0 stands for any other."""
        self._message_type = z3.Int("message type")
        self._members: dict[str, Any] = {}
        self._asked_of_sets: list[tuple[str, Any, ValueType]] = []

    # --- formulas -----------------------------------------------------------------------------------------------------

    def wanted(self) -> Any:
        """The formula of what is searched for; makes the variables."""
        parts = [self._allowed(policy) for policy in self._search.allowed_by]
        if self._search.denied_by:
            parts.append(z3.Not(z3.And([self._allowed(policy) for policy in self._search.denied_by])))
        wanted = z3.And(parts)
        self._relate()
        return wanted

    def contents_of_sets(self) -> list[Any]:
        """What the condition sets hold, as far as it is known, for the values that are looked up."""
        known: list[Any] = []
        for set_id, value, kind in self._asked_of_sets:
            found = self._search.sets[set_id]
            is_member = self._members[set_id](value)
            held = z3.Or([value == literal(item_value(kind, item), kind) for item in found.items])
            if found.is_complete:
                known.append(is_member == held)
            else:
                known.append(z3.Implies(held, is_member))
                self.wishes.append(z3.Implies(is_member, held))
        return known

    @property
    def asks_sets(self) -> bool:
        return bool(self._asked_of_sets)

    def _allowed(self, policy: CompiledPolicy) -> Any:
        if policy.invalid is not None:
            return z3.BoolVal(False)
        denied = z3.Or([self._fires(rule) for rule in policy.denies.get(self.method, ())])
        allowed = z3.Or([self._matches(rule) for rule in policy.allows.get(self.method, ())])
        return z3.And(z3.Not(denied), allowed)

    def _matches(self, rule: CompiledRule) -> Any:
        answers = [self._condition(condition) for condition in rule.rule.conditions]
        return z3.And([z3.And(is_known, holds) for is_known, holds in answers])

    def _fires(self, rule: CompiledRule) -> Any:
        answers = [self._condition(condition) for condition in rule.rule.conditions]
        return z3.And([z3.Or(z3.Not(is_known), holds) for is_known, holds in answers])

    def _condition(self, condition: Condition) -> tuple[Any, Any]:
        """(whether it can be decided, whether it holds if it can)."""
        if fields.undecidable(self.method, condition.field_source, condition.field) is not None:
            return z3.BoolVal(False), z3.BoolVal(False)
        if isinstance(condition.target, CallArgument | MessageMember) and speaks_of_lists(condition.target.path):
            return self._on_list(condition, condition.target)
        is_present, value = self._fact(condition.target, condition.value_type)
        if condition.operator in OPERATORS:
            set_id = set_id_of(condition)
            if set_id not in self._search.sets:
                return z3.BoolVal(False), z3.BoolVal(False)
            is_member = self._membership(set_id, value, condition.value_type)
            return is_present, is_member if condition.operator is Operator.IN_CONDITION_SET else z3.Not(is_member)
        return is_present, _compare(condition, value)

    def _on_list(self, condition: Condition, target: CallArgument | MessageMember) -> tuple[Any, Any]:
        """Lists are not looked into: each condition on them may hold or not, the same one everywhere alike."""
        name = f"{target} {condition.operator} {condition.values}"
        if condition.operator in OPERATORS and set_id_of(condition) not in self._search.sets:
            return z3.Bool(f"decided {name}"), z3.Bool(f"holds {name}")  # of an empty list nothing is looked up
        return self._presence(target, name), z3.Bool(f"holds {name}")

    def _membership(self, set_id: str, value: Any, kind: ValueType) -> Any:
        function = self._members.get(set_id)
        if function is None:
            function = self._members[set_id] = z3.Function(f"in {set_id}", value.sort(), z3.BoolSort())
        self._asked_of_sets.append((set_id, value, kind))
        if kind == STRING:
            self.axioms.append(z3.Implies(function(value), z3.Length(value) <= MAX_TEXT))
        return function(value)

    # --- facts --------------------------------------------------------------------------------------------------------

    def _fact(self, target: Target, kind: ValueType) -> tuple[Any, Any]:
        if isinstance(target, CallName):
            return self._call_name(target)
        if target not in self.variables:
            name = f"{len(self.variables)} {target}"
            value = _variable(name, kind)
            self.axioms += _range(value, kind)
            self.variables[target] = (self._presence(target, f"has {name}"), value, kind)
        is_present, value, _ = self.variables[target]
        return is_present, value

    def _presence(self, target: Target, name: str) -> Any:
        if isinstance(target, CallArgument):
            return self._is_call(target.selector, target.types)
        if isinstance(target, MessageMember):
            number = self.message_types.setdefault(target.encoded_type, len(self.message_types) + 1)
            return self._message_type == number
        return z3.Bool(name)

    def _is_call(self, selector: bytes, types: tuple[str, ...]) -> Any:
        self.calls[selector] = types
        has_selector, value = self._fact(SELECTOR, _SELECTOR_TYPE)
        if types not in self.canonical:
            self.canonical[types] = z3.Bool(f"canonical {types}")
            self.wishes.append(self.canonical[types])
        return z3.And(has_selector, value == literal(selector, _SELECTOR_TYPE), self.canonical[types])

    def _call_name(self, target: CallName) -> tuple[Any, Any]:
        value: Any = z3.StringVal("")
        known = []
        for selector, (signature, types) in target.functions.items():
            is_this = self._is_call(selector, types)
            known.append(is_this)
            value = z3.If(is_this, literal(signature, STRING), value)
        return z3.Or(known), value

    # --- what is true of every request --------------------------------------------------------------------------------

    def _relate(self) -> None:
        if self.message_types:
            self.axioms.append(z3.And(self._message_type >= 0, self._message_type <= len(self.message_types)))
        if self.method in TRANSACTIONS:
            self._relate_transaction()
        elif self.method == Method.PERSONAL_SIGN:
            self._relate_message()
        self._relate_system()

    def _relate_transaction(self) -> None:
        source = "ethereum_transaction."
        if SELECTOR in self.variables:
            self._fact(TO, ADDRESS)
        is_signed_now = self.method == Method.SIGN_TRANSACTION
        if is_signed_now and Fact(source + "max_priority_fee_per_gas") in self.variables:
            self._fact(Fact(source + "type"), UINT256)
        for name in ("from", "value", "chain_id", "type", "data"):
            self._always(source + name)
        for name in ("nonce", "gas_limit", "max_fee_per_gas"):
            self._always(source + name, is_signed_now)
        self._at_least(source + "chain_id", 1)
        self._at_least(source + "gas_limit", 21_000)
        for enough in (60_000, 200_000, 1_000_000):
            self._wish(source + "gas_limit", lambda value, enough=enough: value >= enough)
        self._wish(source + "gas_limit", lambda value: value <= 10_000_000)
        self._wish(source + "max_fee_per_gas", lambda value: value >= 1)
        self._wish(source + "chain_id", lambda value: value < 2**32)
        self._wish(source + "nonce", lambda value: value < 2**32)
        fee, tip = (self.variables.get(Fact(source + name)) for name in ("max_fee_per_gas", "max_priority_fee_per_gas"))
        if fee is not None and tip is not None:
            self.axioms.append(z3.Implies(z3.And(fee[0], tip[0]), tip[1] <= fee[1]))
        kind = self.variables.get(Fact(source + "type"))
        if kind is not None:
            self.axioms.append(z3.And(kind[1] >= 0, kind[1] <= 4))
            self.wishes.append(kind[1] == 2)
            if tip is not None:
                self.axioms.append(tip[0] == (kind[1] >= 2) if is_signed_now else z3.Implies(tip[0], kind[1] >= 2))
        self._relate_call()

    def _relate_call(self) -> None:
        to, selector, data = (self.variables.get(one) for one in (TO, SELECTOR, DATA))
        if to is not None:
            self.wishes.append(to[0])
        if to is not None and data is not None:  # a creation has data
            self.wishes.append(z3.Or(to[0], z3.Length(data[1]) > 0))
        if data is not None:
            self.wishes.append(z3.Length(data[1]) <= 1_000)
        if selector is None or to is None:
            return
        self.axioms.append(z3.Implies(selector[0], to[0]))
        if data is not None:
            self.axioms.append(selector[0] == z3.And(to[0], z3.Length(data[1]) >= 4))
            self.axioms.append(z3.Implies(selector[0], selector[1] == z3.SubString(data[1], 0, 4)))

    def _relate_message(self) -> None:
        length, content = (self.variables.get(Fact(f"ethereum_message.{name}")) for name in ("byte_length", "content"))
        self._always("ethereum_message.byte_length")
        self._wish("ethereum_message.byte_length", lambda value: value <= 10_000)
        if content is None:
            return
        self.wishes.append(z3.Length(content[1]) <= 1_000)
        if length is not None:
            letters = z3.Length(content[1])
            is_ascii = z3.InRe(content[1], z3.Star(_range_of("\\u{0}", "\\u{7f}")))
            self.axioms.append(z3.Implies(content[0], (letters == length[1]) == is_ascii))
            self.axioms.append(z3.Implies(content[0], z3.And(letters <= length[1], length[1] <= 4 * letters)))
            self.axioms.append(z3.Implies(z3.Not(content[0]), length[1] >= 1))
            self.wishes.append(is_ascii)

    def _relate_system(self) -> None:
        now = Fact("system.current_unix_timestamp")
        for name in ("current_unix_timestamp", "hour_utc", "weekday_utc", "wallet_id", "app_id"):
            self._always("system." + name)
        app = self.variables.get(Fact("system.app_id"))
        if app is not None:
            self.axioms.append(app[1] == literal(self._search.app_id, STRING))
        hour, weekday = (self.variables.get(Fact(f"system.{name}")) for name in ("hour_utc", "weekday_utc"))
        if hour is not None or weekday is not None:
            self._fact(now, UINT256)
            self._always(now.key)
        if now in self.variables:
            seconds = self.variables[now][1]
            if hour is not None:
                self.axioms.append(hour[1] == seconds / 3_600 % 24)
            if weekday is not None:
                self.axioms.append(weekday[1] == (seconds / 86_400 + 3) % 7 + 1)
            self.wishes.append(seconds < 2**33)
            self.wishes.append(seconds >= 1_600_000_000)
        user, session = (self.variables.get(Fact(f"system.{name}")) for name in ("user_id", "session_id"))
        if user is not None and session is not None:
            self.wishes.append(z3.Not(z3.And(user[0], session[0])))

    def _always(self, key: str, is_present: bool | None = True) -> None:
        """Every request of the method has the fact; False says nothing."""
        if is_present and Fact(key) in self.variables:
            self.axioms.append(self.variables[Fact(key)][0])

    def _at_least(self, key: str, least: int) -> None:
        if Fact(key) in self.variables:
            self.axioms.append(self.variables[Fact(key)][1] >= least)

    def _wish(self, key: str, wish: Any) -> None:
        if Fact(key) in self.variables:
            self.wishes.append(wish(self.variables[Fact(key)][1]))

    # --- solutions ----------------------------------------------------------------------------------------------------

    def read(self, solution: Any) -> Solution:
        """The facts of a solution."""
        found: dict[Target, FieldValue] = {}
        for target, (is_present, value, kind) in self.variables.items():
            if z3.is_true(solution.eval(is_present, model_completion=True)):
                found[target] = _read(solution.eval(value, model_completion=True), kind)
        return Solution(
            facts=found,
            known=frozenset(self.variables),
            calls=dict(self.calls),
            canonical={
                types: z3.is_true(solution.eval(flag, model_completion=True)) for types, flag in self.canonical.items()
            },
            message_types=tuple(self.message_types),
            message_type=solution.eval(self._message_type, model_completion=True).as_long(),
        )

    def block(self, solution: Any) -> Any:
        """The formula of all other solutions."""
        parts = [flag for is_present, value, _ in self.variables.values() for flag in (is_present, value)]
        parts += [*self.canonical.values(), self._message_type]
        return z3.Or([part != solution.eval(part, model_completion=True) for part in parts])


class Solution:
    """Facts of a request that would be a solution."""

    def __init__(
        self,
        *,
        facts: Mapping[Target, FieldValue],
        known: frozenset[Target],
        calls: Mapping[bytes, tuple[str, ...]],
        canonical: Mapping[tuple[str, ...], bool],
        message_types: tuple[str, ...],
        message_type: int,
    ) -> None:
        self.facts = facts
        """What is known and absent here is absent from the request."""
        self.known = known
        """Facts that the policies speak of."""
        self.calls = calls
        """Types of the arguments of the functions that the policies speak of, by selector."""
        self.canonical = canonical
        self.encoded_type = message_types[message_type - 1] if 0 < message_type <= len(message_types) else None
        """Types of the message; None: any others."""

    def get(self, key: str) -> Any:
        return self.facts.get(Fact(key))


def literal(value: FieldValue, kind: ValueType) -> Any:
    """A value as the solver takes it.

    Raises:
        BeyondSolver: text with a character that its strings do not have.
    """
    if kind.kind == "address":
        return z3.IntVal(int(str(value), 16))
    if kind.kind == "bool":
        return z3.BoolVal(bool(value))
    if kind.kind in ("uint", "int"):
        return z3.IntVal(int(value))
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if any(ord(letter) > _HIGHEST for letter in text):
        raise BeyondSolver
    return z3.StringVal("".join(f"\\u{{{ord(letter):x}}}" for letter in text))


def item_value(kind: ValueType, item: str) -> FieldValue:
    """The value that an item of a condition set stands for."""
    if kind.kind in ("uint", "int"):
        return int(item)
    return bytes.fromhex(item[2:]) if kind.kind == "bytes" else item


def _compare(condition: Condition, value: Any) -> Any:
    kind, operator = condition.value_type, condition.operator
    wanted = [literal(one, kind) for one in condition.values]
    first = wanted[0]
    if operator in (Operator.EQ, Operator.IN):
        return _one_of(value, wanted)
    if operator in (Operator.NEQ, Operator.NOT_IN):
        return z3.Not(_one_of(value, wanted))
    if operator is Operator.CONTAINS:
        return z3.Contains(value, first)
    if operator is Operator.STARTS_WITH:
        return z3.PrefixOf(first, value)
    if operator is Operator.ENDS_WITH:
        return z3.SuffixOf(first, value)
    return {
        Operator.LT: value < first,
        Operator.LTE: value <= first,
        Operator.GT: value > first,
        Operator.GTE: value >= first,
    }[operator]


def _one_of(value: Any, wanted: Iterable[Any]) -> Any:
    return z3.Or([value == one for one in wanted])


def _variable(name: str, kind: ValueType) -> Any:
    if kind.kind == "bool":
        return z3.Bool(name)
    return z3.String(name) if kind.kind in ("string", "bytes") else z3.Int(name)


def _range(value: Any, kind: ValueType) -> list[Any]:
    if kind.kind == "address":
        return [value >= 0, value < 2**160]
    if kind.kind == "uint":
        return [value >= 0, value < 2**kind.size]
    if kind.kind == "int":
        return [value >= -(2 ** (kind.size - 1)), value < 2 ** (kind.size - 1)]
    if kind.kind != "bytes":
        return []
    byte = _range_of("\\u{0}", "\\u{ff}")
    size = [z3.Length(value) == kind.size] if kind.size else []
    return [z3.InRe(value, z3.Star(byte)), *size]


def _range_of(first: str, last: str) -> Any:
    return z3.Range(z3.StringVal(first), z3.StringVal(last))


def _read(value: Any, kind: ValueType) -> FieldValue:
    if kind.kind == "address":
        return f"0x{value.as_long():040x}"
    if kind.kind == "bool":
        return bool(z3.is_true(value))
    if kind.kind in ("uint", "int"):
        return int(value.as_long())
    text = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), value.as_string())
    return text.encode("latin-1") if kind.kind == "bytes" else text
