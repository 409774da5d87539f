"""Requests and policies that the tests of policies and views share."""

from __future__ import annotations

from functools import cache
from typing import Any

from eth_account import Account

from lockstep.chains.evm import abi_encode_call
from lockstep.custody.policy import CompiledPolicy, SystemFacts, Verdict, compile_policy, evaluate, parse_policy
from lockstep.custody.view import parse_rpc, view_request

WALLET = "0x" + "11" * 20
TOKEN = "0x" + "aa" * 20
SHOP = "0x" + "bb" * 20
STRANGER = "0x" + "cc" * 20
CHAIN = "eip155:31337"
NOW = 1_772_000_000
SYSTEM = SystemFacts(current_unix_timestamp=NOW, wallet_id="wallet-1", app_id="app-1", user_id="user-1")

TRANSFER_ABI = [
    {
        "type": "function",
        "name": "transfer",
        "inputs": [{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}],
    }
]
APPROVE_ABI = [
    {
        "type": "function",
        "name": "approve",
        "inputs": [{"name": "spender", "type": "address"}, {"name": "amount", "type": "uint256"}],
    }
]
MAIL_TYPES = {
    "Mail": [
        {"name": "from", "type": "Person"},
        {"name": "contents", "type": "string"},
        {"name": "tip", "type": "uint128"},
    ],
    "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
}


def transfer_data(to: str = SHOP, amount: int = 25) -> str:
    return "0x" + abi_encode_call("transfer(address,uint256)", [to, amount]).hex()


def approve_data(spender: str = SHOP, amount: int = 25) -> str:
    return "0x" + abi_encode_call("approve(address,uint256)", [spender, amount]).hex()


def send(**transaction: Any) -> dict[str, Any]:
    """Body of an eth_sendTransaction."""
    return {"method": "eth_sendTransaction", "caip2": CHAIN, "params": {"transaction": transaction}}


def sign(**transaction: Any) -> dict[str, Any]:
    """Body of an eth_signTransaction with all its numbers."""
    numbers = {
        "nonce": 7,
        "gas_limit": "200000",
        "max_fee_per_gas": "0x3b9aca00",
        "max_priority_fee_per_gas": 1,
    }
    return {
        "method": "eth_signTransaction",
        "caip2": CHAIN,
        "params": {"transaction": {**numbers, **transaction}},
    }


def say(message: str, encoding: str = "utf-8") -> dict[str, Any]:
    """Body of a personal_sign."""
    return {"method": "personal_sign", "params": {"message": message, "encoding": encoding}}


def mail(tip: Any = "5", contents: str = "hi", domain: dict[str, Any] | None = None) -> dict[str, Any]:
    """Body of an eth_signTypedData_v4."""
    return {
        "method": "eth_signTypedData_v4",
        "params": {
            "typed_data": {
                "types": MAIL_TYPES,
                "primary_type": "Mail",
                "domain": {"name": "Post", "chainId": 31337, "verifyingContract": TOKEN} if domain is None else domain,
                "message": {"from": {"name": "Ann", "wallet": WALLET}, "contents": contents, "tip": tip},
            }
        },
    }


AUTHORITY = Account.from_key("0x" + "46" * 32)
"""Another account, whose authorizations a transaction may carry."""


def authorize(contract: str = TOKEN, chain_id: int = 31337, nonce: int = 7, **more: Any) -> dict[str, Any]:
    """Body of an eth_sign7702Authorization."""
    params = {"contract": contract, "chain_id": chain_id, "nonce": nonce, **more}
    return {"method": "eth_sign7702Authorization", "params": params}


@cache
def authorized(contract: str = TOKEN, chain_id: int = 31337, nonce: int = 7) -> dict[str, Any]:
    """An authorization that AUTHORITY has signed, as an authorization list takes it."""
    given = AUTHORITY.sign_authorization({"chainId": chain_id, "address": contract, "nonce": nonce})
    signature = {"y_parity": given.y_parity, "r": f"0x{given.r:064x}", "s": f"0x{given.s:064x}"}
    return {"contract": contract, "chain_id": chain_id, "nonce": nonce, **signature}


ACCOUNT = "0x" + "5a" * 20
"""A contract account that the wallet owns."""
ENTRY_POINT = "0x0000000071727de22e5e9d8baf0edac6f37da032"


def operate(call_data: str, **more: Any) -> dict[str, Any]:
    """Body of an eth_signUserOperation."""
    operation = {
        "sender": ACCOUNT,
        "nonce": 5,
        "call_data": call_data,
        "call_gas_limit": 10,
        "verification_gas_limit": 10,
        "pre_verification_gas": 5,
        "max_fee_per_gas": 1,
        "max_priority_fee_per_gas": 1,
        **more,
    }
    params = {"chain_id": 31337, "contract": ENTRY_POINT, "user_operation": operation}
    return {"method": "eth_signUserOperation", "params": params}


def executes(to: str = SHOP, value: int = 0, data: str = "0x") -> str:
    """Data by which an account makes one call."""
    return "0x" + abi_encode_call("execute(address,uint256,bytes)", [to, value, bytes.fromhex(data[2:])]).hex()


def executes_all(*calls: tuple[str, int, str]) -> str:
    """Data by which an account makes several calls."""
    targets, values, datas = zip(*calls, strict=True)
    raw = [bytes.fromhex(data[2:]) for data in datas]
    signature = "executeBatch(address[],uint256[],bytes[])"
    return "0x" + abi_encode_call(signature, [list(targets), list(values), raw]).hex()


def batch(*calls: dict[str, Any]) -> dict[str, Any]:
    """Body of a wallet_sendCalls."""
    return {"method": "wallet_sendCalls", "caip2": CHAIN, "params": {"calls": list(calls)}}


def condition(source: str, field: str, operator: str, value: Any, **extra: Any) -> dict[str, Any]:
    return {"field_source": source, "field": field, "operator": operator, "value": value, **extra}


def tx(field: str, operator: str, value: Any) -> dict[str, Any]:
    return condition("ethereum_transaction", field, operator, value)


def rule(action: str, method: str, *conditions: dict[str, Any], **extra: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"method": method, "action": action, "conditions": list(conditions), **extra}
    if action == "ALLOW" and not conditions:
        plain["unconditional"] = True
    return plain


def policy(*rules: dict[str, Any], name: str = "Test") -> dict[str, Any]:
    return {"version": "1.0", "name": name, "chain_type": "ethereum", "rules": list(rules)}


def compiled(*rules: dict[str, Any], policy_id: str = "policy-1", revision: int = 1) -> CompiledPolicy:
    return compile_policy(parse_policy(policy(*rules)), policy_id, revision)


def decide(body: dict[str, Any], *policies: CompiledPolicy, system: SystemFacts = SYSTEM) -> Verdict:
    return evaluate(view_request(parse_rpc(body), WALLET), policies, system)
