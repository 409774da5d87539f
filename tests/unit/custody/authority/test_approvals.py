"""Approvals: signatures come in over time, what was approved is done once, and nothing else is."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import ALLOW_ALL, BOB, ORIGIN, World, message, pays, send
from tests.support.keys import Key, raw
from tests.unit.custody.authority.conftest import Caller, once

from lockstep.custody import ApprovalService, AuthorityService, Principal
from lockstep.custody.approvals.errors import ApprovalNotFound
from lockstep.custody.authority.service import QuorumTerms
from lockstep.custody.execution import SignerUnavailable
from lockstep.custody.idempotency.service import LOCK
from lockstep.kit.ids import AppId

A, B, C, STRANGER = Key(41), Key(42), Key(43), Key(44)


@dataclass
class Case:
    """A wallet of two of three, and an approval about it."""

    app: Caller
    wallet: dict[str, Any]
    approval: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/approvals/{self.approval['id']}"

    @property
    def quorum(self) -> str:
        return f"/key-quorums/{self.wallet['owner_id']}"

    async def sign(self, key: Key) -> Any:
        return await self.app.done("POST", f"{self.path}/authorize", {"signature": key.sign(self.approval["payload"])})

    async def sign_refused(self, status: int, code: str, signature: str) -> None:
        await self.app.refused(status, code, "POST", f"{self.path}/authorize", {"signature": signature})

    async def now(self) -> Any:
        return await self.app.get(self.path)


async def case(app: Caller, body: dict[str, Any] | None = None, **more: Any) -> Case:
    wallet = await app.wallet(owner_id=await app.quorum(2, A, B, C))
    asked = {"method": "POST", "path": f"/v1/wallets/{wallet['id']}/rpc", "body": body or message(), **more}
    return Case(app, wallet, await app.done("POST", "/approvals", asked))


def signatures(world: World) -> int:
    return len(world.executor.signed) + len(world.engine.queued)


async def test_story__two_of_three_sign_over_two_days__and_the_answer_is_there(world: World, app: Caller) -> None:
    made = await case(app)
    assert (made.approval["status"], made.approval["needed"], made.approval["given"]) == ("pending", 2, 0)
    assert made.approval["payload"] == {
        "version": 1,
        "approval_id": made.approval["id"],
        "app_id": app.headers["X-App-Id"],
        "expires_at": made.approval["payload"]["expires_at"],
        "request": {"method": "POST", "url": f"{ORIGIN}/v1/wallets/{made.wallet['id']}/rpc", "body": message()},
    }
    first = await made.sign(A)
    assert (first["status"], first["given"], first["response"]) == ("pending", 1, None)
    world.clock.advance(timedelta(days=2))
    again = await made.sign(A)
    assert (again["given"], signatures(world)) == (1, 0)

    done = await made.sign(C)

    assert (done["status"], done["given"], done["version"]) == ("executed", 2, 3)
    assert done["response"]["data"]["signature"].startswith("0x")
    assert len(done["authorized_by"]) == 2
    assert signatures(world) == 1
    (listed,) = (await app.get(f"/approvals?status=executed&resource_id={made.wallet['id']}"))["items"]
    assert listed == await made.now() == done
    entries = (await app.get(f"/audit/entries?resource=wallet:{made.wallet['id']}"))["items"]
    actions = [entry["record"]["action"] for entry in reversed(entries)]
    assert actions == [
        "wallet.created",
        "approval.created",
        "approval.authorized",
        "approval.authorized",
        "signature.allowed",
        "signature.released",
        "approval.executed",
    ]
    assert len(next(e["record"] for e in entries if e["record"]["action"] == "signature.allowed")["authorized_by"]) == 2
    await made.sign_refused(409, "approval_closed", B.sign(made.approval["payload"]))


@pytest.mark.parametrize("what", ["wallet", "policy", "quorum"])
async def test_change__approved__is_made_once(app: Caller, what: str) -> None:
    quorum = await app.quorum(2, A, B, C)
    policy = await app.policy(owner_id=quorum)
    wallet = await app.wallet(owner_id=quorum)
    targets: dict[str, tuple[str, dict[str, Any]]] = {
        "wallet": (f"/wallets/{wallet['id']}", {"display_name": "Till", "owner_id": None}),
        "policy": (f"/policies/{policy}", {"name": "tight", "chain_type": "ethereum", "rules": pays(BOB, 1)}),
        "quorum": (f"/key-quorums/{quorum}", {"authorization_threshold": 3}),
    }
    path, body = targets[what]
    before = await app.get(path)
    asked = {"method": "PATCH", "path": f"/v1{path}", "body": body}
    made = Case(app, wallet, await app.done("POST", "/approvals", asked))
    await made.sign(B)
    assert await app.get(path) == before
    done = await made.sign(A)
    after = await app.get(path)
    assert (done["status"], done["response"]) == ("executed", after)
    counter = "revision" if what == "policy" else "version"
    assert after[counter] == before[counter] + 1


async def test_create__what_could_not_be_done_directly__is_refused(app: Caller, other_app: Caller) -> None:
    made = await case(app)
    free = await app.wallet()
    wallet, nobody = f"/v1/wallets/{made.wallet['id']}", "01900000-0000-7000-8000-00000000dead"
    for path, body in (
        (f"{wallet}/rpc", {"method": "personal_sign", "params": {}}),
        (f"{wallet}/rpc", send(value=2**70) | {"extra": 1}),
        (f"{wallet}/archive", {}),
        ("/v1/policies", {}),
        (f"{wallet}/../{nobody}/rpc", message()),
    ):
        await app.refused(422, "approval_invalid", "POST", "/approvals", {"method": "POST", "path": path, "body": body})
    for path, body in ((wallet, {"policy_ids": "x"}), (f"/v1/policies/{nobody}", {"name": "x"})):
        await app.refused(
            422, "approval_invalid", "POST", "/approvals", {"method": "PATCH", "path": path, "body": body}
        )
    good = {"method": "POST", "path": f"{wallet}/rpc", "body": message()}
    await app.refused(422, "approval_invalid", "POST", "/approvals", {**good, "expires_at": "2026-01-01T00:00:00Z"})
    await app.refused(422, "approval_invalid", "POST", "/approvals", {**good, "expires_at": "2026-07-01T00:00:00Z"})
    asked = {**good, "path": f"/v1/wallets/{free['id']}/rpc"}
    await app.refused(422, "approval_not_needed", "POST", "/approvals", asked)
    await other_app.refused(404, "wallet_not_found", "POST", "/approvals", good)
    assert (await other_app.call("GET", made.path)).status_code == 404
    await other_app.refused(404, "approval_not_found", "POST", f"{made.path}/reject")


async def test_authorize__by_something_else__counts_nothing(world: World, app: Caller) -> None:
    one, body = await case(app), message()
    asked = {"method": "POST", "path": f"/v1/wallets/{one.wallet['id']}/rpc", "body": body}
    twin = replace(one, approval=await app.done("POST", "/approvals", asked))
    payload = one.approval["payload"]
    for signature in (
        STRANGER.sign(payload),
        A.sign(twin.approval["payload"]),
        A.sign({**payload, "request": {**payload["request"], "body": message("other")}}),
        A.sign({"version": 1, "method": "POST", "url": payload["request"]["url"], "headers": {}, "body": body}),
    ):
        await one.sign_refused(401, "authorization_insufficient", signature)
    await one.sign_refused(400, "authorization_signature_malformed", "AAAA")
    await app.refused(401, "authorization_insufficient", "POST", f"{one.path}/authorize", {})
    assert (await one.now())["given"] == 0


async def test_signature_of_an_approval__sent_as_a_direct_request__is_worth_nothing(app: Caller) -> None:
    """Else what was approved would be done a second time."""
    made = await case(app)
    payload = made.approval["payload"]
    headers = app.signed(A, B).headers_for("POST", f"/wallets/{made.wallet['id']}/rpc", message(), once())
    headers["x-authorization-signature"] = f"{A.sign(payload)},{B.sign(payload)}"
    answer = await app.call("POST", f"/wallets/{made.wallet['id']}/rpc", message(), headers=headers)
    assert answer.json()["code"] == "authorization_insufficient"


async def test_approval__expired_or_rejected__is_over(world: World, app: Caller, approvals: ApprovalService) -> None:
    late = await case(app)
    asked = {"method": "POST", "path": late.approval["path"], "body": message("no")}
    unwanted = replace(late, approval=await app.done("POST", "/approvals", asked))
    await late.sign(A)
    await unwanted.sign(A)
    assert (await app.done("POST", f"{unwanted.path}/reject"))["status"] == "rejected"
    await app.refused(409, "approval_closed", "POST", f"{unwanted.path}/reject")
    world.clock.advance(timedelta(hours=72))
    for closed in (late, unwanted):
        await closed.sign_refused(409, "approval_closed", B.sign(closed.approval["payload"]))
    assert (await late.now())["status"] == "expired"
    assert [each["id"] for each in (await app.get("/approvals?status=expired"))["items"]] == [late.approval["id"]]
    assert (await app.get("/approvals?status=pending"))["items"] == []
    assert await approvals.resume() == 1
    assert (await late.now())["finished_at"] is not None
    assert signatures(world) == 0


@pytest.mark.parametrize("change", ["revoked", "rotated", "threshold", "owner"])
async def test_authorize__after_the_owner_changed__counts_by_the_owner_as_it_is(
    world: World, app: Caller, change: str
) -> None:
    made = await case(app)
    await made.sign(A)
    key = (await app.get(made.quorum))["authorization_key_ids"][0]
    both = app.signed(A, B)
    if change == "revoked":
        await app.signed(B, C).done("POST", f"/authorization-keys/{key}/revoke")
    elif change == "rotated":
        await app.signed(A, Key(45)).done("POST", f"/authorization-keys/{key}/rotate", {"public_key": Key(45).text})
    elif change == "threshold":
        await both.done("PATCH", made.quorum, {"authorization_threshold": 3})
    else:
        await both.done("PATCH", f"/wallets/{made.wallet['id']}", {"owner_id": await app.register(STRANGER)})
        await made.sign_refused(401, "authorization_insufficient", B.sign(made.approval["payload"]))
        assert (await made.now())["given"] == 0
        assert (await made.sign(STRANGER))["status"] == "executed"
        return
    after = await made.sign(B)
    assert (after["status"], after["given"]) == ("pending", 2 if change == "threshold" else 1)
    assert signatures(world) == 0
    assert (await made.sign(C))["status"] == "executed"


async def test_policy__tightened_meanwhile__fails_the_approval(world: World, app: Caller) -> None:
    made = await case(app, send(BOB, 5))
    await made.sign(A)
    policy = made.wallet["policy_ids"][0]
    await app.done("PATCH", f"/policies/{policy}", {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 4)})
    done = await made.sign(B)
    assert (done["status"], done["reason_code"], done["response"]) == ("failed", "policy_denied", None)
    await app.done("PATCH", f"/policies/{policy}", {"name": "p", "chain_type": "ethereum", "rules": ALLOW_ALL})
    await made.sign_refused(409, "approval_closed", C.sign(made.approval["payload"]))
    assert signatures(world) == 0


@pytest.mark.parametrize("body", [message(), send()])
async def test_authorize__by_all_at_once_and_twice__is_carried_out_once(
    world: World, app: Caller, body: dict[str, Any]
) -> None:
    made = await case(app, body)
    answers = await asyncio.gather(
        *(
            app.call("POST", f"{made.path}/authorize", {"signature": key.sign(made.approval["payload"])})
            for key in (A, B, C) * 4
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert (await made.now())["status"] == "executed"
    assert signatures(world) == 1
    assert len(await world.rows("select 1 as x from signing_decisions where allowed")) == 1


async def test_kill__while_the_signer_is_away__is_taken_up_again(
    world: World, app: Caller, approvals: ApprovalService
) -> None:
    made = await case(app)
    await made.sign(A)
    world.executor.failure = SignerUnavailable()
    assert (await made.sign(B))["status"] == "processing"
    assert await approvals.resume() == 0, "the first attempt has its time"
    world.clock.advance(LOCK)
    assert await approvals.resume() == 1
    assert (await made.now())["status"] == "processing"
    world.executor.failure = None
    world.clock.advance(LOCK)
    await asyncio.gather(*(approvals.resume() for _ in range(4)))
    assert (await made.now())["status"] == "executed"
    assert signatures(world) == 1


class Killed(BaseException):
    """The process died here."""


class Dying(ApprovalService):
    """Dies between the work and the note that it is done."""

    async def _end(self, *_: object, **__: object) -> None:
        raise Killed


@pytest.mark.parametrize("place", [0, 1])
async def test_kill__between_the_signature_and_the_end__is_done_once(
    world: World, app: Caller, approvals: ApprovalService, place: int
) -> None:
    made = await case(app, (message(), send())[place])
    await made.sign(A)
    dying = object.__new__(Dying)
    dying.__dict__.update(approvals.__dict__)
    itself = Principal(kind="app", app_id=AppId(app.headers["X-App-Id"]))
    with pytest.raises(Killed):
        await dying.authorize(itself, made.approval["id"], B.sign(made.approval["payload"]))
    assert (await made.now())["status"] == "processing"
    world.clock.advance(LOCK)
    await asyncio.gather(*(approvals.resume() for _ in range(3)))
    assert (await made.now())["status"] == "executed"
    assert signatures(world) == 1


@pytest.mark.parametrize("what", ["signature", "change"])
async def test_attack__what_is_over_brought_back_in_the_database__is_not_done_again(
    world: World, app: Caller, approvals: ApprovalService, what: str
) -> None:
    made = await case(app)
    if what == "change":
        asked = {"method": "PATCH", "path": f"/v1/wallets/{made.wallet['id']}", "body": {"display_name": "once"}}
        made = replace(made, approval=await app.done("POST", "/approvals", asked))
    await made.sign(A)
    await made.sign(B)
    version = (await app.get(f"/wallets/{made.wallet['id']}"))["version"]
    async with world.database.system("test") as uow:
        await uow.execute(
            "update approvals set status = 'processing', response = null, finished_at = null, due_at = %s where id = %s",
            (world.clock.now(), made.approval["id"]),
        )
        await uow.execute("delete from idempotency_keys where true")
    await approvals.resume()
    assert (await made.now())["status"] == "processing", "an operator must look at it"
    assert signatures(world) == (1 if what == "signature" else 0)
    assert (await app.get(f"/wallets/{made.wallet['id']}"))["version"] == version


async def half_done(world: World, app: Caller, signature: bytes, key_id: str) -> Case:
    """A change that A signed, with a second signature as the database has it, started by a process that died then."""
    quorum = await app.quorum(2, A, B)
    asked = {"method": "PATCH", "path": f"/v1/key-quorums/{quorum}", "body": {"display_name": "renamed"}}
    made = Case(app, {"owner_id": quorum}, await app.done("POST", "/approvals", asked))
    await made.sign(A)
    if not signature:
        signature = raw(base64.b64decode(B.sign(made.approval["payload"])))
    async with world.database.system("test") as uow:
        await uow.execute(
            "insert into approval_signatures (app_id, approval_id, holder, signature, signed_at)"
            " values (%s, %s, %s, %s, now())",
            (app.headers["X-App-Id"], made.approval["id"], f"key:{key_id}#1", signature),
        )
        await uow.execute(
            "update approvals set status = 'processing', started_at = %s, due_at = %s where id = %s",
            (world.clock.now(), world.clock.now(), made.approval["id"]),
        )
    return made


async def test_kill__change_started_and_not_written__is_written_once(
    world: World, app: Caller, approvals: ApprovalService
) -> None:
    made = await half_done(world, app, b"", "of-b")
    await asyncio.gather(*(approvals.resume() for _ in range(4)))
    assert (await made.now())["status"] == "executed"
    changed = await app.get(made.quorum)
    assert (changed["version"], changed["display_name"]) == (2, "renamed")


async def test_attack__signature_written_into_the_database__is_none(
    world: World, app: Caller, approvals: ApprovalService
) -> None:
    made = await half_done(world, app, bytes(31) + b"\x01" + bytes(31) + b"\x01", "of-b")
    await approvals.resume()
    failed = await made.now()
    assert (failed["status"], failed["reason_code"]) == ("failed", "authorization_insufficient")
    assert (await app.get(made.quorum))["version"] == 1


async def test_resume__long_after_the_answer_was_forgotten__fails_instead_of_signing_again(
    world: World, app: Caller, approvals: ApprovalService
) -> None:
    made = await case(app)
    await made.sign(A)
    world.executor.failure = SignerUnavailable()
    await made.sign(B)
    world.executor.failure = None
    world.clock.advance(timedelta(hours=23))
    await approvals.resume()
    assert (await made.now())["status"] == "failed"
    assert signatures(world) == 0


async def test_user__as_a_member__authorises_by_its_token(
    world: World, app: Caller, authority: AuthorityService, approvals: ApprovalService
) -> None:
    app_id = AppId(app.headers["X-App-Id"])
    async with world.database.system("test") as uow:
        for name in ("member", "somebody"):
            await uow.execute(
                "insert into users (id, app_id, issuer, subject, created_at) values (%s, %s, 'i', %s, now())",
                (name, app_id, name),
            )
    itself = Principal(kind="app", app_id=app_id)
    member = replace(itself, kind="user", user_id="member")  # type: ignore[arg-type]  # an id
    somebody = replace(itself, kind="user", user_id="somebody")  # type: ignore[arg-type]  # an id
    key = await app.register(A)
    quorum = await authority.create_quorum(itself, QuorumTerms(threshold=2, key_ids=[key], user_ids=["member"]))
    wallet = await app.wallet(owner_id=quorum.id)
    asked = {"method": "POST", "path": f"/v1/wallets/{wallet['id']}/rpc", "body": message()}
    made = Case(app, wallet, await app.done("POST", "/approvals", asked))
    approval_id = made.approval["id"]

    with pytest.raises(ApprovalNotFound):
        await approvals.authorize(somebody, approval_id)
    assert (await approvals.list_approvals(somebody)).items == []
    (seen,) = (await approvals.list_approvals(member)).items
    assert seen.approval.id == approval_id
    assert (await approvals.authorize(member, approval_id)).approval.status == "pending"
    done = await made.sign(A)
    assert done["status"] == "executed"
    assert {holder["user_id"] for holder in done["authorized_by"]} == {None, "member"}

    asked["body"] = message("another")
    late = replace(made, approval=await app.done("POST", "/approvals", asked))
    await approvals.authorize(member, late.approval["id"])
    async with world.database.system("test") as uow:
        await uow.execute("update users set status = 'disabled' where app_id = %s and id = 'member'", (app_id,))
    assert (await late.sign(A))["given"] == 1, "who is disabled counts for nothing"
    assert signatures(world) == 1
