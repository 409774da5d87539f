"""What wallets sign beside payments, taken to a real chain: does it do there what the answer said?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.journeys.support import ETHER, FIRST, GWEI, App, Deployment, allow, condition, payment, until

from lockstep.chains.evm import Contract

ARTIFACTS = Path(__file__).parents[2] / "contracts" / "evm" / "test-artifacts"
SHOP = "0x00000000000000000000000000000000000f00e7"
CODE = "0x" + "c0" * 20
AUTHORIZE = "eth_sign7702Authorization"


def sign(nonce: int, **transaction: Any) -> dict[str, Any]:
    plain = {"to": SHOP, "value": "1", "nonce": nonce, "gas_limit": 100_000}
    return {"method": "eth_signTransaction", "caip2": FIRST, "params": {"transaction": {**plain, **transaction}}}


FEES = {"max_fee_per_gas": str(3 * GWEI), "max_priority_fee_per_gas": str(GWEI)}


def taken(deployment: Deployment, raw: str) -> dict[str, Any]:
    """The receipt of signed bytes that anybody sends."""
    sent = deployment.ask("eth_sendRawTransaction", raw)
    found: dict[str, Any] = until(lambda: deployment.ask("eth_getTransactionReceipt", sent), "the transaction")
    return found


def test_signed_transaction__with_an_access_list__is_what_the_chain_takes(deployment: Deployment, app: App) -> None:
    wallet = app.wallet([allow(method="eth_signTransaction")], ether=1)
    listed = [{"address": SHOP, "storage_keys": ["0x" + "00" * 32]}]

    for nonce, fees in ((0, {"gas_price": str(3 * GWEI)}), (1, FEES)):
        answer = app.rpc(wallet["id"], sign(nonce, access_list=listed, **fees))
        receipt = taken(deployment, answer["signed_transaction"])
        assert (receipt["status"], receipt["transactionHash"]) == ("0x1", answer["hash"])
        assert receipt["from"] == wallet["address"].lower()
        assert int(receipt["type"], 16) == 1 + nonce
        assert int(receipt["gasUsed"], 16) == 21_000 + 2_400 + 1_900


def test_delegation__that_the_policy_names__is_in_force_and_its_nonces_are_kept_free(
    deployment: Deployment, app: App
) -> None:
    named = condition("contract", "eq", CODE, source="ethereum_7702_authorization")
    rules = [allow(), allow(method="eth_signTransaction"), allow(named, method=AUTHORIZE)]
    wallet = app.wallet(rules, ether=1)
    deployment.ask("anvil_setCode", CODE, "0x00")
    body = {"method": AUTHORIZE, "params": {"chain_id": 31337, "contract": CODE, "nonce": 0, "executor": "self"}}
    shown = app.preview(wallet["id"], body)
    assert shown["verdict"]["allowed"]
    assert shown["view"]["sentence"].startswith(f"Let account {wallet['address']} run the code of ")

    given = app.rpc(wallet["id"], {**body, "preview_digest": shown["digest"]})["authorization"]
    carried = app.rpc(wallet["id"], sign(0, to=wallet["address"], value="0", authorization_list=[given], **FEES))
    waiting = app.rpc(wallet["id"], payment(SHOP, ETHER // 10))["transaction_id"]
    app.wait_transaction(waiting, "signed", "broadcast", "mined", "final")
    receipt = taken(deployment, carried["signed_transaction"])

    assert receipt["status"] == "0x1"
    code = deployment.ask("eth_getCode", wallet["address"], "latest")
    assert code == "0xef0100" + CODE[2:]
    ended = app.wait_transaction(waiting)
    assert (ended["state"], ended["nonce"]) == ("final", 2)  # 0 is the transaction's, 1 the authorization's


def test_calls__of_a_delegated_account__all_happen_or_none(deployment: Deployment, app: App) -> None:
    code = "0x" + "c1" * 20
    deployment.ask("anvil_setCode", code, "0x" + load_artifact_of("DemoBatchAccount"))
    named = condition("contract", "eq", code, source="ethereum_7702_authorization")
    token = deployment.token()
    rules = [
        allow(method="eth_signTransaction"),
        allow(named, method=AUTHORIZE),
        allow(condition("to", "in", [SHOP, token]), method="wallet_sendCalls"),
    ]
    wallet = app.wallet(rules, ether=1)
    deployment.mint(FIRST, wallet["address"], 100)

    def transfer(amount: int) -> str:
        return "0x" + Contract.load("DemoToken").encode("transfer", [SHOP, amount]).hex()

    def calls(*listed: dict[str, str]) -> dict[str, Any]:
        return {"method": "wallet_sendCalls", "caip2": FIRST, "params": {"calls": list(listed)}}

    pair = {"to": SHOP, "value": "7"}, {"to": token, "data": transfer(30)}
    path = f"/v1/wallets/{wallet['id']}/rpc"
    app.refused(409, "batch_not_supported", "POST", path, calls(*pair), key="too-early")

    params = {"chain_id": 31337, "contract": code, "nonce": 0, "executor": "self"}
    given = app.rpc(wallet["id"], {"method": AUTHORIZE, "params": params})["authorization"]
    carried = app.rpc(wallet["id"], sign(0, to=wallet["address"], value="0", authorization_list=[given], **FEES))
    assert taken(deployment, carried["signed_transaction"])["status"] == "0x1"
    coins, tokens = deployment.balance(SHOP), deployment.token_balance(SHOP)

    shown = app.preview(wallet["id"], calls(*pair))
    assert shown["view"]["sentence"].startswith("All or nothing on ")
    assert shown["quote"]["will_revert"] is None
    sent = app.rpc(wallet["id"], {**calls(*pair), "preview_digest": shown["digest"]})["transaction_id"]
    assert app.wait_transaction(sent)["state"] == "final"
    assert (deployment.balance(SHOP) - coins, deployment.token_balance(SHOP) - tokens) == (7, 30)

    failing = calls({"to": SHOP, "value": "7"}, {"to": token, "data": transfer(71)})
    dropped = app.wait_transaction(app.rpc(wallet["id"], failing)["transaction_id"])
    assert (dropped["state"], dropped["succeeded"]) == ("dropped", None)
    assert (deployment.balance(SHOP) - coins, deployment.token_balance(SHOP) - tokens) == (7, 30)
    stranger = calls({"to": SHOP, "value": "1"}, {"to": CODE, "value": "1"})
    assert "Part 2 of 2" in app.refused(403, "policy_denied", "POST", path, stranger, key="a-stranger")["detail"]


def load_artifact_of(name: str) -> str:
    """Runtime code of a contract that only tests have, hex."""
    content = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
    return str(content["deployedBytecode"]).removeprefix("0x")


def test_delegation__to_code_that_no_rule_names__is_refused_in_every_form(deployment: Deployment, app: App) -> None:
    wallet = app.wallet([allow(method="*"), allow(method="eth_signTransaction")], ether=1)
    params = {"chain_id": 31337, "contract": CODE, "nonce": 0}
    path = f"/v1/wallets/{wallet['id']}/rpc"

    app.refused(403, "policy_denied", "POST", path, {"method": AUTHORIZE, "params": params}, key="a")
    other = app.wallet([allow(method=AUTHORIZE)])
    given = app.rpc(other["id"], {"method": AUTHORIZE, "params": params})["authorization"]
    refused = app.refused(
        403, "policy_denied", "POST", path, sign(0, authorization_list=[given], **FEES), key="a-foreign-one"
    )
    assert "Part 2 of 2" in refused["detail"]
    assert deployment.nonce(wallet["address"]) == 0
