"""What operators do to a transaction that is on its way: cancel it, make it dearer, find out what holds up an account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.journeys.support import ETHER, FIRST, GWEI, App, Deployment, allow, new_key, payment, pays, until

SHOP = "0x00000000000000000000000000000000000f00e1"


@pytest.fixture
def standing(deployment: Deployment) -> Iterator[Deployment]:
    """The chain stands still until a test mines."""
    deployment.ask("evm_setIntervalMining", 0)
    yield deployment
    deployment.ask("evm_setIntervalMining", 1)


def test_cancel__of_what_is_in_the_pool__self_send_wins_and_the_money_stays(standing: Deployment, app: App) -> None:
    wallet = app.wallet(pays(SHOP, ETHER), ether=2)  # its policy allows no payment to itself
    before = standing.balance(SHOP)
    sent = app.rpc(wallet["id"], payment(SHOP, ETHER))["transaction_id"]
    app.wait_transaction(sent, "broadcast")

    asked = app.call("POST", f"/v1/transactions/{sent}/cancel")
    assert asked["cancel_requested_at"] is not None
    assert app.call("POST", f"/v1/transactions/{sent}/cancel")["version"] >= asked["version"]
    until(lambda: len(app.transaction(sent)["hashes"]) == 2, "the self-send to be signed")
    app.wait_transaction(sent, "broadcast")
    standing.mine(10)

    ended = app.wait_transaction(sent)
    assert (ended["state"], ended["succeeded"]) == ("cancelled", None)
    assert standing.balance(SHOP) == before
    assert 2 * ETHER - standing.balance(wallet["address"]) == int(ended["fee_paid"])
    mined = standing.ask("eth_getTransactionByHash", ended["hash"])
    assert (mined["to"], mined["value"], mined["input"]) == (wallet["address"].lower(), "0x0", "0x")
    assert "cancel_transaction" in str(app.call("GET", "/v1/audit/entries")["items"])
    app.call("POST", f"/v1/transactions/{sent}/cancel")  # again is harmless
    after = app.rpc(wallet["id"], payment(SHOP, 1))["transaction_id"]
    app.wait_transaction(after, "broadcast")
    standing.mine(10)
    assert app.wait_transaction(after)["state"] == "final"


def test_cancel__by_those_who_may_not__is_refused(standing: Deployment, app: App) -> None:
    wallet = app.wallet(ether=1)
    sent = app.rpc(wallet["id"], payment(SHOP, 1))["transaction_id"]
    app.wait_transaction(sent, "broadcast")
    route = f"/v1/transactions/{sent}/cancel"

    standing.new_app("Other").refused(404, "transaction_not_found", "POST", route)
    app.user("stranger").refused(404, "transaction_not_found", "POST", route)
    sender = app.session(app.grant(wallet["id"])["token"])
    sender.refused(403, "caller_not_allowed", "POST", route)
    signer = app.session(app.grant(wallet["id"], methods=["personal_sign"])["token"])
    signer.refused(403, "session_method_denied", "POST", route)
    app.call("PATCH", f"/v1/wallets/{wallet['id']}", {"status": "frozen"})
    app.refused(403, "wallet_frozen", "POST", route)
    assert app.transaction(sent)["cancel_requested_at"] is None

    standing.mine(10)
    assert app.wait_transaction(sent)["state"] == "final"
    app.refused(409, "transaction_not_cancellable", "POST", route)


def test_operator__of_an_app__hurries_and_cancels_what_its_users_sent(standing: Deployment, app: App) -> None:
    alice, olga = app.user("alice"), app.user("olga")
    ids = {name: who.call("GET", "/v1/caller")["user_id"] for name, who in (("alice", alice), ("olga", olga))}
    allowed = app.policy(pays(SHOP, ETHER))["id"]
    wallet = app.call("POST", "/v1/wallets", {"owner_user_id": ids["alice"], "policy_ids": [allowed]})
    standing.fund(FIRST, wallet["address"], ETHER)
    sent = alice.rpc(wallet["id"], payment(SHOP, 1))["transaction_id"]
    alice.wait_transaction(sent, "broadcast")
    route = f"/v1/transactions/{sent}"
    olga.refused(404, "transaction_not_found", "POST", f"{route}/speed-up", {})
    olga.refused(403, "caller_not_allowed", "GET", "/v1/audit/entries")

    app.call("PATCH", f"/v1/users/{ids['olga']}", {"role": "operator"})

    assert olga.call("GET", "/v1/caller")["role"] == "operator"
    olga.call("POST", f"{route}/speed-up", {})
    until(lambda: len(olga.transaction(sent)["hashes"]) == 2, "the dearer form to be signed")
    olga.wait_transaction(sent, "broadcast")
    olga.call("POST", f"{route}/cancel")
    until(lambda: len(olga.transaction(sent)["hashes"]) == 3, "the self-send to be signed")
    olga.wait_transaction(sent, "broadcast")  # else what is in the pool is mined
    standing.mine(10)
    assert olga.wait_transaction(sent)["state"] == "cancelled"
    olga.refused(404, "wallet_not_found", "POST", f"/v1/wallets/{wallet['id']}/rpc", payment(SHOP, 1), key=new_key())
    assert f"user:{ids['olga']}" in str(olga.call("GET", "/v1/audit/entries")["items"])


def test_speed_up__under_a_policy_of_fees__goes_as_far_as_the_policy_lets_it(standing: Deployment, app: App) -> None:
    rule = {**pays(SHOP, ETHER)[0]}
    rule["conditions"] = [
        *rule["conditions"],
        {
            "field_source": "ethereum_transaction",
            "field": "max_fee_per_gas",
            "operator": "lte",
            "value": str(40 * GWEI),
        },
    ]
    wallet = app.wallet([rule], ether=2)
    request = payment(SHOP, 1)
    request["params"]["transaction"]["max_fee_per_gas"] = str(4 * GWEI)
    sent = app.rpc(wallet["id"], request)["transaction_id"]
    first = app.wait_transaction(sent, "broadcast")
    route = f"/v1/transactions/{sent}/speed-up"

    app.refused(403, "policy_denied", "POST", route, {"max_fee_per_gas": str(41 * GWEI)})
    app.refused(409, "fee_ceiling_too_low", "POST", route, {"max_fee_per_gas": "1"})
    app.call("POST", route, {"max_fee_per_gas": str(40 * GWEI)})
    until(lambda: len(app.transaction(sent)["hashes"]) == 2, "the dearer form to be signed")
    dearer = app.wait_transaction(sent, "broadcast")
    assert int(first["max_fee_per_gas"]) < int(dearer["max_fee_per_gas"]) <= 40 * GWEI
    standing.mine(10)
    assert app.wait_transaction(sent)["state"] == "final"


def test_gap__signed_for_a_caller_who_never_sent__does_not_hold_up_the_next_payment(
    standing: Deployment, app: App
) -> None:
    wallet = app.wallet([allow(), allow(method="eth_signTransaction")], ether=2)
    body = {
        "method": "eth_signTransaction",
        "caip2": FIRST,
        "params": {
            "transaction": {
                "to": SHOP,
                "value": "1",
                "nonce": 0,
                "gas_limit": 21_000,
                "max_fee_per_gas": str(2 * GWEI),
                "max_priority_fee_per_gas": str(GWEI),
            }
        },
    }
    app.call("POST", f"/v1/wallets/{wallet['id']}/rpc", body, key=new_key())
    with standing.database() as connection:  # the caller has given it up long ago
        connection.execute(
            "update nonce_reservations set claimed_at = now() - interval '1 hour' where address = %s",
            (wallet["address"].lower(),),
        )

    sent = app.rpc(wallet["id"], payment(SHOP, 2))["transaction_id"]
    waiting = app.wait_transaction(sent, "broadcast")
    assert waiting["nonce"] == 1
    until(lambda: len(app.transactions(wallet_id=wallet["id"])) == 2, "the self-send that takes the nonce")
    (fill,) = [t for t in app.transactions(wallet_id=wallet["id"]) if t["id"] != sent]
    app.wait_transaction(fill["id"], "broadcast")
    standing.mine(10)

    assert app.wait_transaction(sent)["state"] == "final"
    filled = app.wait_transaction(fill["id"])
    assert (filled["state"], filled["value"], filled["to"]) == ("final", "0", wallet["address"])


def test_doctor__an_account_is_low__names_it(standing: Deployment, app: App, tmp_path: Path) -> None:
    wallet = app.wallet(ether=1)
    sent = app.rpc(wallet["id"], payment(SHOP, 1))["transaction_id"]
    app.wait_transaction(sent, "broadcast")
    chains = json.loads(Path(standing.stack.devnet.environment("service")["LOCKSTEP_CHAINS_FILE"]).read_text())
    file = tmp_path / "chains.json"

    def look(threshold: int) -> tuple[str, str]:
        file.write_text(json.dumps([{**chain, "low_balance_wei": threshold} for chain in chains]))
        done = standing.command("doctor", "--json", LOCKSTEP_CHAINS_FILE=str(file))
        assert done.returncode == 0
        (found,) = [each for each in json.loads(done.stdout) if (each["group"], each["what"]) == ("balances", FIRST)]
        return found["verdict"], found["detail"]

    verdict, detail = look(10**30)
    assert (verdict, "sending accounts have less than" in detail) == ("warn", True)
    assert look(1)[0] in ("ok", "warn")  # other tests may have emptied a wallet
    standing.mine(10)
    app.wait_transaction(sent)
