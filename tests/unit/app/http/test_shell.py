"""The HTTP shell around routes of a test: problems, limits, headers, bodies, health. No sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from lockstep.app.http import Authenticate, HttpConfig, create_app, read_json
from lockstep.app.http.body import MAX_DEPTH
from lockstep.custody import NO_BODY, Principal, RequestSignatures
from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.errors import AppCredentialsInvalid, WalletNotFound
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import DatabaseUnavailable
from lockstep.kit.errors import LockstepError, Stop
from lockstep.kit.ids import AppId
from lockstep.kit.problems import problems
from lockstep.kit.settings import SettingsInvalid
from lockstep.kit.telemetry import current_correlation_id

KNOWN = {"X-App-Id": "app", "X-App-Secret": "right"}


class Thing(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    size: int = 0
    inner: dict[str, int] = {}


class Custody:
    async def authenticate(
        self,
        *,
        app_id: str | None = None,
        app_secret: str | None = None,
        authorization: str | None = None,
        address: str | None = None,
    ) -> Principal:
        if app_secret != "right":
            raise AppCredentialsInvalid
        return Principal(kind="app", app_id=AppId(str(app_id)))


def routers(authenticate: Authenticate) -> Sequence[APIRouter]:
    routes = APIRouter()

    @routes.post("/things/{name}", status_code=201, responses=problems(WalletNotFound))
    async def make(name: str, body: Thing) -> Thing:
        faults: dict[str, Exception] = {
            "missing": WalletNotFound(wallet="w1"),
            "away": DatabaseUnavailable(),
            "stop": Stop("call somebody"),
            "bug": RuntimeError("the password is tulip"),
        }
        if name in faults:
            raise faults[name]
        return body

    @routes.get("/mine")
    async def mine(principal: Annotated[Principal, Depends(authenticate)]) -> dict[str, str]:
        return {"app": str(principal.app_id), "request": current_correlation_id()}

    return [routes]


@asynccontextmanager
async def client_of(
    probes: dict[str, Callable[[], Any]] | None = None, address: tuple[str, int] = ("192.0.2.1", 1), **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    config = {"public_url": "https://api.example", "trusted_hosts": ["api.example", "[::1]"], **options}
    app = create_app(HttpConfig(**config), checker=Custody(), probes=probes or {}, routers=routers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=address)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["status"] == status
    return document


# --- problems ---------------------------------------------------------------------------------------------------------


async def test_problem__refusal_of_a_module__its_code_and_fields() -> None:
    async with client_of() as client:
        document = problem(await client.post("/v1/things/missing", json={"name": "x"}), 404, "wallet_not_found")
    assert document["wallet"] == "w1"
    assert document["instance"] == "/v1/things/missing"


async def test_problem__passing_fault__503_with_retry_after() -> None:
    async with client_of() as client:
        answer = await client.post("/v1/things/away", json={"name": "x"})
    problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_problem__bug__500_that_says_nothing() -> None:
    async with client_of() as client:
        answer = await client.post("/v1/things/bug", json={"name": "x"})
    problem(answer, 500, "internal_error")
    assert "tulip" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_problem__stop__500_with_its_code() -> None:
    async with client_of() as client:
        problem(await client.post("/v1/things/stop", json={"name": "x"}), 500, "operator_needed")


async def test_validation__several_faults__all_named_no_value_repeated() -> None:
    async with client_of() as client:
        answer = await client.post("/v1/things/x", json={"size": "my-secret", "inner": {"a/b": "1"}, "extra": 1})
    errors = {each["pointer"]: each["kind"] for each in problem(answer, 422, "validation_failed")["errors"]}
    assert errors == {"/name": "missing", "/size": "int_type", "/inner/a~1b": "int_type", "/extra": "extra_forbidden"}
    assert "my-secret" not in answer.text


async def test_routes__unknown_path_and_method__problems() -> None:
    async with client_of() as client:
        problem(await client.get("/v1/nothing"), 404, "route_not_found")
        answer = await client.get("/v1/things/x")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": "x"', 400, "malformed_json"),
        (b'{"name": "\xff"}', 400, "malformed_json"),
        (b'{"name": "x", "size": 1e999}', 400, "malformed_json"),
        (b'{"name": "x", "name": "y"}', 400, "duplicate_member"),
        (b'{"name": "\\u0000"}', 400, "unusable_text"),
        (b'{"name": "\\uD800"}', 400, "unusable_text"),
        (b"[" * 5000 + b"]" * 5000, 400, "nested_too_deep"),
        (b'{"name": "' + b"x" * 2000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_body__not_what_everybody_reads_the_same__refused(body: bytes, status: int, code: str) -> None:
    async with client_of(max_body_bytes=1024 if status == 413 else 1 << 20) as client:
        problem(
            await client.post("/v1/things/x", content=body, headers={"Content-Type": "application/json"}), status, code
        )


async def test_body__sent_in_pieces_without_length__still_bounded() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    async with client_of(max_body_bytes=1024) as client:
        answer = await client.post("/v1/things/x", content=pieces(), headers={"Content-Type": "application/json"})
    problem(answer, 413, "body_too_large")


async def test_body__escaped_backslash_before_u0000__is_text() -> None:
    async with client_of() as client:
        answer = await client.post(
            "/v1/things/x", content=rb'{"name": "a\\u0000"}', headers={"Content-Type": "application/json"}
        )
    assert answer.json()["name"] == "a\\u0000"


async def test_body__not_json_by_its_type__415() -> None:
    async with client_of() as client:
        problem(await client.post("/v1/things/x", content=b"{}"), 415, "media_type_not_supported")


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(10**90), 10**90) | st.text(), lambda inner: st.lists(inner))
)
def test_read_json__any_value__read_or_refused_as_ours(value: Any) -> None:
    import json

    try:
        assert read_json(json.dumps(value)) == value
    except LockstepError as error:
        assert error.code in ("unusable_text", "nested_too_deep")


@given(st.integers(1, 3 * MAX_DEPTH))
def test_read_json__brackets_in_strings__do_not_count(depth: int) -> None:
    assert read_json('"' + "[{" * depth * 10 + '"') == "[{" * depth * 10


@given(st.text())
def test_read_json__any_text__never_another_error(text: str) -> None:
    try:
        read_json(text)
    except LockstepError:
        return


# --- who calls, and how often -----------------------------------------------------------------------------------------


async def test_authenticate__no_or_wrong_credentials__401_with_challenge() -> None:
    async with client_of() as client:
        assert (await client.get("/v1/mine", headers=KNOWN)).json()["app"] == "app"
        answer = await client.get("/v1/mine")
        problem(answer, 401, "app_credentials_invalid")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_authenticate__a_credential_twice__refused() -> None:
    async with client_of() as client:
        answer = await client.get("/v1/mine", headers=[("X-App-Secret", "right"), ("X-App-Secret", "wrong")])
    problem(answer, 401, "credentials_missing")


async def test_limits__strangers_by_address__429_with_retry_after() -> None:
    async with client_of(per_address="3/hour") as client:
        for left in (2, 1, 0):
            answer = await client.get("/v1/nothing")
            assert answer.headers["x-ratelimit-remaining"] == str(left)
        answer = await client.get("/v1/nothing")
        problem(answer, 429, "rate_limited")
        assert 0 < int(answer.headers["retry-after"]) <= 3600
        assert (await client.get("/health/live")).status_code == 200
        problem(await client.get("/v1/mine", headers=KNOWN), 429, "rate_limited")


async def test_limits__known_app__counted_by_app_not_by_address() -> None:
    async with client_of(per_address="1/hour", per_app="3/hour") as client:
        for _ in range(3):
            assert (await client.get("/v1/mine", headers=KNOWN)).status_code == 200
        problem(await client.get("/v1/mine", headers=KNOWN), 429, "rate_limited")
        assert (await client.get("/v1/mine", headers={**KNOWN, "X-App-Id": "other"})).status_code == 200


async def test_limits__guessing_secrets__stopped_by_address() -> None:
    async with client_of(per_address="3/hour") as client:
        wrong = {**KNOWN, "X-App-Secret": "guess"}
        for _ in range(3):
            problem(await client.get("/v1/mine", headers=wrong), 401, "app_credentials_invalid")
        problem(await client.get("/v1/mine", headers=wrong), 429, "rate_limited")


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [("/v1/things/x", b"{", 400), ("/v1/things/x", b'{"name":"x"}', 201), ("/v1/nothing", b"", 404)],
)
async def test_limits__credentials_that_nobody_looked_at__count_by_address(
    path: str, content: bytes, status: int
) -> None:
    async with client_of(per_address="3/hour") as client:
        junk = {"Authorization": "Bearer junk", "Content-Type": "application/json"}
        for _ in range(3):
            assert (await client.post(path, content=content, headers=junk)).status_code == status
        problem(await client.post(path, content=content, headers=junk), 429, "rate_limited")


async def test_limits__faults_of_ours__count_against_nobody() -> None:
    async with client_of(per_address="1/hour") as client:
        for _ in range(3):
            problem(
                await client.post("/v1/things/away", json={"name": "x"}, headers=KNOWN), 503, "database_unavailable"
            )


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_limits__shared_store_away__requests_go_on_uncounted(scheme: str) -> None:
    async with client_of(per_address="1/hour", limits_url=f"{scheme}://127.0.0.1:1") as client:
        for _ in range(3):
            assert (await client.get("/v1/nothing")).status_code == 404
        assert (await client.get("/v1/mine", headers=KNOWN)).status_code == 200


def test_limits__unreadable_rule_or_store__settings_fault() -> None:
    with pytest.raises(SettingsInvalid, match="100/second"):
        create_app(
            HttpConfig(public_url="http://x", trusted_hosts=[], per_app="lots"),
            checker=Custody(),
            probes={},
            routers=routers,
        )


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-ID": "order-17.retry_2"}, "order-17.retry_2"),
        ({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, "ab" * 16),
        ({"X-Request-ID": "evil\tinjected", "traceparent": "nonsense"}, None),
        ({"X-Request-ID": "x" * 65}, None),
    ],
)
async def test_correlation__given_or_made__echoed_and_known_inside(
    headers: dict[str, str], expected: str | None
) -> None:
    async with client_of() as client:
        answer = await client.get("/v1/mine", headers={**KNOWN, **headers})
    request_id = answer.headers["x-request-id"]
    assert answer.json()["request"] == request_id
    assert request_id == expected if expected else len(request_id) == 36


@pytest.mark.parametrize(
    ("host", "status"), [("api.example:8443", 200), ("[::1]:80", 200), ("evil.example", 400), ("", 400)]
)
async def test_host__not_ours__refused(host: str, status: int) -> None:
    async with client_of() as client:
        assert (await client.get("/health/live", headers={"Host": host})).status_code == status


async def test_headers__every_answer__hardened() -> None:
    async with client_of() as client:
        for answer in (await client.get("/health/live"), await client.get("/v1/nothing")):
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            assert answer.headers["cache-control"] == "no-store"


async def test_cors__configured_origin_only__allowed() -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-app-id"}
    async with client_of(cors_origins=["https://shop.example"]) as client:
        good = await client.options("/v1/mine", headers={"Origin": "https://shop.example", **asked})
        evil = await client.options("/v1/mine", headers={"Origin": "https://evil.example", **asked})
        assert good.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in good.headers
        assert "access-control-allow-origin" not in evil.headers
        answer = await client.get("/v1/mine", headers={"Origin": "https://shop.example", **KNOWN})
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


# --- health -----------------------------------------------------------------------------------------------------------


async def test_ready__a_part_is_missing__503_names_it() -> None:
    async def well() -> None: ...

    async def away() -> None:
        raise DatabaseUnavailable("the database at db:5432 does not answer")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def bug() -> None:
        raise RuntimeError("key=tulip")

    async with client_of({"signer": well, "database": away, "chain eip155:1": hangs, "cache": bug}) as client:
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert parts["signer"] == {"status": "ok"}
    assert parts["database"]["code"] == "database_unavailable"
    assert parts["chain eip155:1"]["code"] == "timeout"
    assert "tulip" not in answer.text


async def test_ready__asked_many_times_at_once__parts_are_asked_once() -> None:
    asked = 0

    async def slow() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    async with client_of({"database": slow}) as client:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
    assert asked < 20


async def test_metrics__after_requests__counted_by_route_template() -> None:
    async with client_of() as client:
        await client.post("/v1/things/some-id-4711", json={"name": "x"})
        text = (await client.get("/metrics")).text
    assert 'lockstep_http_request_seconds_count{method="POST",route="/things/{name}",status="201"}' in text
    assert "4711" not in text


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


async def test_openapi__every_route__declares_own_and_shared_refusals() -> None:
    async with client_of() as client:
        document = (await client.get("/openapi.json")).json()
    make = document["paths"]["/v1/things/{name}"]["post"]
    assert set(make["responses"]) == {"201", "400", "404", "413", "415", "422", "429", "500", "503"}
    assert "wallet_not_found" in make["responses"]["404"]["description"]
    assert "security" not in make
    mine = document["paths"]["/v1/mine"]["get"]
    assert "401" in mine["responses"]
    assert {"bearer": []} in mine["security"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


# --- owners' signatures -----------------------------------------------------------------------------------------------


class Signatures(RequestSignatures):
    """Notes what it is given to verify."""

    def __init__(self) -> None:
        super().__init__("https://api.example", SystemClock())
        self.seen: list[Any] = []

    def read(self, method: str, target: str, headers: Any, body: object = NO_BODY) -> RequestProof:
        self.seen.append((method, target, body))
        return RequestProof(b"", [], SystemClock().now())


async def test_signed_request__body_of_the_route__is_the_object_that_was_verified() -> None:
    signatures, given = Signatures(), []

    def routes(authenticate: Authenticate) -> Sequence[APIRouter]:
        router = APIRouter()

        @router.post("/signed")
        async def signed(body: dict[str, Any], principal: Annotated[Principal, Depends(authenticate)]) -> None:
            given.append((body["inner"], principal.proof))

        @router.delete("/signed")
        async def bare(principal: Annotated[Principal, Depends(authenticate)]) -> None:
            given.append((None, principal.proof))

        return [router]

    config = HttpConfig(public_url="https://api.example", trusted_hosts=["api.example"])
    app = create_app(config, checker=Custody(), probes={}, routers=routes, signatures=signatures)
    headers = {**KNOWN, "X-Authorization-Signature": "AAAA"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        body = {"inner": {"value": 1}}
        assert (await client.post("/v1/signed?a=%20b", json=body, headers=headers)).status_code == 200
        assert (await client.delete("/v1/signed", headers=headers)).status_code == 200
        assert (await client.post("/v1/signed", json=body, headers=KNOWN)).status_code == 200
        twice = await client.post("/v1/signed", content=b'{"inner": 1, "inner": 2}', headers=headers)
    assert twice.json()["code"] in ("duplicate_member", "media_type_not_supported")
    (posted, deleted), (first, second, third) = signatures.seen, given
    assert posted[:2] == ("POST", "/v1/signed?a=%20b")
    assert posted[2]["inner"] is first[0]
    assert deleted == ("DELETE", "/v1/signed", NO_BODY)
    assert first[1] is not None
    assert second[1] is not None
    assert third[1] is None, "nobody signed"
