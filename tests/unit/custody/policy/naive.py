"""A second evaluator, as simple as it can be, that shares no code with the first.

It reads the caller's JSON and the policy's JSON directly, knows no compilation, index, cache or short cut, and is
slow. Where both disagree, one of them is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import eth_abi
from eth_utils import keccak
from policy_samples import ACCOUNT, AUTHORITY

Fact = tuple[str, Any] | None
"""(kind, value), or None where there is no such fact."""


def decide(
    body: dict[str, Any],
    wallet: str,
    documents: list[dict[str, Any]],
    system: dict[str, Any],
    sets: dict[str, list[str]],
) -> str:
    """The reason code of the decision. `sets` are the items of condition sets by id, as they were written."""
    for part in parts(body):
        code = decide_one(part, wallet, documents, system, sets)
        if code != "allowed":
            return code
    return "allowed"


def parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What a request stands for; all of it must be allowed."""
    if body["method"] == "wallet_sendCalls":
        return [{**body, "call": call} for call in body["params"]["calls"]]
    if body["method"] == "eth_signUserOperation":
        calls = inner_calls(bytes.fromhex(body["params"]["user_operation"]["call_data"][2:]))
        return [{**body, "call": call} for call in calls or [None]]
    carried = body["params"].get("transaction", {}).get("authorization_list", [])
    return [
        body,
        *(
            {
                "method": "eth_sign7702Authorization",
                "authority": AUTHORITY.address.lower(),
                "params": {name: one[name] for name in ("contract", "chain_id", "nonce")},
            }
            for one in carried
        ),
    ]


def inner_calls(data: bytes) -> list[dict[str, Any]]:
    """The calls of an account by the two functions that the tests use; empty where they cannot be read."""
    kinds = {
        "execute(address,uint256,bytes)": ["address", "uint256", "bytes"],
        "executeBatch(address[],uint256[],bytes[])": ["address[]", "uint256[]", "bytes[]"],
    }
    for signature, types in kinds.items():
        if keccak(text=signature)[:4] == data[:4]:
            try:
                values = eth_abi.decode(types, data[4:])
            except Exception:
                return []
            if eth_abi.encode(types, values) != data[4:]:
                return []
            listed = [values] if signature.startswith("execute(") else list(zip(*values, strict=True))
            return [{"to": to, "value": value, "data": "0x" + one.hex()} for to, value, one in listed]
    return []


def called(body: dict[str, Any]) -> dict[str, Any] | None:
    """The transaction, or the call of an account, that a request is about."""
    if body["method"] in ("eth_signUserOperation", "wallet_sendCalls"):
        call: dict[str, Any] | None = body["call"]
        return call
    transaction: dict[str, Any] | None = body["params"].get("transaction")
    return transaction


def decide_one(
    body: dict[str, Any],
    wallet: str,
    documents: list[dict[str, Any]],
    system: dict[str, Any],
    sets: dict[str, list[str]],
) -> str:
    if not documents:
        return "no_policy"
    for document in documents:
        answers = [
            (rule["action"], [answer(one, body, wallet, system, sets) for one in rule["conditions"]])
            for rule in document["rules"]
            if rule["method"] in ("*", body["method"]) and is_meant(rule, body)
        ]
        if any(action == "DENY" and False not in found for action, found in answers):
            return "denied_by_rule"
        if not any(action == "ALLOW" and all(one is True for one in found) for action, found in answers):
            return "no_matching_rule"
    return "allowed"


def is_meant(rule: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether an ALLOW rule was written for this kind of request at all."""
    if rule["action"] == "DENY":
        return True
    fields = {(one["field_source"], one["field"]) for one in rule["conditions"]}
    if body["method"] == "secp256k1_sign":
        return rule["method"] != "*"
    if body["method"] == "eth_sign7702Authorization":
        names = [
            one["value"] if isinstance(one["value"], list) else [one["value"]]
            for one in rule["conditions"]
            if one["field_source"] == "ethereum_7702_authorization"
            and one["field"] == "chain_id"
            and one["operator"] in ("eq", "in")
        ]
        zero = any(read("number", value) == 0 for found in names for value in found)
        return rule["method"] != "*" and (read("number", body["params"]["chain_id"]) != 0 or zero)
    if "blob_versioned_hashes" in body["params"].get("transaction", {}):
        bounds = ("ethereum_transaction", "max_fee_per_gas") in fields
        named = {("ethereum_transaction", "type"), ("ethereum_transaction", "max_fee_per_blob_gas")} & fields
        return not bounds or bool(named)
    return True


def answer(
    condition: dict[str, Any],
    body: dict[str, Any],
    wallet: str,
    system: dict[str, Any],
    sets: dict[str, list[str]],
) -> bool | None:
    """True, False, or None for "cannot be decided"."""
    return compare(look_up(condition, body, wallet, system), condition, sets)


def compare(fact: Fact, condition: dict[str, Any], sets: dict[str, list[str]]) -> bool | None:
    """A fact against what a condition wants; of a list ("every" or "some", the facts inside)."""
    if fact is None:
        return None
    kind, value = fact
    if kind in ("every", "some"):
        answers = [compare(one, condition, sets) for one in value]
        if kind == "every":
            return False if False in answers else None if None in answers else True
        return True if True in answers else None if None in answers else False
    operator = condition["operator"]
    given = condition["value"]
    if operator.endswith("condition_set"):
        if given not in sets:
            return None
        return (value in [read(kind, item) for item in sets[given]]) == (operator == "in_condition_set")
    wanted = [read(kind, one) for one in given] if isinstance(given, list) else [read(kind, given)]
    first = wanted[0]
    if operator == "eq":
        return bool(value == first)
    if operator == "neq":
        return bool(value != first)
    if operator == "in":
        return value in wanted
    if operator == "not_in":
        return value not in wanted
    if operator == "lt":
        return bool(value < first)
    if operator == "lte":
        return bool(value <= first)
    if operator == "gt":
        return bool(value > first)
    if operator == "gte":
        return bool(value >= first)
    if operator == "contains":
        return first in value
    if operator == "starts_with":
        return bool(value[: len(first)] == first)
    if operator == "ends_with":
        return bool(value[len(value) - len(first) :] == first) if len(first) <= len(value) else False
    raise AssertionError(operator)


def read(kind: str, text: Any) -> Any:
    """A value as it stands in JSON."""
    if kind == "number":
        return text if isinstance(text, int) else int(text, 16) if text.startswith("0x") else int(text)
    if kind == "address":
        return text.lower()
    if kind == "bytes":
        return bytes.fromhex(text[2:])
    return text


def look_up(condition: dict[str, Any], body: dict[str, Any], wallet: str, system: dict[str, Any]) -> Fact:
    source, field = condition["field_source"], condition["field"]
    if source == "system":
        if field in ("hour_utc", "weekday_utc"):
            moment = datetime.fromtimestamp(system["current_unix_timestamp"], UTC)
            return "number", moment.hour if field == "hour_utc" else moment.isoweekday()
        value = system.get(field)
        return None if value is None else ("number" if field == "current_unix_timestamp" else "text", value)
    if source == "ethereum_transaction":
        return transaction_fact(field, body, wallet)
    if source == "ethereum_calldata":
        return call_fact(field, condition["abi"], body)
    if source == "ethereum_user_operation":
        return operation_fact(field, body)
    if source == "ethereum_7702_authorization":
        return authorization_fact(field, body, wallet)
    if source in ("ethereum_message", "message"):
        return message_fact(field, body)
    if source == "ethereum_typed_data_domain":
        return domain_fact(field, body)
    return typed_message_fact(field, condition["typed_data"], body)


def transaction_fact(field: str, body: dict[str, Any], wallet: str) -> Fact:
    of_account = body["method"] == "eth_signUserOperation"
    if of_account and field == "from":
        return "address", ACCOUNT
    if of_account and field == "chain_id":
        return "number", 31337
    tx = called(body)
    if tx is None or (field == "type" and "call" in body):
        return None
    if field == "from":
        return "address", wallet
    if field == "to":
        return None if tx.get("to") is None else ("address", tx["to"].lower())
    if field == "data":
        return "bytes", bytes.fromhex(tx.get("data", "0x")[2:])
    if field == "function_selector":
        data = bytes.fromhex(tx.get("data", "0x")[2:])
        return None if tx.get("to") is None or len(data) < 4 else ("bytes", data[:4])
    if field == "chain_id":
        return "number", int(body["caip2"].split(":")[1])
    if field == "value":
        return "number", read("number", tx.get("value", 0))
    if field == "type":
        if "authorization_list" in tx:
            return "number", 4
        if "blob_versioned_hashes" in tx:
            return "number", 3
        if "gas_price" not in tx:
            return "number", 2
        return "number", 1 if "access_list" in tx else 0
    if field == "blob_count":
        return ("number", len(tx["blob_versioned_hashes"])) if "blob_versioned_hashes" in tx else None
    if field == "max_fee_per_gas" and "gas_price" in tx:
        return "number", read("number", tx["gas_price"])
    return None if field not in tx else ("number", read("number", tx[field]))


def operation_fact(field: str, body: dict[str, Any]) -> Fact:
    if body["method"] != "eth_signUserOperation":
        return None
    operation = body["params"]["user_operation"]
    if field == "max_cost":
        gas = sum(operation.get(name, 0) for name in operation if name.endswith("gas_limit"))
        return "number", (gas + operation["pre_verification_gas"]) * operation["max_fee_per_gas"]
    if field == "entry_point":
        return "address", body["params"]["contract"].lower()
    if field in ("sender", "factory", "paymaster"):
        return ("address", operation[field].lower()) if field in operation else None
    if field == "call_data":
        return "bytes", bytes.fromhex(operation[field][2:])
    return "number", operation[field]


def authorization_fact(field: str, body: dict[str, Any], wallet: str) -> Fact:
    if body["method"] != "eth_sign7702Authorization":
        return None
    if field == "authority":
        return "address", body.get("authority", wallet)
    value = body["params"][field]
    if field == "contract":
        return "address", value.lower()
    later = 1 if field == "nonce" and "executor" in body["params"] else 0
    return "number", read("number", value) + later


def call_fact(field: str, abi: list[dict[str, Any]], body: dict[str, Any]) -> Fact:
    tx = called(body)
    if tx is None or tx.get("to") is None:
        return None
    data = bytes.fromhex(tx.get("data", "0x")[2:])
    for function in abi:
        types = [part["type"] for part in function["inputs"]]
        if keccak(text=f"{function['name']}({','.join(types)})")[:4] != data[:4]:
            continue
        try:
            values = eth_abi.decode(types, data[4:])
        except Exception:
            return None
        if eth_abi.encode(types, values) != data[4:]:
            return None
        if field == "function_name":
            return "text", function["name"]
        for part, value in zip(function["inputs"], values, strict=True):
            if field == f"{function['name']}.{part['name']}":
                return kind_of(part["type"]), value
            if field.startswith(f"{function['name']}.{part['name']}["):
                if field.endswith("[count]"):
                    return "number", len(value)
                facts = [(kind_of(part["type"][: part["type"].rindex("[")]), one) for one in value]
                return "every" if field.endswith("[*]") else "some", facts
    return None


def message_fact(field: str, body: dict[str, Any]) -> Fact:
    if body["method"] != "personal_sign":
        return None
    params = body["params"]
    is_hex = params.get("encoding") == "hex"
    content = bytes.fromhex(params["message"][2:]) if is_hex else params["message"].encode()
    if field == "byte_length":
        return "number", len(content)
    try:
        return "text", content.decode()
    except UnicodeDecodeError:
        return None


def domain_fact(field: str, body: dict[str, Any]) -> Fact:
    typed = body["params"].get("typed_data")
    if typed is None:
        return None
    name = {"chain_id": "chainId", "verifying_contract": "verifyingContract"}.get(field, field)
    if name not in typed["domain"]:
        return None
    kind = {"chainId": "number", "verifyingContract": "address", "salt": "bytes"}.get(name, "text")
    return kind, read(kind, typed["domain"][name])


def typed_message_fact(field: str, declared: dict[str, Any], body: dict[str, Any]) -> Fact:
    typed = body["params"].get("typed_data")
    if typed is None or typed["types"] != declared["types"] or typed["primary_type"] != declared["primary_type"]:
        return None
    return inside(field.split("."), typed["primary_type"], typed["message"], typed["types"])


def inside(names: list[str], kind: str, value: Any, types: dict[str, Any]) -> Fact:
    """What dotted names lead to. Lists become ("every" or "some", the facts inside)."""
    if not names:
        return kind_of(kind), read(kind_of(kind), value)
    name, _, quantifier = names[0].partition("[")
    kind = next(member["type"] for member in types[kind] if member["name"] == name)
    value = value[name]
    if not quantifier:
        return inside(names[1:], kind, value, types)
    if quantifier == "count]":
        return "number", len(value)
    element = kind[: kind.rindex("[")]
    facts = [inside(names[1:], element, one, types) for one in value]
    return "every" if quantifier == "*]" else "some", facts


def kind_of(name: str) -> str:
    if "int" in name:
        return "number"
    return name if name == "address" else "bytes" if name.startswith("bytes") else "text"
