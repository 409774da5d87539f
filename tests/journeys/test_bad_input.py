"""Whatever is sent: a problem document with a stable code, no server error, and no row written."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.journeys.support import App, Deployment, allow, new_key, payment, policy, problem

HUGE = "9" * 300
WALLET = "/v1/wallets/{wallet}/rpc"
JSON = "application/json"


def rpc(**transaction: Any) -> dict[str, Any]:
    return {"method": "eth_sendTransaction", "caip2": "eip155:31337", "params": {"transaction": transaction}}


def nested(depth: int) -> str:
    return '{"method":"personal_sign","params":' + '{"a":' * depth + "1" + "}" * depth + "}"


TO = "0x00000000000000000000000000000000000f00d3"
RAW: dict[str, tuple[str, str, bytes | str, str, int, str]] = {
    # name: method, path, body, content type, status, code
    "malformed": ("POST", WALLET, '{"method": ', JSON, 400, "malformed_json"),
    "empty": ("POST", "/v1/policies", "", JSON, 422, "validation_failed"),
    "not an object": ("POST", "/v1/wallets", "[1, 2]", JSON, 422, "validation_failed"),
    "a bare number": ("POST", WALLET, "17", JSON, 422, "validation_failed"),
    "NaN": ("POST", "/v1/wallets", '{"display_name": NaN}', JSON, 400, "malformed_json"),
    "infinite": ("POST", WALLET, json.dumps(rpc(to=TO))[:-1] + ', "x": 1e999}', JSON, 400, "malformed_json"),
    "number of 300 digits": ("POST", WALLET, '{"x": ' + HUGE + "}", JSON, 400, "malformed_json"),
    "not UTF-8": ("POST", "/v1/wallets", b'{"display_name": "\xff\xfe"}', JSON, 400, "malformed_json"),
    "byte order mark": ("POST", "/v1/wallets", b"\xef\xbb\xbf{}", JSON, 400, "malformed_json"),
    "NUL in text": ("POST", "/v1/wallets", '{"display_name": "a\\u0000b"}', JSON, 400, "unusable_text"),
    "half a surrogate": ("POST", "/v1/wallets", '{"display_name": "\\ud800"}', JSON, 400, "unusable_text"),
    "member twice": (
        "POST",
        "/v1/wallets",
        '{"display_name": "a", "display_name": "b"}',
        JSON,
        400,
        "duplicate_member",
    ),
    "member twice inside": (
        "POST",
        WALLET,
        '{"method": "personal_sign", "params": {"message": "a", "message": "b"}}',
        JSON,
        400,
        "duplicate_member",
    ),
    "nested deep": ("POST", WALLET, nested(40), JSON, 400, "nested_too_deep"),
    "nested very deep": ("POST", WALLET, nested(100_000), JSON, 400, "nested_too_deep"),
    "too large": ("POST", WALLET, '{"x": "' + "x" * (1 << 20) + '"}', JSON, 413, "body_too_large"),
    "a form": (
        "POST",
        "/v1/wallets",
        "display_name=x",
        "application/x-www-form-urlencoded",
        415,
        "media_type_not_supported",
    ),
    "text": ("POST", "/v1/wallets", "{}", "text/plain", 415, "media_type_not_supported"),
    "another charset": ("POST", "/v1/wallets", "{}", JSON + "; charset=utf-16", 415, "media_type_not_supported"),
    "no such path": ("POST", "/v1/nothing", "{}", JSON, 404, "route_not_found"),
    "no such method": ("DELETE", "/v1/wallets", "{}", JSON, 405, "method_not_allowed"),
    "an id that is none": ("GET", "/v1/wallets/../../etc/passwd", "", JSON, 404, "route_not_found"),
    "an id with letters": ("GET", "/v1/wallets/not-an-id", "", JSON, 422, "validation_failed"),
    "NUL in the path": ("GET", "/v1/wallets/%00", "", JSON, 400, "unusable_text"),
    "negative limit": ("GET", "/v1/wallets?limit=-1", "", JSON, 422, "validation_failed"),
    "huge limit": ("GET", f"/v1/wallets?limit={HUGE}", "", JSON, 422, "validation_failed"),
    "bad cursor": ("GET", "/v1/wallets?cursor=AAAA", "", JSON, 400, "bad_cursor"),
}

WRONG: dict[str, tuple[str, object, int, str]] = {
    # name: path, body, status, code
    "unknown member": ("/v1/wallets", {"colour": "red"}, 422, "validation_failed"),
    "wrong type": ("/v1/wallets", {"display_name": 7}, 422, "validation_failed"),
    "policies not a list": ("/v1/wallets", {"policy_ids": "all"}, 422, "validation_failed"),
    "unknown chain type": ("/v1/wallets", {"chain_type": "cobol"}, 422, "validation_failed"),
    "name too long": ("/v1/wallets", {"display_name": "x" * 101}, 422, "validation_failed"),
    "unknown owner": ("/v1/wallets", {"owner_user_id": "01900000-0000-7000-8000-00000000dead"}, 404, "user_not_found"),
    "policy without rules": ("/v1/policies", {"name": "p", "chain_type": "ethereum"}, 422, "policy_invalid"),
    "policy with an unknown member": ("/v1/policies", {**policy([allow()]), "x": 1}, 422, "policy_invalid"),
    "policy that allows silently": (
        "/v1/policies",
        policy([{"method": "*", "action": "ALLOW", "conditions": []}]),
        422,
        "policy_invalid",
    ),
    "unknown method": (WALLET, {"method": "eth_sign", "params": {}}, 422, "method_not_offered"),
    "unknown member of rpc": (WALLET, {**payment(TO, 1), "x": 1}, 422, "rpc_invalid"),
    "unknown member of a transaction": (WALLET, rpc(to=TO, colour="red"), 422, "rpc_invalid"),
    "value of 300 digits": (WALLET, rpc(to=TO, value=HUGE), 422, "rpc_invalid"),
    "value above 2^256": (WALLET, rpc(to=TO, value=str(2**256)), 422, "rpc_invalid"),
    "negative value": (WALLET, rpc(to=TO, value="-1"), 422, "rpc_invalid"),
    "fraction": (WALLET, rpc(to=TO, value=1.5), 422, "rpc_invalid"),
    "exponent": (WALLET, rpc(to=TO, value="1e18"), 422, "rpc_invalid"),
    "truth as value": (WALLET, rpc(to=TO, value=True), 422, "rpc_invalid"),
    "address too short": (WALLET, rpc(to="0x00", value="1"), 422, "rpc_invalid"),
    "address with a wrong checksum": (
        WALLET,
        rpc(to="0xAb5801a7D398351b8bE11C439e05C5B3259aeC9b"),
        422,
        "rpc_invalid",
    ),
    "data not hex": (WALLET, rpc(to=TO, data="0xzz"), 422, "rpc_invalid"),
    "no recipient": (WALLET, rpc(value="1"), 422, "rpc_invalid"),
    "nonce of one's own": (WALLET, rpc(to=TO, nonce=0), 422, "rpc_invalid"),
    "tip above the fee": (
        WALLET,
        rpc(to=TO, max_fee_per_gas="1", max_priority_fee_per_gas="2"),
        422,
        "malformed_transaction",
    ),
    "wrong chain id": (WALLET, rpc(to=TO, chain_id=1), 422, "rpc_invalid"),
    "chain that is none": (WALLET, {**payment(TO, 1), "caip2": "eip155:x"}, 422, "rpc_invalid"),
    "chain that is not configured": (WALLET, {**payment(TO, 1), "caip2": "eip155:5"}, 422, "unknown_chain"),
    "another sender": (WALLET, rpc(**{"to": TO, "from": TO}), 422, "wrong_sender"),
    "preview digest that is none": (WALLET, {**payment(TO, 1), "preview_digest": "0x12"}, 422, "rpc_invalid"),
    "preview digest nobody was shown": (
        WALLET,
        {**payment(TO, 1), "preview_digest": "0x" + "12" * 32},
        409,
        "preview_outdated",
    ),
    "typed data without its type": (
        WALLET,
        {
            "method": "eth_signTypedData_v4",
            "params": {"typed_data": {"types": {}, "primaryType": "X", "domain": {}, "message": {}}},
        },
        422,
        "malformed_typed_data",
    ),
    "time in the past": (
        "/v1/wallets/{wallet}/session-signers",
        {"expires_at": "1999-01-01T00:00:00Z", "allowed_methods": ["personal_sign"]},
        422,
        "session_invalid",
    ),
    "negative time": (
        "/v1/wallets/{wallet}/session-signers",
        {"expires_at": -1, "allowed_methods": ["personal_sign"]},
        422,
        "validation_failed",
    ),
    "time without a zone": (
        "/v1/wallets/{wallet}/session-signers",
        {"expires_at": "2030-01-01T00:00:00", "allowed_methods": ["personal_sign"]},
        422,
        "validation_failed",
    ),
    "limit of 300 digits": (
        "/v1/wallets/{wallet}/session-signers",
        {"expires_at": "2030-01-01T00:00:00Z", "allowed_methods": ["personal_sign"], "max_value_per_transaction": HUGE},
        422,
        "validation_failed",
    ),
    "grantee that is nobody": (
        "/v1/wallets/{wallet}/session-signers",
        {"expires_at": "2030-01-01T00:00:00Z", "allowed_methods": ["personal_sign"], "grantee": "module:nobody"},
        422,
        "session_invalid",
    ),
}
BOOKKEEPING = {"idempotency_keys", "signing_decisions", "audit_entries", "audit_heads", "app_secrets"}
"""What a refusal may leave: that it was refused."""


@pytest.fixture(scope="module")
def victim(deployment: Deployment) -> tuple[App, str]:
    """An app with one wallet."""
    app = deployment.new_app("Bad input")
    return app, app.wallet(ether=1)["id"]


def rows(deployment: Deployment, app: App) -> dict[str, int]:
    """Rows of an app, by table; what only keeps the books of refusals is left out."""
    tables = deployment.rows(
        "select table_name as name from information_schema.columns where column_name = 'app_id' and table_schema = 'public'"
    )
    names = sorted(row["name"] for row in tables if row["name"] not in BOOKKEEPING)
    query = " union all ".join(
        f"select '{name}' as name, count(*) as n from {name} where app_id = %s" for name in names
    )
    return {row["name"]: row["n"] for row in deployment.rows(query, *[app.id] * len(names))}


@pytest.mark.parametrize("name", RAW)
def test_bytes__that_are_no_request__are_refused_and_write_nothing(
    deployment: Deployment, victim: tuple[App, str], name: str
) -> None:
    app, wallet = victim
    method, path, body, content_type, status, code = RAW[name]
    before = rows(deployment, app)
    content = body.encode() if isinstance(body, str) else body
    headers = (
        {"Content-Type": content_type, "Idempotency-Key": new_key()} if content else {"Idempotency-Key": new_key()}
    )

    answer = app.raw(method, path.format(wallet=wallet), content=content, headers=headers)

    problem(answer, status, code)
    assert rows(deployment, app) == before


@pytest.mark.parametrize("name", WRONG)
def test_request__with_a_fault__is_refused_with_a_stable_code_and_writes_nothing(
    deployment: Deployment, victim: tuple[App, str], name: str
) -> None:
    app, wallet = victim
    path, body, status, code = WRONG[name]
    before = rows(deployment, app)

    app.refused(status, code, "POST", path.format(wallet=wallet), body, key=new_key())

    assert rows(deployment, app) == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "credentials_missing"),
        ({"X-App-Id": "x"}, "credentials_missing"),
        ({"X-App-Id": "x", "X-App-Secret": "y"}, "app_credentials_invalid"),
        (
            {"X-App-Id": "01900000-0000-7000-8000-00000000dead", "X-App-Secret": "ls_app_aaaaaaaa_" + "b" * 43},
            "app_credentials_invalid",
        ),
        ({"Authorization": "Bearer lss_" + "c" * 43}, "session_token_invalid"),
        ({"Authorization": "Basic eDp5"}, "token_invalid"),
        ({"Authorization": "Bearer a.b.c"}, "credentials_missing"),
        ({"Authorization": "Bearer ls_admin_aaaaaaaa_" + "b" * 43}, "admin_credential_invalid"),
    ],
)
def test_credentials__missing_or_wrong__are_refused(deployment: Deployment, headers: dict[str, str], code: str) -> None:
    problem(httpx.get(f"{deployment.url}/v1/wallets", headers=headers), 401, code)


def test_token__of_another_audience_forged_or_expired__is_refused(deployment: Deployment, app: App) -> None:
    from datetime import timedelta

    issuer = deployment.stack.devnet.issuer
    good = issuer.issue_token("carol")
    head, body, signature = good.split(".")
    tokens = {
        issuer.issue_token("carol", audience="others"): "token_invalid",
        issuer.issue_token("carol", lifetime=timedelta(hours=-1)): "token_expired",
        f"{head}.{body}.{'A' * len(signature)}": "token_invalid",
        "eyJhbGciOiJub25lIn0." + body + ".": "token_invalid",
    }
    for token, code in tokens.items():
        answer = httpx.get(f"{deployment.url}/v1/wallets", headers={**app.headers, "Authorization": f"Bearer {token}"})
        problem(answer, 401, code)


def test_host__that_is_not_ours__is_refused(deployment: Deployment) -> None:
    problem(httpx.get(f"{deployment.url}/health/live", headers={"Host": "evil.example"}), 400, "host_not_allowed")
