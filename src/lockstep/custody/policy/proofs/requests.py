"""Writes a solution as a request: the JSON body, with harmless values wherever the solution leaves something open."""

from __future__ import annotations

import re
from typing import Any

from lockstep.chains.evm import abi_encode
from lockstep.custody.policy.lists import Path
from lockstep.custody.policy.proofs.model import DATA, SELECTOR, TO, TRANSACTIONS, Solution
from lockstep.custody.policy.proofs.types import Example
from lockstep.custody.policy.types import CallArgument, Fact, MessageMember, SystemFacts
from lockstep.custody.view.types import FieldValue, Method

SOMEBODY = "0x" + "11" * 20
WALLET = "0x" + "22" * 20
WALLET_ID = "00000000-0000-7000-8000-000000000000"
NOW = 1_800_000_000
_STRUCT = re.compile(r"(\w+)\(([^)]*)\)")
_OTHER_TYPES = {"Other": [{"name": "number", "type": "uint256"}]}


class NotWritable(Exception):
    """The solution has no form as a request that we know."""


def write_request(method: str, app_id: str, solution: Solution) -> Example:
    """The request that a solution stands for.

    Raises:
        NotWritable: there is none that we can write.
    """
    if method in TRANSACTIONS:
        body = _transaction(method, solution)
    elif method == Method.PERSONAL_SIGN:
        body = {"method": method, "params": _message(solution)}
    elif method == Method.SIGN_TYPED_DATA:
        body = {"method": method, "params": {"typed_data": _typed_data(solution)}}
    else:
        raise NotWritable
    now, user, session = (
        solution.get(f"system.{name}") for name in ("current_unix_timestamp", "user_id", "session_id")
    )
    return Example(
        body=body,
        from_address=solution.get("ethereum_transaction.from") or WALLET,
        system=SystemFacts(
            current_unix_timestamp=NOW if now is None else now,
            wallet_id=solution.get("system.wallet_id") or WALLET_ID,
            app_id=app_id,
            user_id=user,
            session_id=session,
        ),
    )


def _transaction(method: str, solution: Solution) -> dict[str, Any]:
    def number(name: str, otherwise: int | None = None) -> int | None:
        found: int | None = solution.get(f"ethereum_transaction.{name}")
        return otherwise if found is None else found

    is_signed_now = method == Method.SIGN_TRANSACTION
    kind = number("type", 2)
    if kind != 2 and not (kind == 0 and is_signed_now):
        raise NotWritable
    to = solution.facts.get(TO, None if _knows(solution, TO) else SOMEBODY)
    data = _data(solution, to is not None)
    tip, fee = number("max_priority_fee_per_gas"), number("max_fee_per_gas")
    transaction: dict[str, Any] = {"value": number("value", 0), "data": "0x" + data.hex(), "to": to}
    if is_signed_now:
        transaction |= {"nonce": number("nonce", 0), "gas_limit": number("gas_limit", 1_000_000)}
        fee = max(10**9, tip or 0) if fee is None else fee
        tip = 0 if tip is None else tip
    else:
        transaction["gas_limit"] = number("gas_limit")
    fees = {"gas_price": fee} if kind == 0 else {"max_fee_per_gas": fee, "max_priority_fee_per_gas": tip}
    plain = {name: value for name, value in {**transaction, **fees}.items() if value is not None}
    return {
        "method": method,
        "caip2": f"eip155:{number('chain_id', 1)}",
        "params": {
            "transaction": {name: str(value) if isinstance(value, int) else value for name, value in plain.items()}
        },
    }


def _knows(solution: Solution, fact: Fact) -> bool:
    """Whether the search speaks of the fact at all."""
    return fact in solution.known


def _data(solution: Solution, has_recipient: bool) -> bytes:
    selector, data = solution.facts.get(SELECTOR), solution.facts.get(DATA)
    if isinstance(selector, bytes):
        types = solution.calls.get(selector)
        if types is not None and solution.canonical[types]:
            values: list[Any] = [_plain_value(kind) for kind in types]
            for target, value in solution.facts.items():
                if isinstance(target, CallArgument) and target.selector == selector:
                    _put(values, target.path, value)
            return selector + abi_encode(types, [_frozen(value) for value in values])
        if data is None:
            return selector if types is None else selector + b"\x01"
    if isinstance(data, bytes):
        return data
    return b"" if has_recipient else b"\x00"


def _plain_value(kind: str) -> Any:
    """A value of an ABI type that means as little as possible; structs as lists."""
    if kind.endswith("]"):
        start = kind.rindex("[")
        return [_plain_value(kind[:start]) for _ in range(int(kind[start + 1 : -1] or 0))]
    if kind.startswith("("):
        return [_plain_value(part) for part in _parts(kind)]
    if kind == "address":
        return SOMEBODY
    if kind == "bool":
        return False
    if kind == "string":
        return ""
    return bytes(int(kind[5:] or 0)) if kind.startswith("bytes") else 0


def _put(values: Any, path: Path, value: FieldValue) -> None:
    for at in path[:-1]:
        values = values[at]
    values[path[-1]] = value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


def _parts(kind: str) -> list[str]:
    parts, depth, start, inner = [], 0, 0, kind[1:-1]
    for at, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(inner[start:at])
            start = at + 1
    return [*parts, inner[start:]]


def _message(solution: Solution) -> dict[str, Any]:
    content, length = (solution.get(f"ethereum_message.{name}") for name in ("content", "byte_length"))
    if content is not None:
        return {"message": content, "encoding": "utf-8"}
    if _knows(solution, Fact("ethereum_message.content")):  # bytes that are no text
        return {"message": "0x" + "ff" * (length or 1), "encoding": "hex"}
    return {"message": "a" * (1 if length is None else length), "encoding": "utf-8"}


def _typed_data(solution: Solution) -> dict[str, Any]:
    names = {"chain_id": "chainId", "verifying_contract": "verifyingContract"}
    domain = {
        names.get(name, name): _json(value)
        for name in ("name", "version", "chain_id", "verifying_contract", "salt")
        if (value := solution.get(f"ethereum_typed_data_domain.{name}")) is not None
    }
    if not domain:  # there is always one member
        free = [
            name for name in ("name", "version") if not _knows(solution, Fact(f"ethereum_typed_data_domain.{name}"))
        ]
        if not free:
            raise NotWritable
        domain = {free[0]: "1"}
    if solution.encoded_type is None:
        return {"types": _OTHER_TYPES, "primary_type": "Other", "domain": domain, "message": {"number": "0"}}
    structs = {
        name: [(part.rpartition(" ")[2], part.rpartition(" ")[0]) for part in members.split(",") if part]
        for name, members in _STRUCT.findall(solution.encoded_type)
    }
    primary = solution.encoded_type.partition("(")[0]
    message = _plain_member(primary, structs, 0)
    for target, value in solution.facts.items():
        if isinstance(target, MessageMember) and target.encoded_type == solution.encoded_type:
            place = message
            for name in target.path[:-1]:
                place = place[name]
            place[target.path[-1]] = _json(value)
    types = {name: [{"name": each, "type": kind} for each, kind in members] for name, members in structs.items()}
    return {"types": types, "primary_type": primary, "domain": domain, "message": message}


def _plain_member(kind: str, structs: dict[str, list[tuple[str, str]]], depth: int) -> Any:
    if depth > 16:  # a type that holds itself
        raise NotWritable
    if kind.endswith("]"):
        start = kind.rindex("[")
        return [_plain_member(kind[:start], structs, depth + 1) for _ in range(int(kind[start + 1 : -1] or 0))]
    if kind in structs:
        return {name: _plain_member(inner, structs, depth + 1) for name, inner in structs[kind]}
    return _json(_plain_value(kind))


def _json(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | bytes):
        return value
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
