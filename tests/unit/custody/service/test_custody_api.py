"""The routes of custody over HTTP: shapes, codes, headers, and that nothing is written for bad input."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request
from tests.support.custody import ALICE, BOB, CHAIN, World, message, pays, send

from lockstep.app.http.problems import install_problem_handlers
from lockstep.chains.evm import Address, to_checksum
from lockstep.custody import (
    ConditionSetService,
    Principal,
    access_router,
    account_router,
    app_router,
    bootstrap_admin,
    condition_set_router,
    router,
    trial_router,
    user_router,
)
from lockstep.kit.ids import new_id


@dataclass
class Caller:
    """A client with its credentials."""

    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        return await self.client.request(method, f"/v1{path}", json=body, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        return await self.call("POST", path, body, key)


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Caller]:
    async def authenticate(
        request: Request,
        x_app_id: Annotated[str | None, Header()] = None,
        x_app_secret: Annotated[str | None, Header()] = None,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Principal:
        return await world.authenticator.authenticate(
            app_id=x_app_id,
            app_secret=x_app_secret,
            authorization=authorization,
            address=request.client.host if request.client else None,
        )

    web = FastAPI()
    install_problem_handlers(web)
    web.include_router(access_router(world.access, authenticate), prefix="/v1")
    web.include_router(app_router(world.apps, authenticate), prefix="/v1")
    web.include_router(user_router(world.users, authenticate), prefix="/v1")
    web.include_router(account_router(world.accounts, authenticate), prefix="/v1")
    web.include_router(router(world.custody, world.database, authenticate), prefix="/v1")
    sets = ConditionSetService(world.database, world.audit, world.seals, world.clock)
    web.include_router(condition_set_router(sets, authenticate), prefix="/v1")
    web.include_router(trial_router(world.trials, authenticate), prefix="/v1")
    transport = httpx.ASGITransport(web, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://lockstep.test") as client:
        yield Caller(client)


@pytest.fixture
async def admin(world: World, stranger: Caller) -> Caller:
    secret = await bootstrap_admin(world.database, world.seals, world.clock)
    assert secret is not None
    return Caller(stranger.client, {"Authorization": f"Bearer {secret.text}"})


@pytest.fixture
async def app(admin: Caller) -> Caller:
    return await make_app(admin, "Alpha")


async def make_app(admin: Caller, name: str) -> Caller:
    made = await admin.post("/apps", {"name": name})
    assert made.status_code == 201
    body = made.json()
    return Caller(admin.client, {"X-App-Id": body["app"]["id"], "X-App-Secret": body["secret"]})


async def make_wallet(app: Caller, rules: list[dict[str, Any]]) -> dict[str, Any]:
    policy = await app.post("/policies", {"name": "p", "chain_type": "ethereum", "rules": rules})
    assert policy.status_code == 201
    wallet = await app.post("/wallets", {"policy_ids": [policy.json()["id"]], "display_name": "Till"})
    assert wallet.status_code == 201
    body: dict[str, Any] = wallet.json()
    return body


async def test_story__app_policy_wallet_session_preview_payment(world: World, app: Caller) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    path = f"/wallets/{wallet['id']}"
    granted = await app.post(
        f"{path}/session-signers",
        {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["eth_sendTransaction"]},
    )
    assert granted.status_code == 201
    bot = Caller(app.client, {"Authorization": f"Bearer {granted.json()['token']}"})

    shown = await bot.post(f"{path}/rpc/preview", send(BOB, 10))
    assert shown.status_code == 200
    assert shown.json()["verdict"]["allowed"]
    assert shown.json()["quote"]["max_fee"] == str(21_000 * 2 * 10**9)
    assert shown.json()["view"]["sentence"].startswith("Send 0.00000000000000001 ETH to 0x")
    body = send(BOB, 10, preview_digest=shown.json()["digest"])
    paid = await bot.post(f"{path}/rpc", body, key='"quoted-key"')
    again = await bot.post(f"{path}/rpc", body, key="quoted-key")
    denied = await bot.post(f"{path}/rpc", send(BOB, 11), key="more")

    assert paid.status_code == 200
    assert paid.json()["data"]["caip2"] == CHAIN
    assert "idempotency-replay" not in paid.headers
    assert again.json() == paid.json()
    assert again.headers["idempotency-replay"] == "true"
    assert denied.status_code == 403
    assert denied.headers["content-type"] == "application/problem+json"
    assert denied.json()["code"] == "policy_denied"
    assert denied.json()["reason_code"] == "no_matching_rule"
    assert (await bot.get("/caller")).json()["kind"] == "session"
    revoked = await app.call("DELETE", f"{path}/session-signers/{granted.json()['session_signer']['id']}")
    assert revoked.json()["status"] == "revoked"
    assert (await bot.post(f"{path}/rpc", send(BOB, 1), key="late")).status_code == 401


async def test_story__condition_set_from_its_making_to_its_end(admin: Caller, app: Caller) -> None:
    made = await app.post("/condition-sets", {"name": "Known", "value_type": "address", "values": [ALICE]})
    assert made.status_code == 201
    path = f"/condition-sets/{made.json()['id']}"
    condition = {
        "field_source": "ethereum_transaction",
        "field": "to",
        "operator": "in_condition_set",
        "value": made.json()["id"],
    }
    wallet = await make_wallet(app, [{"method": "eth_sendTransaction", "action": "ALLOW", "conditions": [condition]}])

    denied = await app.post(f"/wallets/{wallet['id']}/rpc", send(BOB), key="a")
    added = await app.post(f"{path}/items", [{"value": to_checksum(Address(BOB))}])
    paid = await app.post(f"/wallets/{wallet['id']}/rpc", send(BOB), key="b")
    assert (denied.json()["code"], paid.status_code) == ("policy_denied", 200)
    (item,) = added.json()["items"]
    assert (item["value"], item["canonical_value"]) == (to_checksum(Address(BOB)), BOB)
    found = await app.get(f"{path}/items?query=B0B0")
    assert (found.json()["items"], found.json()["next_cursor"]) == ([item], None)
    assert (await app.get(f"{path}/items/{item['id']}")).json() == item

    assert (await app.call("DELETE", path)).json()["code"] == "condition_set_in_use"
    assert (await app.post(f"{path}/items", [])).status_code == 422
    assert (await app.post(f"{path}/items", [{"value": "0x12"}])).json()["faults"][0]["path"] == "[0].value"
    assert (await app.call("PUT", f"{path}/items", [{"value": ALICE}] * 101)).status_code == 422
    assert (await app.call("DELETE", f"{path}/items/{item['id']}")).status_code == 204
    assert (await app.get(f"{path}/items/{item['id']}")).json()["code"] == "condition_set_item_not_found"
    assert (await app.call("PATCH", path, {"name": "Friends"})).json()["name"] == "Friends"
    (listed,) = (await app.get("/condition-sets")).json()["items"]
    assert (listed["revision"], listed["item_count"]) == (3, 1)
    assert listed == (await app.get(path)).json()
    other = await make_app(admin, "Beta")
    for answer in (await other.get(path), await other.get(f"{path}/items"), await other.call("DELETE", path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "condition_set_not_found")
    assert (await other.get("/condition-sets")).json()["items"] == []


async def test_shadow__narrower_document__says_which_requests_it_would_have_denied(app: Caller) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    for value in (3, 7):
        assert (await app.post(f"/wallets/{wallet['id']}/rpc", send(BOB, value), key=f"k{value}")).status_code == 200
    path = f"/policies/{wallet['policy_ids'][0]}/shadow"
    narrower = {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 5)}

    found = (await app.post(path, {"document": narrower, "last": 1000})).json()

    assert (found["requests"], found["same"], found["newly_denied"], found["newly_allowed"]) == (2, 1, 1, 0)
    (difference,) = found["differences"]
    assert (difference["then"]["allowed"], difference["now"]["reason_code"]) == (True, "no_matching_rule")
    assert "but it is 7" in difference["now"]["reason"]
    for bad in ({"document": narrower, "last": 0}, {"document": narrower, "last": 1001}, {"last": 5}):
        assert (await app.post(path, bad)).status_code == 422
    refused = await app.post(path, {"document": {**narrower, "rules": [{}]}})
    assert (refused.status_code, refused.json()["code"]) == (422, "policy_invalid")


async def test_wallets__of_another_app__do_not_exist(admin: Caller, app: Caller) -> None:
    other = await make_app(admin, "Beta")
    wallet = await make_wallet(other, pays(BOB, 1))
    path, policy = f"/wallets/{wallet['id']}", f"/policies/{wallet['policy_ids'][0]}"
    document = {"name": "p", "chain_type": "ethereum", "rules": []}
    session = {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["personal_sign"]}

    answers = [
        await app.get(path),
        await app.get(f"/wallets/{new_id()}"),
        await app.call("PATCH", path, {"status": "frozen"}),
        await app.post(f"{path}/rpc", message(), key="k"),
        await app.post(f"{path}/rpc/preview", message()),
        await app.post(f"{path}/session-signers", session),
        await app.get(f"{path}/session-signers"),
        await app.call("DELETE", f"{path}/session-signers/{new_id()}"),
        await app.get(policy),
        await app.call("PATCH", policy, document),
        await app.post("/wallets", {"policy_ids": wallet["policy_ids"]}),
    ]

    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert answers[0].json()["code"] == answers[1].json()["code"] == "wallet_not_found"
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert (await app.get("/wallets")).json() == {"items": [], "next_cursor": None}
    assert (await app.get("/policies")).json()["items"] == []


async def test_lists__page_by_page__show_everything_once(app: Caller) -> None:
    made = [(await make_wallet(app, pays(BOB, 1)))["id"] for _ in range(5)]

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await app.get(f"/wallets?limit=2{cursor}")).json()
        seen += [wallet["id"] for wallet in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == made
    assert (await app.get("/wallets?cursor=x")).json()["code"] == "bad_cursor"
    address = (await app.get(f"/wallets/{made[2]}")).json()["address"]
    assert [one["id"] for one in (await app.get(f"/wallets?address={address}")).json()["items"]] == [made[2]]
    entries = (await app.get(f"/audit/entries?resource=wallet:{made[0]}")).json()["items"]
    assert [entry["record"]["action"] for entry in entries] == ["wallet.created"]


async def test_wallet__made_twice_under_one_key__is_one_wallet(world: World, app: Caller) -> None:
    first = await app.post("/wallets", {"display_name": "Till"}, key="k")
    second = await app.post("/wallets", {"display_name": "Till"}, key="k")
    other = await app.post("/wallets", {"display_name": "Purse"}, key="k")

    assert first.json() == second.json()
    assert second.headers["idempotency-replay"] == "true"
    assert other.json()["code"] == "idempotency_key_reused"
    assert len(await world.rows("select 1 as x from wallets")) == 1


async def test_wallet__frozen_by_its_app__signs_nothing_until_thawed(app: Caller) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    path = f"/wallets/{wallet['id']}"
    assert (await app.call("PATCH", path, {"status": "frozen"})).json()["status"] == "frozen"
    assert (await app.post(f"{path}/rpc", send(), key="a")).json()["code"] == "wallet_frozen"
    assert (await app.call("PATCH", path, {"status": "active"})).json()["version"] == 3
    assert (await app.post(f"{path}/rpc", send(), key="b")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"method": "eth_sign", "params": {}}, 422, "method_not_offered"),
        ({"method": "personal_sign"}, 422, "rpc_invalid"),
        ({"method": "personal_sign", "params": {"message": "x", "encoding": "utf-8", "more": 1}}, 422, "rpc_invalid"),
        ({"method": "personal_sign", "params": {"message": 5}}, 422, "rpc_invalid"),
        (send(value=10**300), 422, "rpc_invalid"),
        (send(value=-1), 422, "rpc_invalid"),
        ({**send(), "caip2": "eip155:0"}, 422, "rpc_invalid"),
        ({**send(), "unknown": True}, 422, "rpc_invalid"),
        (send(to="0x1234"), 422, "rpc_invalid"),
        ([], 422, "validation_failed"),
        ("text", 422, "validation_failed"),
    ],
)
async def test_rpc__bad_input__is_named_and_writes_nothing(
    world: World, app: Caller, body: Any, status: int, code: str
) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))

    answer = await app.post(f"/wallets/{wallet['id']}/rpc", body, key="k")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    for table in ("idempotency_keys", "signing_decisions", "released_signatures"):
        assert await world.rows(f"select 1 as x from {table}") == []


async def test_rpc__without_or_with_a_bad_key__is_refused(app: Caller) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    path = f"/wallets/{wallet['id']}/rpc"
    assert (await app.post(path, send())).json()["code"] == "idempotency_key_missing"
    assert (await app.post(path, send(), key="k" * 257)).json()["code"] == "idempotency_key_malformed"
    assert (await app.post(path, send(), key="two words")).json()["code"] == "idempotency_key_malformed"


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "x", "more": 1},
        {"name": 5},
        {},
        {"name": "x", "issuers": [{"issuer": "i", "audience": "a", "jwks_file": "/etc/passwd"}]},
    ],
)
async def test_apps__bad_input__makes_none(world: World, admin: Caller, body: Any) -> None:
    assert (await admin.post("/apps", body)).status_code == 422
    assert await world.rows("select 1 as x from apps") == []


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": "2026-04-01T00:00:00Z"},
        {"expires_at": "2126-04-01T00:00:00Z"},
        {"expires_at": "2026-06-01T00:00:00"},
        {"expires_at": 1},
        {"allowed_methods": []},
        {"allowed_methods": ["export"]},
        {"grantee": "module:stranger"},
        {"grantee": "somebody"},
        {"max_value_per_transaction": 5},
        {"max_value_per_transaction": "-1"},
        {"policy_ids": ["x"]},
    ],
)
async def test_session_signers__that_cannot_be__are_refused(app: Caller, change: dict[str, Any]) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    body = {"expires_at": "2026-06-01T00:00:00Z", "allowed_methods": ["personal_sign"], **change}
    assert (await app.post(f"/wallets/{wallet['id']}/session-signers", body)).status_code == 422


async def test_policies__that_do_not_hold__say_all_that_is_wrong(app: Caller) -> None:
    rules = [{"method": "eth_sendTransaction", "action": "MAYBE", "conditions": []}, {"method": "x"}]
    answer = await app.post("/policies", {"name": "p", "chain_type": "ethereum", "rules": rules})
    assert answer.status_code == 422
    assert answer.json()["code"] == "policy_invalid"
    assert len(answer.json()["faults"]) >= 2


async def test_policies__changed__have_a_next_revision(app: Caller) -> None:
    wallet = await make_wallet(app, pays(BOB, 10))
    path = f"/policies/{wallet['policy_ids'][0]}"
    document = {"name": "wider", "chain_type": "ethereum", "rules": pays(BOB, 100)}
    changed = await app.call("PATCH", path, document)
    assert (changed.json()["revision"], changed.json()["name"]) == (2, "wider")
    assert (await app.get(path)).json() == changed.json()


async def test_secrets__rotate_without_a_gap(app: Caller) -> None:
    fresh = (await app.post("/app/secrets")).json()
    items = (await app.get("/app/secrets")).json()["items"]
    assert len(items) == 2
    assert all(set(item) == {"id", "prefix", "status", "created_at", "last_used_at", "expires_at"} for item in items)
    old = next(item["id"] for item in items if item["id"] != fresh["id"])
    assert (await app.call("DELETE", f"/app/secrets/{old}")).status_code == 204
    assert (await app.get("/app")).status_code == 401
    rotated = Caller(app.client, {**app.headers, "X-App-Secret": fresh["secret"]})
    assert (await rotated.get("/app")).json()["name"] == "Alpha"
    assert (await rotated.call("DELETE", f"/app/secrets/{fresh['id']}")).json()["code"] == "last_secret"


async def test_strangers__get_401_and_the_scheme(stranger: Caller) -> None:
    answer = await stranger.get("/wallets")
    assert answer.status_code == 401
    assert answer.json()["code"] == "credentials_missing"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_administrators__have_no_wallets(admin: Caller) -> None:
    for path in ("/wallets", "/policies", "/audit/entries", "/app"):
        assert (await admin.get(path)).status_code == 403


async def test_wallet_login__over_http__is_an_external_caller(stranger: Caller) -> None:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    maker = Account.create()
    made = await stranger.post("/auth/wallet/message", {"address": maker.address, "chain_id": 31337})
    signature = maker.sign_message(encode_defunct(text=made.json()["message"])).signature
    login = await stranger.post(
        "/auth/wallet", {"message": made.json()["message"], "signature": "0x" + bytes(signature).hex()}
    )
    assert login.status_code == 200
    caller = Caller(stranger.client, {"Authorization": f"Bearer {login.json()['token']}"})
    assert (await caller.get("/caller")).json()["address"] == maker.address.lower()
    assert (await caller.get("/wallets")).json()["code"] == "caller_has_no_app"
    assert (await stranger.post("/auth/wallet", {"message": "x", "signature": "0x" + "00" * 65})).status_code == 401


async def test_wallets__batch_and_list__over_http(app: Caller) -> None:
    body = {"wallets": [{"external_id": "till-1", "display_name": "Till"}, {"external_id": "till-2"}]}
    made = await app.post("/wallets/batch", body, key="batch")
    again = await app.post("/wallets/batch", body, key="batch")
    assert (made.status_code, again.json(), again.headers["idempotency-replay"]) == (201, made.json(), "true")
    first = made.json()["items"][0]

    taken = await app.post("/wallets", {"external_id": "till-1"})
    archived = await app.post(f"/wallets/{first['id']}/archive")
    listed = await app.get("/wallets?fields=id,external_id")
    every = await app.get("/wallets?include_archived=true&external_id=till-1")
    unknown = await app.get("/wallets?fields=id,auth_share")
    restored = await app.post(f"/wallets/{first['id']}/restore")

    assert (taken.status_code, taken.json()["code"]) == (409, "external_id_taken")
    assert archived.json()["archived_at"] is not None
    assert listed.json()["items"] == [{"id": made.json()["items"][1]["id"], "external_id": "till-2"}]
    assert [one["id"] for one in every.json()["items"]] == [first["id"]]
    assert (unknown.status_code, unknown.json()["code"]) == (400, "field_unknown")
    assert restored.json()["archived_at"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"wallets": []},
        {"wallets": [{}] * 101},
        {"wallets": [{"external_id": "a b"}]},
        {"wallets": [{"external_id": ""}]},
        {"wallets": [{"status": "frozen"}]},
        {},
    ],
)
async def test_wallets__a_batch_that_does_not_hold__makes_nothing(world: World, app: Caller, body: Any) -> None:
    refused = await app.post("/wallets/batch", body, key="batch")
    assert refused.status_code == 422
    assert await world.rows("select id from wallets") == []


async def test_apps__administered__over_http(admin: Caller, app: Caller) -> None:
    await make_app(admin, "Beta")
    app_id = app.headers["X-App-Id"]
    first = await admin.get("/apps?limit=1")
    rest = await admin.get(f"/apps?limit=1&cursor={first.json()['next_cursor']}")
    assert [one["name"] for one in (*first.json()["items"], *rest.json()["items"])] == ["Alpha", "Beta"]
    changed = await admin.call("PATCH", f"/apps/{app_id}", {"name": "Gamma", "allowed_networks": ["203.0.113.7"]})
    assert (changed.json()["name"], changed.json()["allowed_networks"]) == ("Gamma", ["203.0.113.7/32"])
    outside = await app.get("/app")
    assert (outside.status_code, outside.json()["code"]) == (403, "address_not_allowed")
    await admin.call("PATCH", f"/apps/{app_id}", {"allowed_networks": ["127.0.0.0/8"]})
    assert (await app.get("/app")).status_code == 200
    for body in ({"allowed_networks": ["10.0.0.1/8"]}, {"allowed_networks": ["x"]}, {"status": "gone"}, {"name": ""}):
        assert (await admin.call("PATCH", f"/apps/{app_id}", body)).status_code == 422
    for method, path, more in [
        ("GET", "/apps", None),
        ("GET", f"/apps/{app_id}", None),
        ("PATCH", f"/apps/{app_id}", {"name": "mine"}),
        ("POST", f"/apps/{app_id}/secrets", {}),
    ]:
        refused = await app.call(method, path, more)
        assert (refused.status_code, refused.json()["code"]) == (403, "caller_not_allowed")

    rotated = await app.post("/app/secrets/rotate", {"overlap_seconds": 60})
    assert rotated.status_code == 201
    secrets = (await app.get("/app/secrets")).json()["items"]
    assert [secret["expires_at"] for secret in secrets] == ["2026-05-01T12:01:00.000Z", None]
    born_dead = await app.post("/app/secrets", {"expires_at": "2026-05-01T12:00:00Z"})
    assert (born_dead.status_code, born_dead.json()["code"]) == (422, "secret_expiry_invalid")
    spare = await admin.post(f"/apps/{app_id}/secrets", {"expires_at": "2026-05-02T00:00:00Z"})
    assert spare.json()["expires_at"] == "2026-05-02T00:00:00.000Z"


async def test_accounts__a_whole_life__over_http(admin: Caller, app: Caller, stranger: Caller) -> None:
    app_id = app.headers["X-App-Id"]
    alice = {"app_id": app_id, "name": "Alice@example.org", "password": "correct horse battery staple"}
    off = await stranger.post("/auth/register", alice)
    assert (off.status_code, off.json()["code"]) == (403, "accounts_off")
    await admin.call("PATCH", f"/apps/{app_id}", {"accounts": "open"})

    asked = [await stranger.post("/auth/register", alice) for _ in range(2)]
    assert [(one.status_code, one.content) for one in asked] == [(202, b"")] * 2
    weak = await stranger.post("/auth/register", {**alice, "password": "password1234"})
    assert (weak.status_code, weak.json()["code"]) == (422, "password_too_weak")
    assert "password1234" not in weak.text
    wrong = await stranger.post("/auth/login", {**alice, "password": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "password_wrong")
    tokens = (await stranger.post("/auth/login", alice)).json()
    user = Caller(stranger.client, {"Authorization": f"Bearer {tokens['access_token']}"})
    seen = (await user.get("/caller")).json()
    assert (seen["kind"], seen["user_id"], seen["role"]) == ("user", tokens["user_id"], "user")
    assert (await user.get(f"/users/{tokens['user_id']}")).json()["issuer"] == "urn:lockstep:accounts"
    refused = await user.get("/users")
    assert (refused.status_code, refused.json()["code"]) == (403, "caller_not_allowed")

    fresh = (await stranger.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})).json()
    changed = {"current_password": alice["password"], "new_password": "incorrect horse, other staple"}
    assert (await user.post("/auth/password", changed)).status_code == 204
    ended = await stranger.post("/auth/refresh", {"refresh_token": fresh["refresh_token"]})
    assert (ended.status_code, ended.json()["code"]) == (401, "refresh_token_invalid")
    assert (await user.get("/caller")).status_code == 401
    assert (await stranger.post("/auth/logout", {"refresh_token": fresh["refresh_token"]})).status_code == 204

    made = await app.post("/users", {"name": "bob", "password": "another horse, same staple"})
    assert (made.status_code, made.json()["role"]) == (201, "user")
    taken = await app.post("/users", {"name": "BOB", "password": "another horse, same staple"})
    assert (taken.status_code, taken.json()["code"]) == (409, "account_name_taken")
    promoted = await app.call("PATCH", f"/users/{made.json()['id']}", {"role": "admin"})
    assert promoted.json()["role"] == "admin"
    lost = await app.call("PUT", f"/users/{made.json()['id']}/password", {"new_password": "a horse of a new staple"})
    assert lost.status_code == 204
    names = [one["role"] for one in (await app.get("/users")).json()["items"]]
    assert names == ["user", "admin"]
    for _ in range(5):
        await stranger.post("/auth/login", {**alice, "name": "carol"})
    paused = await stranger.post("/auth/login", {**alice, "name": "carol"})
    assert (paused.status_code, paused.json()["code"], paused.headers["retry-after"]) == (429, "too_many_logins", "2")


async def test_raw_sign__over_http__needs_a_key_and_a_rule_that_names_it(app: Caller) -> None:
    named = [{"method": "secp256k1_sign", "action": "ALLOW", "conditions": [], "unconditional": True}]
    policy = (await app.post("/policies", {"name": "p", "chain_type": "ethereum", "rules": named})).json()
    wallet = (await app.post("/wallets", {"policy_ids": [policy["id"]]})).json()
    path, body = f"/wallets/{wallet['id']}/raw_sign", {"params": {"hash": "0x" + "ab" * 32}}

    missing = await app.post(path, body)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_missing")
    signed = await app.post(path, body, key="one")
    assert (signed.status_code, signed.json()["method"]) == (200, "raw_sign")
    replayed = await app.post(path, body, key="one")
    assert replayed.json() == signed.json()
    assert replayed.headers["Idempotency-Replay"] == "true"
    wrong = await app.post(path, {"params": {"hash": "0xab"}, "x": 1}, key="two")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "rpc_invalid")
    plain = (await app.post("/wallets", {})).json()
    denied = await app.post(f"/wallets/{plain['id']}/raw_sign", body, key="three")
    assert (denied.status_code, denied.json()["code"]) == (403, "policy_denied")
