"""One decision by a policy of 20 rules, compiled and warm, against reading its document once from JSON.

The rule that allows stands last, and every other one fails at its last condition. In the second round the conditions are
on the arguments of calls, and the arguments are decoded anew each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.figures import Figure
from lockstep.chains.evm import Address, abi_encode_call
from lockstep.custody.policy import CompiledPolicy, SystemFacts, compile_policy, evaluate, parse_policy
from lockstep.custody.view import RequestView, parse_rpc, view_request

RULES, ROUNDS, REPEATS = 20, 15, 400
WALLET, TOKEN = Address("0x" + "11" * 20), "0x" + "aa" * 20
SYSTEM = SystemFacts(current_unix_timestamp=1_800_000_000, wallet_id="wallet", app_id="app", user_id="user")
ABI = [
    {
        "type": "function",
        "name": "transfer",
        "inputs": [{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}],
    }
]


async def run() -> list[Figure]:
    plain, calls = _document(_plain_conditions), _document(_call_conditions)
    data = "0x" + abi_encode_call("transfer(address,uint256)", [_payee(RULES - 1), 5]).hex()
    plain_us = _microseconds(_decide(plain, _view(to=_payee(RULES - 1), value="5"), is_decoded=False))
    calls_us = _microseconds(_decide(calls, _view(to=TOKEN, data=data), is_decoded=True))
    text = json.dumps(plain)
    baseline = _microseconds(lambda: json.loads(text))
    return [
        Figure(
            name="policy",
            value=plain_us,
            unit="us",
            baseline=baseline,
            ratio=baseline / plain_us,
            wanted={"value": 40, "with_abi_us": 150},
            more={"with_abi_us": round(calls_us, 1), "rules": RULES},
        )
    ]


def _document(conditions: Callable[[int], list[dict[str, Any]]]) -> dict[str, Any]:
    rules = [
        {"method": "eth_sendTransaction", "action": "ALLOW", "conditions": conditions(number)}
        for number in range(RULES - 1, -1, -1)
    ]
    rules.append(rules.pop(0))  # the payee of the last rule is the one that is paid
    return {"version": "1.0", "name": "Bench", "chain_type": "ethereum", "rules": rules}


def _payee(number: int) -> str:
    return f"0x{number + 1:040x}"


def _plain_conditions(number: int) -> list[dict[str, Any]]:
    return [
        _condition("ethereum_transaction", "chain_id", "eq", "31337"),
        _condition("ethereum_transaction", "value", "lte", "100"),
        _condition("ethereum_transaction", "to", "eq", _payee(number)),
    ]


def _call_conditions(number: int) -> list[dict[str, Any]]:
    return [
        _condition("ethereum_transaction", "to", "eq", TOKEN),
        _condition("ethereum_calldata", "transfer.amount", "lte", "100", abi=ABI),
        _condition("ethereum_calldata", "transfer.to", "eq", _payee(number), abi=ABI),
    ]


def _condition(source: str, field: str, operator: str, value: str, **more: Any) -> dict[str, Any]:
    return {"field_source": source, "field": field, "operator": operator, "value": value, **more}


def _view(**transaction: str) -> RequestView:
    body = {"method": "eth_sendTransaction", "caip2": "eip155:31337", "params": {"transaction": transaction}}
    return view_request(parse_rpc(body), WALLET)


def _decide(document: dict[str, Any], view: RequestView, *, is_decoded: bool) -> Callable[[], object]:
    policies: list[CompiledPolicy] = [compile_policy(parse_policy(document), "policy", 1)]
    verdict = evaluate(view, policies, SYSTEM)
    if verdict.rule_id != f"rule-{RULES}":
        raise RuntimeError(f"the last rule should allow; the verdict was {verdict.reason}")

    def decide() -> object:
        if is_decoded:
            view._arguments.clear()  # a view remembers what it decoded; the next request is another one
        return evaluate(view, policies, SYSTEM)

    return decide


def _microseconds(work: Callable[[], object]) -> float:
    """Of one call: the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(REPEATS):
            work()
        rounds.append((time.perf_counter() - began) / REPEATS * 1e6)
    return median(rounds)
