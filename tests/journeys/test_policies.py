"""A treasurer and its policy: suppliers in a condition set, what is proved before it is in force, and tried afterwards."""

from __future__ import annotations

from tests.journeys.support import ETHER, App, Deployment, allow, condition, new_key, payment, policy

SUPPLIER = "0x00000000000000000000000000000000000f0701"
OTHER = "0x00000000000000000000000000000000000f0702"


def test_treasury__suppliers_in_a_set__are_paid_and_nobody_else_ever(deployment: Deployment, app: App) -> None:
    suppliers = app.call(
        "POST",
        "/v1/condition-sets",
        {"name": "Suppliers", "value_type": "address", "values": [SUPPLIER.upper().replace("X", "x", 1)]},
    )
    items = f"/v1/condition-sets/{suppliers['id']}/items"
    known = condition("to", "in_condition_set", suppliers["id"])
    rules = [allow(known, condition("value", "lte", str(ETHER)))]
    wallet = app.wallet(rules, ether=3)
    policy_id = wallet["policy_ids"][0]

    outside = [condition("to", "not_in_condition_set", suppliers["id"])]
    proof = app.call(
        "POST", f"/v1/policies/{policy_id}/prove", {"method": "eth_sendTransaction", "conditions": outside}
    )
    assert (proof["answer"], proof["depends_on_condition_sets"]) == ("never", False)

    path = f"/v1/wallets/{wallet['id']}/rpc"
    app.refused(403, "policy_denied", "POST", path, payment(OTHER, 1), key=new_key())
    paid = app.rpc(wallet["id"], payment(SUPPLIER, ETHER))["transaction_id"]
    app.call("POST", items, [{"value": OTHER}])
    second = app.rpc(wallet["id"], payment(OTHER, 1))["transaction_id"]
    assert app.wait_transaction(paid)["state"] == app.wait_transaction(second)["state"] == "final"
    assert deployment.balance(OTHER) == 1
    app.refused(409, "condition_set_in_use", "DELETE", f"/v1/condition-sets/{suppliers['id']}")

    tighter = policy([allow(known, condition("value", "lt", str(ETHER)))])
    compared = app.call("POST", f"/v1/policies/{policy_id}/compare", {"document": tighter})
    assert compared["answer"] == "never"
    shadow = app.call("POST", f"/v1/policies/{policy_id}/shadow", {"document": tighter})
    assert (shadow["requests"], shadow["newly_allowed"], shadow["newly_denied"]) == (3, 1, 1)
    denied, allowed = sorted(shadow["differences"], key=lambda one: bool(one["now"]["allowed"]))
    assert (denied["then"]["allowed"], allowed["then"]["reason_code"]) == (True, "no_matching_rule")

    wider = policy([allow(condition("value", "lte", str(2 * ETHER)))])
    found = app.call("POST", f"/v1/policies/{policy_id}/compare", {"document": wider})["counter_example"]["request"]
    assert (
        found["params"]["transaction"]["to"] not in (SUPPLIER, OTHER)
        or int(found["params"]["transaction"]["value"]) > ETHER
    )
    app.call("PATCH", f"/v1/policies/{policy_id}", policy([]))
    app.call("DELETE", f"/v1/condition-sets/{suppliers['id']}")
    actions = {
        entry["record"]["action"] for entry in app.call("GET", "/v1/audit/entries", params={"limit": "100"})["items"]
    }
    assert {"condition_set.created", "condition_set.changed", "condition_set.deleted"} <= actions
