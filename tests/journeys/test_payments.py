"""Value moves under guard: shown, decided, signed, sent, final, told on the stream, and refused where a policy says so."""

from __future__ import annotations

import time

from tests.journeys.support import (
    ETHER,
    FIRST,
    SECOND,
    STRANGER,
    App,
    Deployment,
    Listener,
    allow,
    condition,
    new_key,
    payment,
    pays,
    policy,
    until,
)

from lockstep.chains.evm import Contract

FRIEND = "0x00000000000000000000000000000000000f00d1"
ROAD = ["queued", "reserved", "signed", "broadcast", "mined", "final"]


def test_payment__previewed_and_sent__is_final_once_and_moves_exactly_its_value(
    deployment: Deployment, app: App
) -> None:
    wallet = app.wallet(pays(FRIEND, ETHER), ether=2)
    before = deployment.balance(FRIEND)
    request = payment(FRIEND, ETHER)

    shown = app.preview(wallet["id"], request)

    assert shown["verdict"]["allowed"]
    assert "1" in shown["view"]["sentence"]
    assert FRIEND[-4:] in str(shown["view"]).lower()
    assert shown["quote"]["will_revert"] is None
    assert int(shown["quote"]["gas_limit"]) >= 21_000

    with Listener(app, {"topic": "transactions"}) as stream:
        sent = app.rpc(wallet["id"], {**request, "preview_digest": shown["digest"]})
        done = app.wait_transaction(sent["transaction_id"])
        stream.wait(lambda f: f.get("id") == done["id"] and f["data"]["state"] == "final", "the final event")
        events = stream.events(done["id"])

    assert (done["state"], done["succeeded"]) == ("final", True)
    assert [step["to_state"] for step in done["timeline"]] == ROAD
    assert deployment.balance(FRIEND) - before == ETHER
    spent = 2 * ETHER - deployment.balance(wallet["address"])
    assert spent == ETHER + int(done["fee_paid"])
    assert int(done["fee_paid"]) <= int(shown["quote"]["max_fee"])
    receipt = deployment.ask("eth_getTransactionReceipt", done["hash"])
    assert (receipt["status"], int(receipt["blockNumber"], 16)) == ("0x1", done["block_number"])

    assert [event["data"]["state"] for event in events] == ROAD
    assert [event["version"] for event in events] == list(range(1, len(ROAD) + 1))
    seqs = [event["seq"] for event in stream.events()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert all(event["prev_seq"] == event["seq"] - 1 for event in stream.events())
    assert {event["app_id"] for event in events} == {app.id}


def test_payment__of_tokens_on_the_second_chain__moves_exactly_its_amount(deployment: Deployment, app: App) -> None:
    token = deployment.token(SECOND)
    wallet = app.wallet(ether=1, chain=SECOND)
    deployment.mint(SECOND, wallet["address"], 5_000_000)
    before = deployment.token_balance(FRIEND, SECOND)
    data = "0x" + Contract.load("DemoToken").encode("transfer", [FRIEND, 1_250_000]).hex()
    request = payment(token, 0, chain=SECOND, data=data)

    shown = app.preview(wallet["id"], request)
    sent = app.rpc(wallet["id"], {**request, "preview_digest": shown["digest"]})
    done = app.wait_transaction(sent["transaction_id"])

    assert "1.25 BETA" in shown["view"]["sentence"]
    assert done["state"] == "final"
    assert deployment.token_balance(FRIEND, SECOND) - before == 1_250_000
    assert deployment.token_balance(wallet["address"], SECOND) == 3_750_000
    mined = next(step["facts"] for step in done["timeline"] if step["to_state"] == "mined")
    owner = wallet["address"].lower()
    assert mined["before"]["balances"] == {owner: "5000000", FRIEND: str(before)}
    assert mined["after"]["balances"] == {owner: "3750000", FRIEND: str(before + 1_250_000)}


def test_payment__policy_changed_after_the_preview__is_refused_and_nothing_is_queued(
    deployment: Deployment, app: App
) -> None:
    wallet = app.wallet(pays(FRIEND, ETHER), ether=1)
    request = payment(FRIEND, 1)
    shown = app.preview(wallet["id"], request)
    app.call("PATCH", f"/v1/policies/{wallet['policy_ids'][0]}", policy(pays(FRIEND, ETHER // 2)))

    body = {**request, "preview_digest": shown["digest"]}
    app.refused(409, "preview_outdated", "POST", f"/v1/wallets/{wallet['id']}/rpc", body, key="outdated")

    assert app.transactions() == []
    sent = app.rpc(wallet["id"], {**request, "preview_digest": app.preview(wallet["id"], request)["digest"]})
    assert app.wait_transaction(sent["transaction_id"])["state"] == "final"


def test_payment__digest_of_another_request__is_refused(app: App) -> None:
    wallet = app.wallet(ether=1)
    shown = app.preview(wallet["id"], payment(FRIEND, 1))

    body = payment(FRIEND, 2, preview_digest=shown["digest"])
    app.refused(409, "preview_outdated", "POST", f"/v1/wallets/{wallet['id']}/rpc", body, key="other")


def test_payment__outside_the_policy__is_denied_with_its_reason_and_nothing_is_queued(
    deployment: Deployment, app: App
) -> None:
    wallet = app.wallet(pays(FRIEND, ETHER), ether=2)
    too_much, elsewhere = payment(FRIEND, ETHER + 1), payment(STRANGER, 1)

    for request in (too_much, elsewhere):
        shown = app.preview(wallet["id"], request)
        assert not shown["verdict"]["allowed"]
        denial = app.refused(403, "policy_denied", "POST", f"/v1/wallets/{wallet['id']}/rpc", request, key=new_key())
        assert denial["detail"] == shown["verdict"]["reason"]
        assert denial["policy_id"] in (None, wallet["policy_ids"][0])

    assert app.transactions() == []
    assert deployment.nonce(wallet["address"]) == 0
    denied = [
        entry["record"]
        for entry in app.call("GET", "/v1/audit/entries", params={"resource": f"wallet:{wallet['id']}"})["items"]
        if entry["record"]["result"] == "denied"
    ]
    assert len(denied) == 2


def test_payment__explicit_deny_next_to_an_allow__is_denied(app: App) -> None:
    deny = {"name": "never him", "method": "*", "action": "DENY", "conditions": [condition("to", "eq", STRANGER)]}
    wallet = app.wallet([allow(), deny], ether=1)

    denial = app.refused(
        403, "policy_denied", "POST", f"/v1/wallets/{wallet['id']}/rpc", payment(STRANGER, 1), key="deny"
    )

    assert denial["rule_id"] == "rule-2"
    assert app.transactions() == []


def test_payment__that_would_revert__is_refused_before_it_costs_gas(deployment: Deployment, app: App) -> None:
    wallet = app.wallet(ether=1)
    data = "0x" + Contract.load("DemoToken").encode("transfer", [FRIEND, 1]).hex()
    request = payment(deployment.token(), 0, data=data)
    request["params"]["transaction"]["gas_limit"] = "200000"

    shown = app.preview(wallet["id"], request)
    done = app.wait_transaction(app.rpc(wallet["id"], request)["transaction_id"])

    assert "ERC20InsufficientBalance" in shown["quote"]["will_revert"]
    assert (done["state"], done["nonce"]) == ("dropped", None)
    assert "it would fail: ERC20InsufficientBalance" in done["reason"]
    assert deployment.balance(wallet["address"]) == ETHER


def test_payment__that_reverts_all_the_same__ends_as_reverted_final(deployment: Deployment, app: App) -> None:
    wallet = app.wallet(ether=1)
    request = payment(deployment.place_doom(), 0, data="0x01")
    request["params"]["transaction"]["gas_limit"] = "200000"

    done = app.wait_transaction(app.rpc(wallet["id"], request)["transaction_id"])

    assert (done["state"], done["succeeded"]) == ("reverted_final", False)
    assert done["revert_reason"] == done["reason"]


def test_payment__from_a_users_wallet__is_the_users_alone(deployment: Deployment, app: App) -> None:
    alice, bob = app.user("alice"), app.user("bob")
    guard = alice.call("POST", "/v1/policies", policy([allow()]))
    wallet = alice.call("POST", "/v1/wallets", {"policy_ids": [guard["id"]]})
    deployment.fund(FIRST, wallet["address"], ETHER)
    path = f"/v1/wallets/{wallet['id']}/rpc"

    sent = alice.rpc(wallet["id"], payment(FRIEND, 5))

    assert alice.wait_transaction(sent["transaction_id"])["state"] == "final"
    bob.refused(404, "wallet_not_found", "POST", path, payment(FRIEND, 5), key="bob")
    app.refused(403, "owner_required", "POST", path, payment(FRIEND, 5), key="app")
    assert bob.call("GET", "/v1/wallets")["items"] == []


# --- session signers ------------------------------------------------------------------------------------------------


def test_session_signer__narrower_than_its_wallet__signs_only_inside_both(deployment: Deployment, app: App) -> None:
    wallet = app.wallet([allow()], ether=2)
    narrow = app.policy(pays(FRIEND, 100))
    bot = app.session(app.grant(wallet["id"], policy_ids=[narrow["id"]], max_value_per_transaction="50")["token"])
    path = f"/v1/wallets/{wallet['id']}/rpc"
    message = {"method": "personal_sign", "params": {"message": "hello"}}

    sent = bot.rpc(wallet["id"], payment(FRIEND, 50))

    assert bot.wait_transaction(sent["transaction_id"])["state"] == "final"
    bot.refused(403, "session_value_denied", "POST", path, payment(FRIEND, 51), key="much")
    bot.refused(403, "policy_denied", "POST", path, payment(STRANGER, 50), key="elsewhere")
    bot.refused(403, "session_method_denied", "POST", path, message, key="method")
    bot.refused(403, "caller_not_allowed", "PATCH", f"/v1/wallets/{wallet['id']}", {"policy_ids": []})
    assert [t["id"] for t in bot.transactions()] == [sent["transaction_id"]]


def test_session_signer__of_a_wide_policy__never_gets_beyond_its_wallets_policy(app: App) -> None:
    wallet = app.wallet(pays(FRIEND, 10), ether=1)
    bot = app.session(app.grant(wallet["id"], policy_ids=[app.policy([allow()])["id"]])["token"])

    bot.refused(403, "policy_denied", "POST", f"/v1/wallets/{wallet['id']}/rpc", payment(FRIEND, 11), key="wide")


def test_session_signer__expired_or_revoked__signs_nothing_any_more(app: App) -> None:
    wallet = app.wallet(ether=1)
    short, revoked = app.grant(wallet["id"], seconds=3), app.grant(wallet["id"])
    brief, gone = app.session(short["token"]), app.session(revoked["token"])
    assert brief.call("GET", f"/v1/wallets/{wallet['id']}")["id"] == wallet["id"]
    assert gone.call("GET", f"/v1/wallets/{wallet['id']}")["id"] == wallet["id"]

    app.call("DELETE", f"/v1/wallets/{wallet['id']}/session-signers/{revoked['session_signer']['id']}")

    path = f"/v1/wallets/{wallet['id']}/rpc"
    after = time.monotonic()
    answers = {
        name: until(
            lambda c=caller: (
                (a := c.raw("POST", path, payment(FRIEND, 1), headers={"Idempotency-Key": new_key()})).is_error and a
            ),
            f"the {name} session to end",
        )
        for name, caller in (("revoked", gone), ("expired", brief))
    }
    assert time.monotonic() - after < 10
    assert answers["revoked"].status_code in (401, 403)
    assert answers["expired"].status_code in (401, 403)
    assert answers["revoked"].json()["code"] in ("session_revoked", "session_token_invalid")
    assert answers["expired"].json()["code"] in ("session_expired", "token_expired")


def test_wallet__frozen__signs_nothing_at_once(app: App) -> None:
    wallet = app.wallet(ether=1)
    app.call("PATCH", f"/v1/wallets/{wallet['id']}", {"status": "frozen"})

    app.refused(403, "wallet_frozen", "POST", f"/v1/wallets/{wallet['id']}/rpc", payment(FRIEND, 1), key="frozen")
    assert app.transactions() == []
