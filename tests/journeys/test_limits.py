"""Spending limits over HTTP: hard at two processes, told to whoever asks, given back by what was never signed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.journeys.support import App, Deployment, new_key, payment

FRIEND = "0x00000000000000000000000000000000000f0703"
HOUR = 3600


def limited(app: App, most: int, **funds: Any) -> tuple[dict[str, Any], str]:
    """A wallet that may move so much native coin within an hour, and the aggregation behind it."""
    metric = {"function": "sum", "field_source": "ethereum_transaction", "field": "value"}
    document = {"name": "hourly", "metric": metric, "window": {"seconds": HOUR}}
    made = app.call("POST", "/v1/aggregations", document)
    condition = {
        "field_source": "reference",
        "field": f"aggregation.{made['id']}",
        "operator": "lte",
        "value": str(most),
    }
    rule = {"name": "hourly", "method": "*", "action": "ALLOW", "conditions": [condition]}
    return app.wallet([rule], **funds), made["id"]


def test_limits__fifty_payments_at_two_processes__are_exactly_ten(deployment: Deployment, app: App) -> None:
    callers = [app.at(deployment.url), app.at(deployment.second_serve("serve-limits"))]
    wallet, aggregation = limited(app, 10, ether=1)
    before = deployment.balance(FRIEND)
    together = threading.Barrier(50)

    def send(number: int) -> tuple[int, dict[str, Any]]:
        together.wait()
        key, path = new_key(), f"/v1/wallets/{wallet['id']}/rpc"
        while True:
            answer = callers[number % 2].raw("POST", path, payment(FRIEND, 1), headers={"Idempotency-Key": key})
            if answer.status_code not in (429, 503):
                return answer.status_code, answer.json()

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(send, range(50)))
    deployment.run(deployment.stack.stop_role("serve-limits"))

    sent = [document["data"]["transaction_id"] for status, document in answers if status == 200]
    refused = [document for status, document in answers if status == 403]
    assert (len(sent), len(refused)) == (10, 40)
    assert {(one["code"], one["limits"][0]["left"]) for one in refused} == {("policy_denied", "0")}
    assert {app.wait_transaction(one)["state"] for one in sent} == {"final"}
    assert deployment.balance(FRIEND) - before == 10
    (limit,) = app.call("GET", f"/v1/wallets/{wallet['id']}/limits")["items"]
    assert (limit["used"], limit["left"], limit["window_seconds"]) == ("10", "0", HOUR)
    assert limit["frees_at"] is not None
    app.refused(409, "aggregation_in_use", "DELETE", f"/v1/aggregations/{aggregation}")


def test_limits__a_transaction_cancelled_before_it_is_signed__gives_its_part_back(app: App) -> None:
    wallet, _ = limited(app, 10)  # without a coin, so that it waits
    path = f"/v1/wallets/{wallet['id']}/rpc"
    sent = app.rpc(wallet["id"], payment(FRIEND, 8))
    refused = app.refused(403, "policy_denied", "POST", path, payment(FRIEND, 3), key=new_key())

    app.call("POST", f"/v1/transactions/{sent['transaction_id']}/cancel")
    done = app.wait_transaction(sent["transaction_id"])

    assert refused["limits"][0]["used"] == "8"
    assert done["state"] == "cancelled"
    shown = app.preview(wallet["id"], payment(FRIEND, 10))
    assert (shown["verdict"]["allowed"], shown["verdict"]["limits"][0]["left"]) == (True, "10")
    app.rpc(wallet["id"], payment(FRIEND, 10))


def test_limits__of_a_session_signer__are_cumulative(app: App) -> None:
    wallet = app.wallet(ether=1)
    granted = app.grant(wallet["id"], max_total_value="10", max_transactions=3)
    session = app.session(granted["token"])
    path = f"/v1/wallets/{wallet['id']}/rpc"

    session.rpc(wallet["id"], payment(FRIEND, 6))
    value = session.refused(403, "session_limit_reached", "POST", path, payment(FRIEND, 5), key=new_key())
    session.rpc(wallet["id"], payment(FRIEND, 4))
    session.rpc(wallet["id"], payment(FRIEND, 0))
    count = session.refused(403, "session_limit_reached", "POST", path, payment(FRIEND, 0), key=new_key())

    assert (value["limit"], value["left"]) == ("session.total_value", "4")
    assert count["limit"] == "session.transactions"
    items = session.call("GET", f"/v1/wallets/{wallet['id']}/limits")["items"]
    assert [(one["limit"], one["used"], one["left"]) for one in items] == [
        ("session.total_value", "10", "0"),
        ("session.transactions", "3", "0"),
    ]
    assert granted["session_signer"]["max_total_value"] == "10"
