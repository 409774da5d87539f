"""Conditions on calls: reads the ABI that a condition carries and finds the argument that its field names.

A field is `function_name`, `<function>.<parameter>` or `<function>.<parameter>.<member>`; `<function>` is a name, or a
full signature where the name is overloaded; a parameter without a name is named by its position. What is said of a list
stands behind its name; see `lists`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.chains.evm import function_selector
from lockstep.custody.policy.lists import element_type, split_name
from lockstep.custody.policy.types import CallArgument
from lockstep.custody.policy.values import UINT256, ValueType, atom_type

MAX_FUNCTIONS = 64
MAX_PARAMETERS = 64
MAX_DEPTH = 6
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ARRAY = re.compile(r"(.+?)((?:\[(?:[1-9][0-9]{0,3})?\]){1,4})")
_OTHER_ENTRIES = ("event", "error", "constructor", "fallback", "receive")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, or member of a struct."""

    name: str
    kind: str
    """Canonical type; structs as their tuple."""
    members: tuple[Parameter, ...]
    is_array: bool


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a condition's ABI."""

    name: str
    parameters: tuple[Parameter, ...]
    signature: str
    selector: bytes

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(parameter.kind for parameter in self.parameters)


def parse_abi(raw: object) -> tuple[Function, ...]:
    """The functions of an ABI; events, errors and the like are passed over, for they take no part in calls.

    Raises:
        ValueError: not an ABI, too large, or two functions with one selector.
    """
    if not isinstance(raw, list | tuple) or not 0 < len(raw) <= 4 * MAX_FUNCTIONS:
        raise ValueError("expected the JSON ABI, a list of entries")
    functions = []
    for index, entry in enumerate(raw):
        if not isinstance(entry, Mapping):
            raise ValueError(f"entry {index}: expected an object")
        if entry.get("type") in _OTHER_ENTRIES:
            continue
        if entry.get("type") != "function":
            raise ValueError(f'entry {index}: expected "type": "function"')
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"entry {index}: expected the name of a function")
        parameters = _parameters(entry.get("inputs"), f"{name}.inputs", 0)
        signature = f"{name}({','.join(parameter.kind for parameter in parameters)})"
        functions.append(Function(name, parameters, signature, function_selector(signature)))
    if not 0 < len(functions) <= MAX_FUNCTIONS:
        raise ValueError(f"expected 1 to {MAX_FUNCTIONS} functions, was {len(functions)}")
    if len({function.selector for function in functions}) != len(functions):
        raise ValueError("two functions share one selector; nobody could tell them apart")
    return tuple(functions)


def find_function(functions: Sequence[Function], name: str) -> Function:
    """The function of this name or full signature.

    Raises:
        ValueError: none, or an overloaded name.
    """
    found = [function for function in functions if name in (function.name, function.signature)]
    if not found:
        raise ValueError(f"{name[:80]!r} is not a function of the abi")
    if len(found) > 1:
        raise ValueError(f"{name!r} is overloaded; use one of {', '.join(function.signature for function in found)}")
    return found[0]


def resolve_argument(functions: Sequence[Function], field: str) -> tuple[CallArgument, ValueType]:
    """The argument that a field names, and its type.

    Raises:
        ValueError: no such function, parameter or member, or it is not a single value.
    """
    end = field.find(").") + 1 if "(" in field else field.find(".")
    if end <= 0:
        raise ValueError("expected function_name or <function>.<parameter>")
    function = find_function(functions, field[:end])
    names = field[end + 1 :].split(".")
    path: list[int | str] = []
    members: tuple[Parameter, ...] = function.parameters
    kind: str | None = ""
    for number, whole in enumerate(names):
        name, steps = split_name(whole)
        if number and (kind is None or kind.endswith("]") or not members):
            raise ValueError(f"{names[number - 1][:80]!r} has no member {name[:80]!r}")
        matching = [at for at, member in enumerate(members) if name == (member.name or str(at))]
        if len(matching) != 1:
            shown = ", ".join(member.name or str(at) for at, member in enumerate(members)) or "none"
            raise ValueError(f"{name[:80]!r} is not a parameter of {function.signature}; expected one of: {shown}")
        found = members[matching[0]]
        path += [matching[0], *steps]
        kind, members = element_type(found.kind, steps), found.members
    value_type = UINT256 if kind is None else atom_type(kind)
    if value_type is None:
        raise ValueError(f"{kind} is not a single value; compare a member, or the elements of a list with [*] or [any]")
    return CallArgument(function.selector, function.types, tuple(path)), value_type


def _parameters(raw: object, at: str, depth: int) -> tuple[Parameter, ...]:
    if not isinstance(raw, list | tuple) or len(raw) > MAX_PARAMETERS or depth > MAX_DEPTH:
        raise ValueError(f"{at}: expected a list of at most {MAX_PARAMETERS} parameters, {MAX_DEPTH} levels deep")
    return tuple(_parameter(entry, f"{at}[{index}]", depth) for index, entry in enumerate(raw))


def _parameter(entry: Any, at: str, depth: int) -> Parameter:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise ValueError(f"{at}: expected an object with a type")
    name = entry.get("name", "")
    if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
        raise ValueError(f"{at}: expected a parameter name, or an empty one")
    array = _ARRAY.fullmatch(entry["type"])
    base, suffix = (array.group(1), array.group(2)) if array else (entry["type"], "")
    if base != "tuple":
        if atom_type(base) is None or "components" in entry:
            raise ValueError(f"{at}: {entry['type'][:80]!r} is not a type of the ABI in its canonical form")
        return Parameter(name, entry["type"], (), bool(suffix))
    members = _parameters(entry.get("components"), f"{at}.components", depth + 1)
    if not members:
        raise ValueError(f"{at}.components: a struct has at least one member")
    kind = f"({','.join(member.kind for member in members)}){suffix}"
    return Parameter(name, kind, members, bool(suffix))
