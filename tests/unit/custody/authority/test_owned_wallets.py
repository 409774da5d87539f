"""Wallets and policies that belong to keys: nothing is changed or signed without them, by no method and on no path."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import ALLOW_ALL, BOB, CHAIN, GWEI, World, message, pays, pure, send
from tests.support.keys import Key
from tests.unit.custody.authority.conftest import Caller, once

from lockstep.chains.evm import UnsignedTransaction
from lockstep.custody import (
    AuthorizationInsufficient,
    Principal,
    RequestReplayed,
    SignedTransaction,
    TransactionIntent,
    WalletNotFound,
)
from lockstep.custody.authority.p256 import parse_signature
from lockstep.custody.authority.proofs import RecordedProof, RequestProof
from lockstep.custody.authority.service import AuthorityService, QuorumTerms
from lockstep.kit.ids import AppId, WalletId, new_id

A, B, C, STRANGER = Key(21), Key(22), Key(23), Key(24)
TYPED = {
    "method": "eth_signTypedData_v4",
    "params": {
        "typed_data": {
            "types": {
                "EIP712Domain": [{"name": "name", "type": "string"}],
                "Note": [{"name": "text", "type": "string"}],
            },
            "primaryType": "Note",
            "domain": {"name": "n"},
            "message": {"text": "t"},
        }
    },
}
METHODS = {
    "personal_sign": message(),
    "eth_signTypedData_v4": TYPED,
    "eth_signTransaction": pure(),
    "eth_sendTransaction": send(),
}


async def owned(app: Caller, threshold: int = 2, *keys: Key) -> tuple[dict[str, Any], str]:
    """A wallet of a quorum, and the path of its requests."""
    quorum = await app.quorum(threshold, *(keys or (A, B, C)))
    wallet = await app.wallet(owner_id=quorum)
    assert (wallet["owner_id"], wallet["owner_user_id"]) == (quorum, None)
    return wallet, f"/wallets/{wallet['id']}/rpc"


def signatures(world: World) -> int:
    return len(world.executor.signed) + len(world.engine.queued)


@pytest.mark.parametrize("method", METHODS)
async def test_rpc__every_method__is_signed_for_the_quorum_only(world: World, app: Caller, method: str) -> None:
    _, path = await owned(app)
    body = METHODS[method]
    for keys in ((), (A,), (A, A), (A, STRANGER)):
        await app.signed(*keys).refused(401, "authorization_insufficient", "POST", path, body, once())
    assert signatures(world) == 0
    await app.signed(A, C).done("POST", path, body, once())
    assert signatures(world) == 1


async def test_rpc__who_authorised__stands_in_decision_and_audit_log(world: World, app: Caller) -> None:
    wallet, path = await owned(app)
    await app.signed(C, A).done("POST", path, message(), once())
    ids = (await app.get(f"/key-quorums/{wallet['owner_id']}"))["authorization_key_ids"]
    expected = sorted([f"key:{ids[0]}#1", f"key:{ids[2]}#1"])
    (decision,) = await world.rows("select authorized_by from signing_decisions where allowed")
    assert decision["authorized_by"] == expected
    entries = (await app.get(f"/audit/entries?resource=wallet:{wallet['id']}"))["items"]
    allowed = next(each["record"] for each in entries if each["record"]["action"] == "signature.allowed")
    assert allowed["authorized_by"] == expected


async def test_rpc__refused_for_lack_of_signatures__is_done_under_the_same_key_once_signed(
    world: World, app: Caller
) -> None:
    _, path = await owned(app)
    key = once()
    await app.signed(A).refused(401, "authorization_insufficient", "POST", path, message(), key)
    await app.signed(A, B).done("POST", path, message(), key)
    assert signatures(world) == 1


@pytest.mark.parametrize("method", ["personal_sign", "eth_sendTransaction"])
async def test_rpc__replayed_answer__is_given_to_who_signs_only(world: World, app: Caller, method: str) -> None:
    """It holds a signature: the app's secret alone must not read it."""
    _, path = await owned(app)
    key, body = once(), METHODS[method]
    first = await app.signed(A, B).done("POST", path, body, key)
    await app.refused(401, "authorization_insufficient", "POST", path, body, key)
    again = await app.signed(B, C).call("POST", path, body, key)
    assert again.json() == first
    assert again.headers["idempotency-replay"] == "true"
    assert signatures(world) == 1


async def test_rpc__signed_for_another_wallet_body_or_key__is_refused(app: Caller) -> None:
    _, path = await owned(app, 1, A)
    other = await app.wallet(owner_id=await app.quorum(1, B))

    def signed() -> dict[str, str]:
        return app.signed(A).headers_for("POST", path, message(), once())

    elsewhere = await app.call("POST", f"/wallets/{other['id']}/rpc", message(), headers=signed())
    changed = await app.call("POST", path, message("other"), headers=signed())
    another = await app.call("POST", path, message(), headers={**signed(), "idempotency-key": once()})
    with_query = await app.call("POST", path + "?x=1", message(), headers=signed())
    for answer in (elsewhere, changed, another, with_query):
        assert (answer.status_code, answer.json()["code"]) == (401, "authorization_insufficient")
    assert (await app.call("POST", path, message(), headers=signed())).status_code == 200


@pytest.mark.parametrize(
    "shadow",
    [
        {"destination": BOB},
        {"params": {"transaction": {"to": BOB, "value": "1", "destination": BOB}}},
        {"params": {"transaction": {"to": BOB, "value": "1"}, "to": BOB}},
        {"caip2": CHAIN, "chain": "eip155:1"},
    ],
    ids=["envelope", "transaction", "params", "chain"],
)
async def test_trap_20__second_field_for_what_is_signed__is_refused(
    world: World, app: Caller, shadow: dict[str, Any]
) -> None:
    """What the owner signs, what policies see and what the wallet signs are one reading of one body."""
    _, path = await owned(app, 1, A)
    await app.signed(A).refused(422, "rpc_invalid", "POST", path, {**send(), **shadow}, once())
    assert signatures(world) == 0


async def test_revoke__while_the_signer_works__releases_nothing(world: World, app: Caller) -> None:
    wallet, path = await owned(app)
    a = (await app.get(f"/key-quorums/{wallet['owner_id']}"))["authorization_key_ids"][0]
    revoke = f"/authorization-keys/{a}/revoke"
    world.executor.meanwhile = lambda: app.signed(A).done("POST", revoke)
    await app.signed(A, B).refused(401, "authorization_insufficient", "POST", path, message(), once())
    assert await world.rows("select 1 as x from released_signatures") == []


def intent_of(wallet: dict[str, Any], app_id: str) -> TransactionIntent:
    return TransactionIntent(
        app_id=AppId(app_id),
        wallet_id=WalletId(wallet["id"]),
        chain=CHAIN,
        from_address=wallet["address"].lower(),
        to=BOB,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
        idempotency_key=new_id(),
    )


QUEUED = UnsignedTransaction(
    chain_id=31337,
    nonce=0,
    to=BOB,
    value=1,
    data=b"",
    gas_limit=21_000,
    max_fee_per_gas=2 * GWEI,
    max_priority_fee_per_gas=GWEI,
)


@pytest.mark.parametrize("change", ["nothing", "revoked", "rotated", "owner", "quorum"])
async def test_queued__signed_as_long_as_what_authorised_it_stands(world: World, app: Caller, change: str) -> None:
    wallet, path = await owned(app)
    quorum = f"/key-quorums/{wallet['owner_id']}"
    a = (await app.get(quorum))["authorization_key_ids"][0]
    await app.signed(A, B).done("POST", path, send(), once())
    ((decision, _),) = world.engine.queued
    signed = app.signed(A, B)
    if change == "revoked":
        await app.signed(B, C).done("POST", f"/authorization-keys/{a}/revoke")
    elif change == "rotated":
        await app.signed(A, Key(99)).done("POST", f"/authorization-keys/{a}/rotate", {"public_key": Key(99).text})
    elif change == "owner":
        await signed.done("PATCH", f"/wallets/{wallet['id']}", {"owner_id": await app.register(STRANGER)})
    elif change == "quorum":
        await signed.done("PATCH", quorum, {"authorization_threshold": 3})

    (answer,) = await world.custody.sign_transactions([(decision.id, QUEUED)])

    expected = SignedTransaction if change == "nothing" else AuthorizationInsufficient
    assert isinstance(answer, expected)


async def test_decide__other_ways_into_the_engine__ask_the_owner_too(world: World, app: Caller) -> None:
    """Speed-ups, cancellations, withdrawals and legs of swaps come in here."""
    wallet, _ = await owned(app)
    app_id = app.headers["X-App-Id"]
    intent, bare = intent_of(wallet, app_id), Principal(kind="app", app_id=AppId(app_id))
    ids = (await app.get(f"/key-quorums/{wallet['owner_id']}"))["authorization_key_ids"]
    proven = Principal(kind="app", app_id=AppId(app_id), proof=RecordedProof([f"key:{each}#1" for each in ids]))
    own = replace(intent, to=intent.from_address, value=0)
    custody = world.custody

    async with world.database.tenant(intent.app_id) as uow:
        decision = await custody.decide_transaction(uow, proven, intent.wallet_id, intent)
        await custody.decide_cancellation(uow, proven, own)
        await custody.check_withdrawal(uow, proven, intent.wallet_id, decision.id)
    for way in (
        lambda uow: custody.decide_transaction(uow, bare, intent.wallet_id, intent),
        lambda uow: custody.decide_cancellation(uow, bare, own),
        lambda uow: custody.check_withdrawal(uow, bare, intent.wallet_id, decision.id),
    ):
        with pytest.raises(AuthorizationInsufficient):
            async with world.database.tenant(intent.app_id) as uow:
                await way(uow)


async def test_decide__same_signed_request_twice__is_a_replay(world: World, app: Caller) -> None:
    wallet, _ = await owned(app, 1, A)
    intent = intent_of(wallet, app.headers["X-App-Id"])
    ends_at = world.clock.now() + timedelta(minutes=5)

    def arrival() -> Principal:
        signature = parse_signature(A.sign_digest(hashlib.sha256(b"the request").digest()))
        return Principal(kind="app", app_id=intent.app_id, proof=RequestProof(b"the request", [signature], ends_at))

    one = arrival()
    for _ in range(2):  # one request may decide on several things
        async with world.database.tenant(intent.app_id) as uow:
            await world.custody.decide_transaction(uow, one, intent.wallet_id, intent)
    with pytest.raises(RequestReplayed):
        async with world.database.tenant(intent.app_id) as uow:
            await world.custody.decide_transaction(uow, arrival(), intent.wallet_id, intent)


async def test_preview__needs_no_signatures__and_binds_the_owner(app: Caller) -> None:
    wallet, path = await owned(app)
    shown = await app.done("POST", f"{path}/preview", send())
    assert shown["verdict"]["allowed"]
    assert shown["authorization"] == {"owner_id": wallet["owner_id"], "needed": 2, "given": 0}
    signed = await app.signed(A).done("POST", f"{path}/preview", send())
    assert signed["authorization"]["given"] == 1
    body = send(preview_digest=shown["digest"])
    await app.refused(401, "authorization_insufficient", "POST", path, body, once())
    await app.signed(A, B).done("POST", path, body, once())

    key = await app.register(STRANGER)
    await app.signed(A, B).done("PATCH", f"/wallets/{wallet['id']}", {"owner_id": key})
    await app.signed(STRANGER).refused(409, "preview_outdated", "POST", path, body, once())


async def test_wallet__changes_by_its_owner_only__except_freezing(app: Caller) -> None:
    wallet, rpc = await owned(app)
    path, policy = f"/wallets/{wallet['id']}", await app.policy()
    changes: list[tuple[str, str, Any]] = [
        ("PATCH", path, {"display_name": "Till"}),
        ("PATCH", path, {"policy_ids": [policy]}),
        ("PATCH", path, {"owner_id": None}),
        ("PATCH", path, {"owner_id": await app.register(STRANGER)}),
        ("PATCH", path, {"status": "frozen", "display_name": "Till"}),
        ("POST", f"{path}/archive", None),
        ("POST", f"{path}/restore", None),
        (
            "POST",
            f"{path}/session-signers",
            {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["personal_sign"]},
        ),
    ]
    for method, at, body in changes:
        for keys in ((), (A,), (STRANGER, A)):
            await app.signed(*keys).refused(401, "authorization_insufficient", method, at, body)

    frozen = await app.done("PATCH", path, {"status": "frozen"})
    assert frozen["status"] == "frozen"
    await app.signed(A, B).refused(403, "wallet_frozen", "POST", rpc, message(), once())
    await app.refused(401, "authorization_insufficient", "PATCH", path, {"status": "active"})
    active = await app.signed(A, B).done("PATCH", path, {"status": "active", "display_name": "Till"})
    assert (active["status"], active["display_name"]) == ("active", "Till")
    await app.signed(A, B).done("POST", f"{path}/archive")
    await app.signed(A, B).done("POST", f"{path}/restore")


async def test_wallet__given_to_a_key_and_taken_away_again(app: Caller) -> None:
    wallet = await app.wallet()
    path, key = f"/wallets/{wallet['id']}", await app.register(A)
    assert (await app.get(f"/wallets?owner_id={key}"))["items"] == []
    given = await app.done("PATCH", path, {"owner_id": key})
    assert given["owner_id"] == key
    assert (await app.get(f"/wallets?owner_id={key}"))["items"] == [given]
    await app.refused(401, "authorization_insufficient", "PATCH", path, {"owner_id": None})
    freed = await app.signed(A).done("PATCH", path, {"owner_id": None})
    assert freed["owner_id"] is None
    await app.done("POST", f"{path}/rpc", message(), once())


@pytest.mark.parametrize("owner", ["unknown", "both", "foreign", "revoked"])
async def test_wallet__given_to_what_cannot_own__is_refused(app: Caller, other_app: Caller, owner: str) -> None:
    nobody = "01900000-0000-7000-8000-00000000dead"
    body: dict[str, Any] = {"owner_id": nobody}
    if owner == "both":
        body = {"owner_id": await app.register(A), "owner_user_id": nobody}
    elif owner == "foreign":
        body = {"owner_id": await other_app.register(A)}
    elif owner == "revoked":
        body = {"owner_id": await app.register(A)}
        await app.done("POST", f"/authorization-keys/{body['owner_id']}/revoke")
    wallet = await app.wallet()
    for method, path in (("POST", "/wallets"), ("PATCH", f"/wallets/{wallet['id']}")):
        answer = await app.call(method, path, body)
        assert answer.status_code in (404, 422)
        assert answer.json()["code"] in ("owner_not_found", "owner_invalid", "user_not_found")
    assert len((await app.get("/wallets"))["items"]) == 1


async def test_revoke__key_that_owns_a_wallet__is_needed(app: Caller) -> None:
    key = await app.register(A)
    await app.wallet(owner_id=key)
    await app.signed(A).refused(409, "authorization_key_needed", "POST", f"/authorization-keys/{key}/revoke")
    quorum = await app.quorum(1, B)
    await app.policy(owner_id=quorum)
    await app.signed(B).refused(409, "key_quorum_in_use", "DELETE", f"/key-quorums/{quorum}")


async def test_policy__of_a_quorum__is_changed_by_it_only(app: Caller) -> None:
    quorum = await app.quorum(2, A, B)
    policy = await app.policy(owner_id=quorum)
    path = f"/policies/{policy}"
    tighter = {"name": "tight", "chain_type": "ethereum", "rules": pays(BOB, 5)}
    wallet = await app.wallet(policy_ids=[policy])
    assert (await app.get(path))["owner_id"] == quorum

    for keys in ((), (A,), (A, STRANGER)):
        await app.signed(*keys).refused(401, "authorization_insufficient", "PATCH", path, tighter)
        await app.signed(*keys).refused(401, "authorization_insufficient", "PATCH", path, {**tighter, "owner_id": None})
    changed = await app.signed(A, B).done("PATCH", path, tighter)
    assert (changed["revision"], changed["owner_id"]) == (2, quorum)
    await app.refused(403, "policy_denied", "POST", f"/wallets/{wallet['id']}/rpc", send(BOB, 6), once())
    freed = await app.signed(A, B).done("PATCH", path, {**tighter, "rules": ALLOW_ALL, "owner_id": None})
    assert freed["owner_id"] is None
    await app.done("PATCH", path, tighter)


async def test_user__as_a_member__counts_by_its_token_and_sees_the_wallet(world: World, app: Caller) -> None:
    app_id = AppId(app.headers["X-App-Id"])
    async with world.database.system("test") as uow:
        for name in ("member", "somebody"):
            await uow.execute(
                "insert into users (id, app_id, issuer, subject, created_at) values (%s, %s, 'i', %s, now())",
                (name, app_id, name),
            )
    ids = [await app.register(A)]
    authority = AuthorityService(world.database, world.audit, world.seals, world.clock)
    itself = Principal(kind="app", app_id=app_id)
    quorum = await authority.create_quorum(itself, QuorumTerms(threshold=2, key_ids=ids, user_ids=["member"]))
    made = await app.wallet(owner_id=quorum.id)
    signed = RecordedProof([f"key:{ids[0]}#1"])
    member = Principal(kind="user", app_id=app_id, user_id="member", proof=signed)  # type: ignore[arg-type]  # an id
    somebody = Principal(kind="user", app_id=app_id, user_id="somebody", proof=signed)  # type: ignore[arg-type]  # an id

    wallet = await world.custody.get_wallet(member, made["id"])
    await world.rpc(member, wallet, message())
    assert [each.id for each in (await world.custody.list_wallets(member)).items] == [wallet.id]
    async with world.database.tenant(app_id) as uow:
        assert await world.custody.list_visible(uow, member) == [wallet.id]
        assert await world.custody.list_visible(uow, somebody) == []
    bare = Principal(kind="user", app_id=app_id, user_id="member")  # type: ignore[arg-type]  # an id
    with pytest.raises(AuthorizationInsufficient):
        await world.rpc(bare, wallet, message())
    with pytest.raises(WalletNotFound):
        await world.rpc(somebody, wallet, message())
    assert (await world.custody.list_wallets(somebody)).items == []
