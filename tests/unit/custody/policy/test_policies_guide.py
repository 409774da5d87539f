"""The examples of the guide are policies, and they do what the guide says about them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from policy_samples import SYSTEM, WALLET, decide, rule, send

from lockstep.chains.evm import Contract, abi_encode_call
from lockstep.custody.policy import CompiledPolicy, compile_policy, parse_policy
from lockstep.custody.policy.fields import FIELDS, METHODS, SOURCES
from lockstep.custody.policy.types import Operator, ReasonCode

GUIDE = Path(__file__).parents[4] / "docs" / "guide" / "policies.md"
TOKEN = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
FACTORY = "0x8a791620dd6260079bf849dc5567adc3f2fdc318"
SHOP = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
UNIT = 10**18


def examples() -> tuple[dict[str, Any], dict[str, Any]]:
    found = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert len(found) == 2
    return found[0], found[1]


def compiled(document: dict[str, Any], *more: dict[str, Any]) -> CompiledPolicy:
    return compile_policy(parse_policy({**document, "rules": [*document["rules"], *more]}), document["name"], 1)


def token_call(signature: str, other: str, amount: int) -> dict[str, Any]:
    return send(to=TOKEN, data="0x" + abi_encode_call(signature, [other, amount]).hex())


def take(amount: int, deposit: int = 10**16, token: str = TOKEN) -> dict[str, Any]:
    factory = Contract.load("EscrowFactory")
    order = {
        "maker": SHOP,
        "sourceToken": token,
        "sourceAmount": amount,
        "destination": {"chain": "eip155:31338", "factory": b"", "token": b"", "receiver": b""},
        "price": {"startTime": 0, "duration": 0, "endAmount": 1, "initialRateBump": 0, "points": []},
        "deposits": {"source": 0, "destination": 0},
        "timeLocks": {part["name"]: 0 for part in _components(factory, "timeLocks")},
        "hashlockInfo": bytes(32),
        "allowedTakers": [],
        "nonce": 0,
        "expiry": 0,
        "extensionHash": bytes(32),
    }
    return send(to=FACTORY, value=str(deposit), data="0x" + factory.encode("createSource", [order, b"", b""]).hex())


def _components(factory: Contract, name: str) -> Any:
    order = factory.function("createSource").inputs[0]["components"]
    return next(part["components"] for part in order if part["name"] == name)


def test_guide__wallet_example__allows_and_denies_what_it_says() -> None:
    wallet = compiled(examples()[0])

    assert decide(token_call("transfer(address,uint256)", SHOP, 100 * UNIT), wallet).allowed
    assert not decide(token_call("transfer(address,uint256)", SHOP, 100 * UNIT + 1), wallet).allowed
    assert not decide(token_call("transfer(address,uint256)", WALLET, 1), wallet).allowed
    assert decide(token_call("approve(address,uint256)", FACTORY, 5_000 * UNIT), wallet).allowed
    assert not decide(token_call("approve(address,uint256)", SHOP, 1), wallet).allowed
    for body in (send(to=SHOP, value="1"), send(data="0x6001600055")):
        assert decide(body, wallet).reason_code is ReasonCode.DENIED_BY_RULE


def test_guide__wallet_example__reason_is_the_one_that_is_quoted() -> None:
    verdict = decide(token_call("transfer(address,uint256)", SHOP, 250 * UNIT), compiled(examples()[0]))

    assert verdict.reason in " ".join(GUIDE.read_text(encoding="utf-8").split())


def test_guide__session_example__is_narrower_than_the_wallet() -> None:
    document, own = examples()
    wallet, session = compiled(document, rule("ALLOW", "eth_sendTransaction", _to_factory())), compiled(own)

    assert decide(take(500 * UNIT), session, wallet).allowed
    assert not decide(take(500 * UNIT), session, compiled(document)).allowed
    assert not decide(take(501 * UNIT), session, wallet).allowed
    assert not decide(take(1, token=SHOP), session, wallet).allowed
    assert not decide(take(1, deposit=10**16 + 1), session, wallet).allowed
    assert not decide(token_call("transfer(address,uint256)", SHOP, 1), session, wallet).allowed
    assert not decide(token_call("approve(address,uint256)", FACTORY, 501 * UNIT), session, wallet).allowed
    late = type(SYSTEM)(current_unix_timestamp=1_893_456_000, wallet_id="w", app_id="a")
    assert not decide(take(500 * UNIT), session, wallet, system=late).allowed


def _to_factory() -> dict[str, Any]:
    return {"field_source": "ethereum_transaction", "field": "to", "operator": "eq", "value": FACTORY}


def test_guide__tables__name_every_method_source_field_and_operator() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    names = [*METHODS, *SOURCES, *Operator, *ReasonCode, *(field for fields in FIELDS.values() for field in fields)]

    assert [name for name in names if name != "allowed" and f"`{name}`" not in text] == []
