"""One idempotency key is one effect, however often, how fast and wherever it is sent."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.journeys.support import App, Deployment, allow, new_key, payment

FRIEND = "0x00000000000000000000000000000000000f00d2"


def test_idempotency__thirty_requests_at_two_processes__are_one_transaction(deployment: Deployment, app: App) -> None:
    second = deployment.second_serve()
    callers = [app.at(deployment.url), app.at(second)]
    wallet, key = app.wallet(ether=1), new_key()
    before = deployment.balance(FRIEND)
    path, body = f"/v1/wallets/{wallet['id']}/rpc", payment(FRIEND, 1000)
    together = threading.Barrier(30)

    def send(number: int) -> tuple[int, str, str]:
        together.wait()
        answer = callers[number % 2].raw("POST", path, body, headers={"Idempotency-Key": key})
        document = answer.json()
        return answer.status_code, document.get("code", ""), document.get("data", {}).get("transaction_id", "")

    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(send, range(30)))

    succeeded = [answer for answer in answers if answer[0] == 200]
    assert succeeded
    assert len({answer[2] for answer in succeeded}) == 1
    assert {answer[:2] for answer in answers if answer[0] != 200} <= {(409, "idempotency_in_progress")}
    done = app.wait_transaction(succeeded[0][2])
    assert done["state"] == "final"
    assert len(app.transactions()) == 1
    assert deployment.nonce(wallet["address"]) == 1
    assert deployment.balance(FRIEND) - before == 1000
    replay = callers[1].raw("POST", path, body, headers={"Idempotency-Key": key})
    assert (replay.status_code, replay.headers["idempotency-replay"]) == (200, "true")
    assert replay.json()["data"]["transaction_id"] == done["id"]
    deployment.run(deployment.stack.stop_role("serve-2"))


def test_idempotency__key_used_for_another_request__is_refused(app: App) -> None:
    wallet, key = app.wallet(ether=1), new_key()
    app.rpc(wallet["id"], payment(FRIEND, 1), key)

    app.refused(422, "idempotency_key_reused", "POST", f"/v1/wallets/{wallet['id']}/rpc", payment(FRIEND, 2), key=key)
    assert len(app.transactions()) == 1


def test_idempotency__key_missing_or_malformed_on_a_write_that_moves_value__is_refused(app: App) -> None:
    wallet = app.wallet(ether=1)
    path = f"/v1/wallets/{wallet['id']}/rpc"

    app.refused(400, "idempotency_key_missing", "POST", path, payment(FRIEND, 1))
    app.refused(400, "idempotency_key_malformed", "POST", path, payment(FRIEND, 1), key="x" * 257)
    assert app.transactions() == []


def test_idempotency__of_a_denial__is_replayed_and_a_new_key_is_decided_anew(app: App) -> None:
    wallet, key = app.wallet([allow(method="personal_sign")], ether=1), new_key()
    path = f"/v1/wallets/{wallet['id']}/rpc"
    app.refused(403, "policy_denied", "POST", path, payment(FRIEND, 1), key=key)
    app.call("PATCH", f"/v1/wallets/{wallet['id']}", {"policy_ids": [app.policy([allow()])["id"]]})

    app.refused(403, "policy_denied", "POST", path, payment(FRIEND, 1), key=key)
    assert app.rpc(wallet["id"], payment(FRIEND, 1))["transaction_id"]


def test_idempotency__eight_wallets_with_one_key__are_one_wallet(app: App) -> None:
    key, together = new_key(), threading.Barrier(8)

    def make(_: int) -> str:
        together.wait()
        answer = app.raw("POST", "/v1/wallets", {}, headers={"Idempotency-Key": key})
        return str(answer.json()["id"]) if answer.status_code == 201 else answer.json()["code"]

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(make, range(8)))

    assert len(answers - {"idempotency_in_progress"}) == 1
    assert len(app.call("GET", "/v1/wallets")["items"]) == 1
