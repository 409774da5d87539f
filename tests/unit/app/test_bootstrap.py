"""The coordinator's policy does what its name says, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.app.bootstrap import coordinator_policy
from lockstep.chains.evm import Contract
from lockstep.custody.policy import Outcome, SystemFacts, compile_policy, evaluate, parse_policy
from lockstep.custody.view import parse_rpc, view_request

WALLET, ESCROW, FACTORY = ("0x" + pair * 20 for pair in ("11", "22", "33"))
SYSTEM = SystemFacts(current_unix_timestamp=1, wallet_id="w", app_id="a", user_id=None)
POLICY = coordinator_policy({"eip155:31337": FACTORY, "eip155:31338": FACTORY})


def data_of(contract: str, function: str) -> str:
    return "0x" + Contract.load(contract).selector(function).hex() + "00" * 64


PUBLIC_WITHDRAW = data_of("DestinationEscrow", "publicWithdraw")


def is_allowed(chain: str = "eip155:31337", method: str = "eth_sendTransaction", **transaction: Any) -> bool:
    body = {"method": method, "caip2": chain, "params": {"transaction": transaction}}
    policy = compile_policy(parse_policy(POLICY), "policy", 1)
    return evaluate(view_request(parse_rpc(body), WALLET), [policy], SYSTEM).decision is Outcome.ALLOW


@pytest.mark.parametrize(
    ("contract", "function"),
    [
        ("SourceEscrow", "publicWithdraw"),
        ("SourceEscrow", "publicCancel"),
        ("DestinationEscrow", "publicWithdraw"),
    ],
)
@pytest.mark.parametrize("chain", ["eip155:31337", "eip155:31338"])
def test_coordinator_policy__public_duty__allowed(chain: str, contract: str, function: str) -> None:
    assert is_allowed(chain, to=ESCROW, data=data_of(contract, function))


@pytest.mark.parametrize(
    "request_",
    [
        {"to": ESCROW, "value": "1"},
        {"to": ESCROW, "value": "1", "data": PUBLIC_WITHDRAW},
        {"to": FACTORY, "data": PUBLIC_WITHDRAW},
        {"chain": "eip155:1", "to": ESCROW, "data": PUBLIC_WITHDRAW},
        {"to": ESCROW, "data": data_of("SourceEscrow", "withdraw")},
        {"to": ESCROW, "data": data_of("SourceEscrow", "rescueFunds")},
        {"to": ESCROW, "data": data_of("DemoToken", "transfer")},
        {"data": PUBLIC_WITHDRAW},
    ],
)
def test_coordinator_policy__anything_else__denied(request_: dict[str, Any]) -> None:
    assert not is_allowed(**request_)
