"""Apps do not see each other: not by the API, not on the stream, and not even in the database."""

from __future__ import annotations

import psycopg
import pytest
from tests.journeys.support import ETHER, FIRST, App, Caller, Deployment, Listener, allow, new_key, payment, policy

NOBODY = "01900000-0000-7000-8000-00000000dead"


def test_kill_switch__of_one_app__stops_it_alone_and_what_it_signs_only(deployment: Deployment, app: App) -> None:
    other = deployment.new_app("Other")
    wallet, others = app.wallet(ether=1), other.wallet(ether=1)
    switch, key, sends = f"/v1/kill-switches/apps/{app.id}", new_key(), payment(wallet["address"], 1)
    app.refused(403, "caller_not_allowed", "PUT", "/v1/kill-switches/deployment", {"reason": "not mine"})
    other.refused(404, "app_not_found", "PUT", switch, {"reason": "not mine"})
    assert app.call("PUT", switch, {"reason": "drill"})["engaged_by"] == f"app:{app.id}"

    refused = app.refused(503, "signing_stopped", "POST", f"/v1/wallets/{wallet['id']}/rpc", sends, key=key)
    assert "kill switch of the app" in refused["detail"]
    assert app.call("GET", f"/v1/wallets/{wallet['id']}")["id"] == wallet["id"]
    assert [each["reason"] for each in app.call("GET", "/v1/kill-switches")["items"]] == ["drill"]
    assert other.call("GET", "/v1/kill-switches")["items"] == []
    other.wait_transaction(other.rpc(others["id"], payment(others["address"], 1))["transaction_id"])

    app.call("DELETE", switch)
    sent = app.call("POST", f"/v1/wallets/{wallet['id']}/rpc", sends, key=key)["data"]["transaction_id"]
    assert app.wait_transaction(sent)["state"] == "final"


def test_tenants__another_apps_objects__do_not_exist(deployment: Deployment, app: App) -> None:
    other = deployment.new_app("Other")
    wallet = app.wallet(ether=1)
    session = app.grant(wallet["id"])["session_signer"]
    sent = app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"]
    path = f"/v1/wallets/{wallet['id']}"

    with Listener(other, {"topic": "transactions"}, {"topic": "wallets"}) as strange:
        app.wait_transaction(sent)
        app.call("PATCH", path, {"display_name": "renamed"})
        own = other.wallet()
        other.call("PATCH", f"/v1/wallets/{own['id']}", {"display_name": "mine"})
        strange.wait(lambda f: f.get("id") == own["id"], "its own event")

        other.refused(404, "wallet_not_found", "GET", path)
        other.refused(404, "wallet_not_found", "PATCH", path, {"status": "frozen"})
        other.refused(404, "wallet_not_found", "POST", f"{path}/rpc", payment(wallet["address"], 1), key=new_key())
        other.refused(404, "wallet_not_found", "POST", f"{path}/rpc/preview", payment(wallet["address"], 1))
        other.refused(404, "wallet_not_found", "GET", f"{path}/session-signers")
        other.refused(404, "wallet_not_found", "DELETE", f"{path}/session-signers/{session['id']}")
        other.refused(404, "policy_not_found", "GET", f"/v1/policies/{wallet['policy_ids'][0]}")
        other.refused(404, "policy_not_found", "PATCH", f"/v1/policies/{wallet['policy_ids'][0]}", policy([allow()]))
        other.refused(404, "policy_not_found", "POST", "/v1/wallets", {"policy_ids": wallet["policy_ids"]})
        other.refused(404, "transaction_not_found", "GET", f"/v1/transactions/{sent}")
        own_ids = {event["app_id"] for event in strange.events()}

    assert own_ids == {other.id}
    assert [each["id"] for each in other.call("GET", "/v1/wallets")["items"]] == [own["id"]]
    assert other.transactions() == []
    entries = other.call("GET", "/v1/audit/entries", params={"limit": "100"})["items"]
    assert {entry["record"]["app_id"] for entry in entries} == {other.id}


def test_accounts__of_an_app__sign_in_own_wallets_and_pay(deployment: Deployment, app: App) -> None:
    stranger = Caller(app.url, {})
    alice = {"app_id": app.id, "name": "alice@example.org", "password": "correct horse battery staple"}
    stranger.refused(403, "accounts_off", "POST", "/v1/auth/register", alice)
    app.refused(403, "caller_not_allowed", "PATCH", f"/v1/apps/{app.id}", {"accounts": "open"})
    deployment.admin.call("PATCH", f"/v1/apps/{app.id}", {"accounts": "open"})
    stranger.call("POST", "/v1/auth/register", alice)
    tokens = stranger.call("POST", "/v1/auth/login", alice)
    user = app.session(tokens["access_token"])

    policy_id = app.policy([allow()])["id"]
    batch = {"wallets": [{"policy_ids": [policy_id], "external_id": f"till-{number}"} for number in range(100)]}
    key = new_key()
    made = user.call("POST", "/v1/wallets/batch", batch, key=key)["items"]
    assert user.call("POST", "/v1/wallets/batch", batch, key=key)["items"] == made
    assert {each["owner_user_id"] for each in made} == {tokens["user_id"]}
    assert len({each["address"] for each in made}) == 100
    found = user.call("GET", "/v1/wallets", params={"external_id": "till-99", "fields": "id,address"})["items"]
    assert found == [{"id": made[99]["id"], "address": made[99]["address"]}]
    deployment.fund(FIRST, made[99]["address"], ETHER)
    sent = user.rpc(made[99]["id"], payment(made[0]["address"], 1))["transaction_id"]
    assert user.wait_transaction(sent)["state"] == "final"

    user.call("POST", f"/v1/wallets/{made[99]['id']}/archive")
    again = payment(made[0]["address"], 1)
    user.refused(403, "wallet_archived", "POST", f"/v1/wallets/{made[99]['id']}/rpc", again, key=new_key())
    fresh = stranger.call("POST", "/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    stranger.refused(
        401, "refresh_token_invalid", "POST", "/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]}
    )
    for stolen in (tokens, fresh):
        app.session(stolen["access_token"]).refused(401, "token_invalid", "GET", "/v1/caller")


def test_tenants__one_idempotency_key_in_two_apps__stands_for_two_requests(deployment: Deployment, app: App) -> None:
    other, key = deployment.new_app("Other"), new_key()

    first = app.call("POST", "/v1/wallets", {}, key=key)
    second = other.call("POST", "/v1/wallets", {}, key=key)

    assert first["id"] != second["id"]
    assert app.call("POST", "/v1/wallets", {}, key=key) == first


def test_tenants__rows_of_another_app__are_hidden_by_the_database_itself(deployment: Deployment, app: App) -> None:
    wallet = app.wallet(ether=1)
    app.wait_transaction(app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"])
    tables = [
        row["name"]
        for row in deployment.rows(
            "select c.table_name as name from information_schema.columns c join pg_tables t on t.tablename = c.table_name"
            " where c.column_name = 'app_id' and c.table_schema = 'public' and t.schemaname = 'public' order by 1"
        )
    ]
    filled = [name for name in tables if deployment.rows(f"select 1 from {name} where app_id = %s limit 1", app.id)]
    assert {"wallets", "policies", "transactions", "signing_decisions", "audit_entries", "outbox"} <= set(filled)

    address = deployment.stack.devnet.database_url("service")
    with psycopg.connect(address, autocommit=True) as connection:
        for name in tables:
            for viewer in (NOBODY, ""):
                with connection.transaction():
                    connection.execute("set local role lockstep_tenant")
                    connection.execute(f"set local lockstep.app_id = '{viewer}'")
                    try:
                        with connection.transaction():
                            rows = connection.execute(f"select count(*) from {name} where app_id = %s", (app.id,))
                            assert rows.fetchone() == (0,), name
                    except psycopg.errors.InsufficientPrivilege:
                        pass  # tenants do not read this table at all
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            connection.transaction(),
        ):
            connection.execute("set local role lockstep_tenant")
            connection.execute(f"set local lockstep.app_id = '{NOBODY}'")
            connection.execute(
                "insert into outbox (topic, type, object_id, version, app_id, data) values ('x', 'x', 'x', 1, %s, '{}')",
                (app.id,),
            )
