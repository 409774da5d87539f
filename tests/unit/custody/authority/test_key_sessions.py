"""Session signers that are bound to a key: found by the key that signs, and held to their limits whoever owns the wallet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import ALICE, BOB, World, message, pays, send
from tests.support.keys import Key
from tests.unit.custody.authority.conftest import Caller, once

OWNER, BOT, OTHER = Key(31), Key(32), Key(33)
TERMS = {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["eth_sendTransaction"]}


async def granted(app: Caller, **terms: Any) -> tuple[str, dict[str, Any], str]:
    """Path of an owned wallet, its session signer for `BOT`, and the token if there is one."""
    key = await app.register(BOT)
    wallet = await app.wallet(owner_id=await app.quorum(1, OWNER))
    path = f"/wallets/{wallet['id']}"
    body = {**TERMS, "authorization_key_id": key, "grantee": "key", **terms}
    made = await app.signed(OWNER).done("POST", f"{path}/session-signers", body)
    return path, made["session_signer"], made["token"]


async def test_trap_7b__session_of_a_key_on_an_owned_wallet__is_found_and_limited(world: World, app: Caller) -> None:
    """The key's id and the session's id are two things; and the owner of the wallet is no way around the session."""
    policy = await app.policy(pays(BOB, 5))
    path, session, token = await granted(app, policy_ids=[policy], max_value_per_transaction="7")
    assert token is None
    assert session["id"] != session["authorization_key_id"]
    bot = app.signed(BOT)

    await bot.done("POST", f"{path}/rpc", send(BOB, 5), once())
    await bot.refused(403, "policy_denied", "POST", f"{path}/rpc", send(BOB, 6), once())
    await bot.refused(403, "session_value_denied", "POST", f"{path}/rpc", send(BOB, 8), once())
    await bot.refused(403, "policy_denied", "POST", f"{path}/rpc", send(ALICE, 1), once())
    await bot.refused(403, "session_method_denied", "POST", f"{path}/rpc", message(), once())
    await app.refused(401, "authorization_insufficient", "POST", f"{path}/rpc", send(BOB, 1), once())
    await app.signed(OTHER).refused(401, "authorization_insufficient", "POST", f"{path}/rpc", send(BOB, 1), once())
    await bot.refused(401, "authorization_insufficient", "PATCH", path, {"display_name": "mine"})
    await bot.refused(401, "authorization_insufficient", "POST", f"{path}/session-signers", TERMS)

    assert [(d.session_id, i.value) for d, i in world.engine.queued] == [(session["id"], 5)]
    (decision,) = await world.rows("select caller, authorized_by from signing_decisions where allowed")
    assert decision == {
        "caller": f"session:{session['id']}",
        "authorized_by": [f"key:{session['authorization_key_id']}#1"],
    }
    shown = await bot.done("POST", f"{path}/rpc/preview", send(BOB, 6))
    assert shown["verdict"]["reason_code"] == "no_matching_rule"


async def test_key_session__owner_signs_too__acts_as_the_narrower_of_both(app: Caller) -> None:
    path, session, _ = await granted(app)
    both = app.signed(OWNER, BOT)
    await both.refused(403, "session_method_denied", "POST", f"{path}/rpc", message(), once())
    hint = {"x-authorization-key-id": (await app.get("/authorization-keys"))["items"][1]["id"]}
    key = once()
    headers = both.headers_for("POST", f"{path}/rpc", message(), key) | hint
    assert (await app.call("POST", f"{path}/rpc", message(), headers=headers)).status_code == 200
    assert hint["x-authorization-key-id"] != session["authorization_key_id"]


@pytest.mark.parametrize("end", ["session", "key", "rotation", "time"])
async def test_key_session__once_it_has_ended__signs_nothing(world: World, app: Caller, end: str) -> None:
    path, session, _ = await granted(app)
    key = f"/authorization-keys/{session['authorization_key_id']}"
    if end == "session":
        await app.done("DELETE", f"{path}/session-signers/{session['id']}")
    elif end == "key":
        await app.done("POST", f"{key}/revoke")  # nothing but session signers rests on it: the app may
    elif end == "rotation":
        await app.signed(BOT, OTHER).done("POST", f"{key}/rotate", {"public_key": OTHER.text})
    else:
        world.clock.advance(timedelta(days=60))
    await app.signed(BOT).refused(401, "authorization_insufficient", "POST", f"{path}/rpc", send(), once())
    if end == "rotation":
        await app.signed(OTHER).done("POST", f"{path}/rpc", send(), once())


async def test_key_session__key_revoked_while_the_signer_works__releases_nothing(world: World, app: Caller) -> None:
    path, session, _ = await granted(app, allowed_methods=["personal_sign"])
    revoke = f"/authorization-keys/{session['authorization_key_id']}/revoke"
    world.executor.meanwhile = lambda: app.done("POST", revoke)
    await app.signed(BOT).refused(401, "authorization_insufficient", "POST", f"{path}/rpc", message(), once())
    assert await world.rows("select 1 as x from released_signatures") == []


async def test_token_session__with_a_key__needs_both(world: World, app: Caller) -> None:
    path, _, token = await granted(app, grantee="token")
    bot = Caller(world, app.client, {"Authorization": f"Bearer {token}"})
    key, body = once(), send()
    for keys in ((), (OWNER,)):
        await bot.signed(*keys).refused(401, "authorization_insufficient", "POST", f"{path}/rpc", body, key)
    await app.signed(BOT).refused(401, "authorization_insufficient", "POST", f"{path}/rpc", body, once())
    first = await bot.signed(BOT).done("POST", f"{path}/rpc", body, key)
    await bot.refused(401, "authorization_insufficient", "POST", f"{path}/rpc", body, key)
    assert await bot.signed(BOT).done("POST", f"{path}/rpc", body, key) == first


async def test_key_sessions__of_two_keys_that_both_sign__must_be_told_apart(app: Caller) -> None:
    path, first, _ = await granted(app)
    second = await app.register(OTHER)
    body = {**TERMS, "authorization_key_id": second, "grantee": "key"}
    await app.signed(OWNER).done("POST", f"{path}/session-signers", body)
    both = app.signed(BOT, OTHER)
    await both.refused(400, "session_signer_ambiguous", "POST", f"{path}/rpc", send(), once())
    headers = both.headers_for("POST", f"{path}/rpc", send(), once()) | {"x-authorization-key-id": second}
    assert (await app.call("POST", f"{path}/rpc", send(), headers=headers)).status_code == 200
    assert second != first["authorization_key_id"]


async def test_key_session__that_would_be_unclear__is_not_granted(app: Caller) -> None:
    path, session, _ = await granted(app)
    wallet = await app.get(path)
    owner_key = (await app.get(f"/key-quorums/{wallet['owner_id']}"))["authorization_key_ids"][0]
    revoked = await app.register(OTHER)
    await app.done("POST", f"/authorization-keys/{revoked}/revoke")
    for terms in (
        {"grantee": "key"},
        {"grantee": "key", "authorization_key_id": session["authorization_key_id"]},
        {"grantee": "key", "authorization_key_id": owner_key},
        {"grantee": "token", "authorization_key_id": owner_key},
        {"grantee": "key", "authorization_key_id": revoked},
        {"grantee": "key", "authorization_key_id": wallet["owner_id"]},
        {"grantee": "key", "authorization_key_id": "01900000-0000-7000-8000-00000000dead"},
        {"grantee": "module:coordinator", "authorization_key_id": session["authorization_key_id"]},
    ):
        await app.signed(OWNER).refused(422, "session_invalid", "POST", f"{path}/session-signers", {**TERMS, **terms})
    await app.done("DELETE", f"{path}/session-signers/{session['id']}")
    again = {**TERMS, "grantee": "key", "authorization_key_id": session["authorization_key_id"]}
    await app.signed(OWNER).done("POST", f"{path}/session-signers", again)
