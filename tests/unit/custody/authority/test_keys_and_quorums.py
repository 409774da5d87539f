"""Authorization keys and quorums over HTTP: registered once, rotated and revoked by who holds them, changed by themselves."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support.custody import World
from tests.support.keys import ORDER, Key
from tests.unit.custody.authority.conftest import Caller

A, B, C, D = Key(11), Key(12), Key(13), Key(14)
NOBODY = "01900000-0000-7000-8000-00000000dead"


async def test_story__keys_become_a_quorum_that_changes_itself(world: World, app: Caller) -> None:
    quorum = await app.quorum(2, A, B, C, display_name="Treasury")
    shown = await app.get(f"/key-quorums/{quorum}")
    assert (shown["authorization_threshold"], shown["version"], shown["display_name"]) == (2, 1, "Treasury")
    path, change = f"/key-quorums/{quorum}", {"authorization_threshold": 3}

    for keys in ((), (A,), (A, A), (A, D)):
        problem = await app.signed(*keys).refused(401, "authorization_insufficient", "PATCH", path, change)
        assert (problem["needed"], problem["given"]) == (2, len({*keys} - {D}))
    changed = await app.signed(A, C).done("PATCH", path, change)
    assert (changed["authorization_threshold"], changed["version"]) == (3, 2)
    await app.signed(A, C).refused(401, "authorization_insufficient", "PATCH", path, {"authorization_threshold": 1})
    await app.signed(A, B, C).done("DELETE", path)
    await app.refused(404, "key_quorum_not_found", "GET", path)

    entries = await world.rows(
        "select record::jsonb as record from audit_entries where resource = %s", f"key_quorum:{quorum}"
    )
    by_action = {each["record"]["action"]: each["record"] for each in entries}
    assert list(by_action) == ["key_quorum.created", "key_quorum.changed", "key_quorum.deleted"]
    assert len(by_action["key_quorum.changed"]["authorized_by"]) == 2
    assert all(
        who.startswith("key:") and who.endswith("#1") for who in by_action["key_quorum.deleted"]["authorized_by"]
    )


@pytest.mark.parametrize("form", ["pem", "base64", "raw", "hex"])
async def test_trap_10__same_point_in_another_form__is_taken(app: Caller, form: str) -> None:
    forms = {
        "pem": A.pem,
        "base64": A.text,
        "raw": base64.b64encode(A.point).decode(),
        "hex": A.point.hex(),
    }
    await app.register(A)
    await app.refused(409, "public_key_taken", "POST", "/authorization-keys", {"public_key": forms[form]})


async def test_keys__of_another_app__do_not_exist(app: Caller, other_app: Caller) -> None:
    key, quorum = await app.register(A), await app.quorum(1, B)
    await other_app.register(A)  # another app may know the same holder
    for path in (f"/authorization-keys/{key}", f"/key-quorums/{quorum}"):
        assert (await other_app.call("GET", path)).status_code == 404
    await other_app.signed(A).refused(404, "authorization_key_not_found", "POST", f"/authorization-keys/{key}/revoke")
    await other_app.signed(B).refused(404, "key_quorum_not_found", "DELETE", f"/key-quorums/{quorum}")
    body = {"authorization_threshold": 1, "authorization_key_ids": [key]}
    await other_app.refused(422, "key_quorum_invalid", "POST", "/key-quorums", body)
    assert [each["public_key"] for each in (await other_app.get("/authorization-keys"))["items"]] == [A.text]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"authorization_threshold": 1}, 422),
        ({"authorization_threshold": 2, "authorization_key_ids": ["A"]}, 422),
        ({"authorization_threshold": 0, "authorization_key_ids": ["A"]}, 422),
        ({"authorization_threshold": 1, "authorization_key_ids": ["A", "A"]}, 422),
        ({"authorization_threshold": 1, "authorization_key_ids": [NOBODY]}, 422),
        ({"authorization_threshold": 1, "key_quorum_ids": [NOBODY]}, 422),
        ({"authorization_threshold": 1, "user_ids": [NOBODY]}, 422),
        ({"authorization_threshold": 1, "authorization_key_ids": ["A"], "key_quorum_ids": ["inner"]}, 422),
        ({"authorization_threshold": 1, "key_quorum_ids": ["outer"]}, 422),
        ({"authorization_threshold": True, "authorization_key_ids": ["A"]}, 422),
    ],
)
async def test_create_quorum__that_does_not_hold__is_refused(app: Caller, body: dict[str, Any], status: int) -> None:
    """inner = 1 of A and B; outer = 1 of inner."""
    a = await app.register(A)
    inner = await app.quorum(1, B)
    await app.signed(B).done("PATCH", f"/key-quorums/{inner}", {"authorization_key_ids": [a]})
    outer = (await app.done("POST", "/key-quorums", {"authorization_threshold": 1, "key_quorum_ids": [inner]}))["id"]
    names = {"A": a, "inner": inner, "outer": outer}
    sent = {
        name: [names.get(each, each) for each in value] if isinstance(value, list) else value
        for name, value in body.items()
    }
    assert (await app.call("POST", "/key-quorums", sent)).status_code == status


async def test_update_quorum__that_is_in_another__may_not_take_its_members(app: Caller) -> None:
    a = await app.register(A)
    inner = await app.quorum(1, B)
    body = {"authorization_threshold": 2, "authorization_key_ids": [a], "key_quorum_ids": [inner]}
    outer = (await app.done("POST", "/key-quorums", body))["id"]
    path = f"/key-quorums/{inner}"

    await app.signed(B).refused(422, "key_quorum_invalid", "PATCH", path, {"authorization_key_ids": [a]})
    await app.signed(B).refused(422, "key_quorum_invalid", "PATCH", path, {"key_quorum_ids": [outer]})
    await app.signed(B).refused(409, "key_quorum_in_use", "DELETE", path)
    await app.signed(A).refused(401, "authorization_insufficient", "DELETE", f"/key-quorums/{outer}")
    await app.signed(A, B).done("DELETE", f"/key-quorums/{outer}")


async def test_rotate__by_old_and_new_together__puts_the_new_one_in_force(app: Caller) -> None:
    quorum = await app.quorum(1, A)
    (key,) = (await app.get(f"/key-quorums/{quorum}"))["authorization_key_ids"]
    path, body = f"/authorization-keys/{key}/rotate", {"public_key": B.pem}

    for keys in ((), (A,), (B,), (A, C)):
        await app.signed(*keys).refused(401, "authorization_insufficient", "POST", path, body)
    rotated = await app.signed(B, A).done("POST", path, body)

    assert (rotated["id"], rotated["public_key"], rotated["revision"]) == (key, B.text, 2)
    change = {"display_name": "renamed"}
    await app.signed(A).refused(401, "authorization_insufficient", "PATCH", f"/key-quorums/{quorum}", change)
    await app.signed(B).done("PATCH", f"/key-quorums/{quorum}", change)
    await app.refused(409, "public_key_taken", "POST", "/authorization-keys", {"public_key": A.text})


async def test_revoke__by_whom_and_until_when(app: Caller) -> None:
    unused = await app.register(D)
    revoked = await app.done("POST", f"/authorization-keys/{unused}/revoke")
    assert revoked["status"] == "revoked"
    assert (await app.done("POST", f"/authorization-keys/{unused}/revoke"))["revoked_at"] == revoked["revoked_at"]

    quorum = await app.quorum(2, A, B, C)
    a, b, _ = (await app.get(f"/key-quorums/{quorum}"))["authorization_key_ids"]
    await app.refused(401, "authorization_insufficient", "POST", f"/authorization-keys/{a}/revoke")
    await app.signed(B).refused(401, "authorization_insufficient", "POST", f"/authorization-keys/{a}/revoke")
    await app.signed(B, C).done("POST", f"/authorization-keys/{a}/revoke")
    problem = await app.signed(B).refused(409, "authorization_key_needed", "POST", f"/authorization-keys/{b}/revoke")
    assert "never" in problem["title"]
    await app.signed(A, B).refused(401, "authorization_insufficient", "DELETE", f"/key-quorums/{quorum}")


async def test_change__same_signed_request_again__is_a_replay(app: Caller) -> None:
    """Also with the second form of its signature."""
    quorum = await app.quorum(1, A)
    path, body = f"/key-quorums/{quorum}", {"display_name": "once"}
    headers = app.signed(A).headers_for("PATCH", path, body, None)
    first = await app.call("PATCH", path, body, headers=headers)
    again = await app.call("PATCH", path, body, headers=headers)
    assert (first.status_code, again.status_code, again.json()["code"]) == (200, 409, "request_replayed")
    r, s = decode_dss_signature(base64.b64decode(headers["x-authorization-signature"]))
    second_form = base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()
    third = await app.call("PATCH", path, body, headers={**headers, "x-authorization-signature": second_form})
    assert third.json()["code"] == "request_replayed"
    fresh = await app.signed(A).call("PATCH", path, body)
    assert fresh.status_code == 200


async def test_used_requests__once_they_have_expired__are_forgotten(world: World, app: Caller) -> None:
    quorum = await app.quorum(1, A)
    await app.signed(A).done("PATCH", f"/key-quorums/{quorum}", {"display_name": "x"})
    await world.custody.purge_expired()
    assert len(await world.rows("select 1 as x from used_requests")) == 1
    world.clock.advance(timedelta(hours=1))
    await world.custody.purge_expired()
    assert await world.rows("select 1 as x from used_requests") == []


async def test_keys_and_quorums__by_others_than_the_app__are_not_made(world: World, app: Caller) -> None:
    wallet = await app.wallet()
    granted = await app.done(
        "POST",
        f"/wallets/{wallet['id']}/session-signers",
        {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["personal_sign"]},
    )
    bot = Caller(world, app.client, {"Authorization": f"Bearer {granted['token']}"})
    await bot.refused(403, "caller_not_allowed", "POST", "/authorization-keys", {"public_key": A.text})
    await bot.refused(403, "caller_not_allowed", "GET", "/authorization-keys")
    await bot.refused(403, "caller_not_allowed", "GET", "/key-quorums")


async def test_bad_keys_and_headers__are_problems(app: Caller) -> None:
    await app.refused(422, "authorization_key_invalid", "POST", "/authorization-keys", {"public_key": "x"})
    quorum = await app.quorum(1, A)
    path, body = f"/key-quorums/{quorum}", {"display_name": "x"}
    headers = app.signed(A).headers_for("PATCH", path, body, None)
    bad = {
        "authorization_signature_malformed": {"x-authorization-signature": "AAAA"},
        "request_expiry_missing": {"x-request-expiry": None},
        "request_expiry_invalid": {"x-request-expiry": "1777637700"},
        "request_expired": {"x-request-expiry": "1677637700000"},
    }
    for code, change in bad.items():
        sent = {name: value for name, value in {**headers, **change}.items() if value is not None}
        answer = await app.call("PATCH", path, body, headers=sent)
        assert (answer.json()["code"], answer.status_code) == (code, 401 if code == "request_expired" else 400)
    far = app.signed(A).headers_for("PATCH", path, body, None, seconds=25 * 3600)
    assert (await app.call("PATCH", path, body, headers=far)).json()["code"] == "request_expiry_invalid"
