"""Conditions on EIP-712 messages: reads the types that a condition declares and finds the member that its field names.

A condition speaks only about requests whose types are exactly these: `encodeType` of the primary type and of all types
that it reaches must be the same, member for member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lockstep.chains.evm import encode_type
from lockstep.custody.policy.lists import element_type, split_name
from lockstep.custody.policy.types import MessageMember
from lockstep.custody.policy.values import UINT256, ValueType, atom_type

MAX_TYPES = 64
MAX_MEMBERS = 128
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ARRAYS = re.compile(r"(?:\[(?:[1-9][0-9]{0,4})?\])+$")
_DOMAIN = "EIP712Domain"

Types = Mapping[str, Mapping[str, str]]


def parse_types(raw: object) -> tuple[Types, str]:
    """Read `typed_data` of a condition: `{"types", "primary_type"}` (or `primaryType`).

    `EIP712Domain` may stand among the types, as clients write it; it plays no part: the domain has its own conditions.

    Raises:
        ValueError: not such a document, or a type that is not known.
    """
    if not isinstance(raw, Mapping):
        raise ValueError('expected {"types", "primary_type"}')
    primary_name = "primaryType" if "primaryType" in raw else "primary_type"
    if set(raw) != {"types", primary_name}:
        raise ValueError("expected exactly the members types and primary_type")
    given, primary = raw["types"], raw[primary_name]
    if not isinstance(given, Mapping) or len(given) > MAX_TYPES:
        raise ValueError(f"types: expected an object with at most {MAX_TYPES} types")
    types = {name: _members(name, members) for name, members in given.items() if name != _DOMAIN}
    if not isinstance(primary, str) or primary not in types:
        raise ValueError("primary_type: expected one of the types")
    for name, members in types.items():
        for member, kind in members.items():
            base = _ARRAYS.sub("", kind)
            if base not in types and atom_type(base) is None:
                raise ValueError(f"types.{name}.{member}: the type {kind[:64]!r} is not known")
    return types, primary


def resolve_member(types: Types, primary: str, field: str) -> tuple[MessageMember, ValueType]:
    """The member of the message that a dotted path names, and its type.

    Raises:
        ValueError: no such member, or it is not a single value.
    """
    path: list[str] = []
    kind: str | None = primary
    for whole in field.split("."):
        name, steps = split_name(whole)
        if kind is None or kind not in types:
            raise ValueError(f"{kind or 'a length'} has no members; {name[:80]!r} leads nowhere")
        if name not in types[kind]:
            raise ValueError(f"{name[:80]!r} is not a member of {kind}; expected one of: {', '.join(types[kind])}")
        path += [name, *steps]
        kind = element_type(types[kind][name], steps)
    value_type = UINT256 if kind is None else None if kind in types else atom_type(kind)
    if value_type is None:
        raise ValueError(f"{kind} is not a single value; compare a member, or the elements of a list with [*] or [any]")
    return MessageMember(encode_type(types, primary), tuple(path)), value_type


def _members(name: object, raw: object) -> dict[str, str]:
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or atom_type(name) is not None:
        raise ValueError(f"types: {str(name)[:64]!r} cannot be the name of a type")
    if not isinstance(raw, list | tuple) or len(raw) > MAX_MEMBERS:
        raise ValueError(f"types.{name}: expected a list of at most {MAX_MEMBERS} members")
    members: dict[str, str] = {}
    for entry in raw:
        if not isinstance(entry, Mapping) or set(entry) != {"name", "type"}:
            raise ValueError(f"types.{name}: a member has exactly a name and a type")
        member, kind = entry["name"], entry["type"]
        if not isinstance(member, str) or not _IDENTIFIER.fullmatch(member) or member in members:
            raise ValueError(f"types.{name}: a member name is not an identifier, or is used twice")
        if not isinstance(kind, str) or len(kind) > 192:
            raise ValueError(f"types.{name}.{member}: expected the name of a type")
        members[member] = kind
    return members
