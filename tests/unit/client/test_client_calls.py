"""What the client sends, when it sends again, and what it raises; over a transport without a network."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import lockstep.client
from lockstep.client import (
    AppCredentials,
    AsyncClient,
    Client,
    ProblemError,
    Retries,
    SessionCredentials,
    UnexpectedAnswer,
    Unreachable,
    UserCredentials,
    WaitTimeout,
)
from lockstep.client.endpoints import Endpoints

Answer = Callable[[httpx.Request], httpx.Response]
ID = "01a1f8f4-3ad8-7056-bbc5-a62291987af4"
WALLET = {
    "id": ID,
    "address": "0x518834215f062FdB183c39c933E99D279c7920E9",
    "chain_type": "ethereum",
    "public_key": "0x04",
    "owner_user_id": None,
    "policy_ids": ["p"],
    "display_name": "treasury",
    "status": "active",
    "version": 1,
    "created_at": "2030-01-01T00:00:00.000Z",
}
QUICK = Retries(attempts=3, first_pause_seconds=0.001)


def client_of(answer: Answer, credentials: Any = None, **options: Any) -> Client:
    return Client("http://server/", credentials, transport=httpx.MockTransport(answer), **{"retries": QUICK, **options})


def problem(status: int, code: str, retry_after: str = "", **members: Any) -> httpx.Response:
    document = {"type": "x", "title": "t", "status": status, "code": code, "detail": "d", **members}
    return httpx.Response(status, json=document, headers={"Retry-After": retry_after} if retry_after else {})


class Scripted:
    """Answers one after the other, and remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.seen = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


RPC = {"method": "personal_sign", "data": {"signature": "0xabcd"}}


def test_sign__server_busy_and_connection_lost__one_key_over_all_tries() -> None:
    script = Scripted(problem(503, "busy"), httpx.ReadError("lost"), httpx.Response(200, json=RPC))
    with client_of(script) as client:
        assert client.personal_sign("w", "hello") == bytes.fromhex("abcd")
        script.answers = [httpx.Response(200, json=RPC)]
        client.personal_sign("w", "hello")
    keys = [request.headers["Idempotency-Key"] for request in script.seen]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_sign__key_given__used() -> None:
    script = Scripted(httpx.Response(200, json=RPC))
    with client_of(script) as client:
        client.personal_sign("w", b"\x01", idempotency_key="mine")
    assert script.seen[0].headers["Idempotency-Key"] == "mine"
    assert json.loads(script.seen[0].content)["params"] == {"message": "0x01", "encoding": "hex"}


def test_sign_authorization__executed_by_the_account__says_so() -> None:
    answer = {"authorization": {"chain_id": "0x1", "nonce": "0x8"}}
    script = Scripted(httpx.Response(200, json={"method": "eth_sign7702Authorization", "data": answer}))
    with client_of(script) as client:
        given = client.sign_authorization("w", chain_id=1, contract="0xcc", nonce=7, is_self_executed=True)
    assert given == answer["authorization"]
    params = {"chain_id": 1, "contract": "0xcc", "nonce": 7, "executor": "self"}
    assert json.loads(script.seen[0].content) == {"method": "eth_sign7702Authorization", "params": params}


def test_sign_user_operation__entry_point__is_the_contract() -> None:
    script = Scripted(httpx.Response(200, json={**RPC, "method": "eth_signUserOperation"}))
    with client_of(script) as client:
        signed = client.sign_user_operation("w", chain_id=1, entry_point="0xee", user_operation={"nonce": 1})
    assert signed == bytes.fromhex("abcd")
    params = {"chain_id": 1, "contract": "0xee", "user_operation": {"nonce": 1}}
    assert json.loads(script.seen[0].content) == {"method": "eth_signUserOperation", "params": params}


def test_send_calls__calls__are_sent_as_given() -> None:
    data = {"transaction_id": "t", "hash": None, "caip2": "eip155:1"}
    script = Scripted(httpx.Response(200, json={"method": "wallet_sendCalls", "data": data}))
    calls = [{"to": "0xaa", "value": "1"}, {"to": "0xbb", "data": "0x12"}]
    with client_of(script) as client:
        assert client.send_calls("w", "eip155:1", calls) == "t"
    body = json.loads(script.seen[0].content)
    assert (body["caip2"], body["params"]) == ("eip155:1", {"calls": calls, "speed": "standard"})


def test_raw_sign__hash_or_bytes__are_told_apart() -> None:
    answer = {"method": "raw_sign", "data": {"signature": "0xabcd"}}
    script = Scripted(*[httpx.Response(200, json=answer) for _ in range(2)])
    with client_of(script) as client:
        assert client.raw_sign("w", bytes(32)) == bytes.fromhex("abcd")
        client.raw_sign("w", b"hi", hash_function="sha256")
    bodies = [json.loads(request.content)["params"] for request in script.seen]
    assert bodies == [{"hash": "0x" + "00" * 32}, {"bytes": "0x6869", "encoding": "hex", "hash_function": "sha256"}]


def test_sign__first_try_still_at_work__asked_again() -> None:
    script = Scripted(problem(409, "idempotency_in_progress"), httpx.Response(200, json=RPC))
    with client_of(script) as client:
        assert client.rpc("w", "personal_sign", {"message": "x"}).data == {"signature": "0xabcd"}


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        (problem(503, "busy"), 1),
        (httpx.ReadTimeout("late"), 1),
        (httpx.ConnectError("refused"), 3),
        (problem(429, "rate_limited"), 3),
    ],
)
def test_create_policy__no_key__repeated_only_when_nothing_was_done(
    failure: httpx.Response | Exception, tries: int
) -> None:
    script = Scripted(failure, failure, failure)
    with client_of(script) as client, pytest.raises((ProblemError, Unreachable)):
        client.create_policy({"name": "p"})
    assert len(script.seen) == tries


def test_read__refused__not_repeated() -> None:
    script = Scripted(problem(403, "policy_denied", request_id="r", rule_id="limit"))
    with client_of(script) as client, pytest.raises(ProblemError) as caught:
        client.get_wallet("w")
    error = caught.value
    assert (error.code, error.status, error.detail, error.request_id) == ("policy_denied", 403, "d", "r")
    assert error.fields == {"rule_id": "limit"}
    assert not error.is_retryable


def test_read__proxy_answers_for_the_server__problem_with_code_unknown() -> None:
    script = Scripted(httpx.Response(404, text="<html>", headers={"X-Request-Id": "r"}))
    with client_of(script) as client, pytest.raises(ProblemError, match="not a problem document") as caught:
        client.get_app()
    assert caught.value.code == "unknown"


def test_read__success_that_is_no_json__unexpected_answer() -> None:
    with (
        client_of(Scripted(httpx.Response(200, text="<html>"))) as client,
        pytest.raises(UnexpectedAnswer, match="expected JSON"),
    ):
        client.get_app()


def test_read__member_missing__unexpected_answer_with_its_path() -> None:
    wallet = {name: value for name, value in WALLET.items() if name != "version"}
    with (
        client_of(Scripted(httpx.Response(200, json=wallet))) as client,
        pytest.raises(UnexpectedAnswer, match=r"answer\.version: is missing"),
    ):
        client.get_wallet("w")


def test_read__unknown_members__kept() -> None:
    with client_of(Scripted(httpx.Response(200, json={**WALLET, "colour": "red", "status": "resting"}))) as client:
        wallet = client.get_wallet("w")
    assert wallet.raw["colour"] == "red"
    assert wallet.status == "resting"
    assert wallet.created_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert wallet.policy_ids == ("p",)


def test_retries__retry_after__waited_for_at_least_that_long() -> None:
    assert Retries().pause(1, 0.0, 7.0) >= 7.0  # type: ignore[operator]  # fails when None


def test_retries__pauses__grow_with_jitter_up_to_the_longest() -> None:
    retries = Retries(attempts=9, first_pause_seconds=1.0, longest_pause_seconds=4.0, total_seconds=100)
    for tried, limit in ((1, 1.0), (2, 2.0), (3, 4.0), (8, 4.0)):
        pause = retries.pause(tried, 0.0, None)
        assert pause is not None
        assert limit / 2 <= pause <= limit
    assert retries.pause(9, 0.0, None) is None


def test_retries__retry_after_beyond_the_total__not_tried_again() -> None:
    script = Scripted(problem(503, "busy", retry_after="3600"))
    with client_of(script) as client, pytest.raises(ProblemError, match="busy"):
        client.get_app()
    assert len(script.seen) == 1


def test_iterate__pages__all_items_and_the_same_filter() -> None:
    first = httpx.Response(200, json={"items": [WALLET], "next_cursor": "c1"})
    second = httpx.Response(200, json={"items": [{**WALLET, "id": "2"}], "next_cursor": None})
    script = Scripted(first, second)
    with client_of(script) as client:
        assert [wallet.id for wallet in client.iterate_wallets(user_id="u", limit=1)] == [ID, "2"]
    queries = [dict(request.url.params) for request in script.seen]
    assert queries == [{"user_id": "u", "limit": "1"}, {"user_id": "u", "limit": "1", "cursor": "c1"}]


def test_list__one_page__its_cursor() -> None:
    with client_of(Scripted(httpx.Response(200, json={"items": [WALLET], "next_cursor": "c1"}))) as client:
        page = client.list_wallets()
    assert (page.items[0].id, page.next_cursor) == (ID, "c1")


async def test_async_client__same_calls__awaited() -> None:
    script = Scripted(
        problem(503, "busy"),
        httpx.Response(201, json=WALLET),
        httpx.Response(200, json={"items": [WALLET], "next_cursor": None}),
    )
    async with AsyncClient("http://server", retries=QUICK, transport=httpx.MockTransport(script)) as client:
        assert (await client.create_wallet(display_name="treasury")).id == ID
        assert [wallet.id async for wallet in client.iterate_wallets()] == [ID]
    assert script.seen[0].headers["Idempotency-Key"] == script.seen[1].headers["Idempotency-Key"]


def test_clients__methods__the_same_on_both() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert methods(AsyncClient) - methods(Client) == {"stream", "aclose"}
    assert methods(Client) - methods(AsyncClient) == {"close"}
    shown = inspect.signature(Client("http://server").create_wallet)
    assert list(shown.parameters) == [
        "policy_ids",
        "owner_user_id",
        "owner_id",
        "display_name",
        "external_id",
        "chain_type",
        "idempotency_key",
    ]
    assert all(getattr(vars(Endpoints)[name], "__doc__", None) for name in vars(Endpoints) if not name.startswith("_"))


def test_path__hostile_id__stays_one_segment() -> None:
    script = Scripted(httpx.Response(200, json=WALLET))
    with client_of(script) as client:
        client.get_wallet("../apps?x")
        with pytest.raises(ValueError, match="expected an id"):
            client.get_wallet("..")
    assert script.seen[0].url.raw_path == b"/v1/wallets/..%2Fapps%3Fx"


def test_amounts_and_times__written_as_the_api_reads_them() -> None:
    script = Scripted(httpx.Response(200, json={"method": "eth_sendTransaction", "data": {"transaction_id": "t"}}))
    with client_of(script) as client:
        assert client.send_transaction("w", "eip155:1", to="0x01", value=10**20, gas_limit=21_000) == "t"
        with pytest.raises(ValueError, match="with its zone"):
            client.create_session_signer("w", expires_at=datetime(2030, 1, 1), allowed_methods=["personal_sign"])  # noqa: DTZ001
    body = json.loads(script.seen[0].content)
    assert body["params"]["transaction"] == {"to": "0x01", "value": str(10**20), "data": "0x", "gas_limit": "21000"}
    assert body["caip2"] == "eip155:1"


@pytest.mark.parametrize(
    ("credentials", "headers"),
    [
        (AppCredentials("app", "hush"), {"x-app-id": "app", "x-app-secret": "hush"}),
        (SessionCredentials("hush"), {"authorization": "Bearer hush"}),
        (
            UserCredentials(AppCredentials("app", "hush"), lambda: "fresh"),
            {"x-app-id": "app", "x-app-secret": "hush", "authorization": "Bearer fresh"},
        ),
    ],
)
def test_credentials__sent_as_headers__never_shown(credentials: Any, headers: dict[str, str]) -> None:
    script = Scripted(httpx.Response(200, json=WALLET))
    with client_of(script, credentials) as client:
        client.get_wallet("w")
    assert headers.items() <= dict(script.seen[0].headers).items()
    assert "hush" not in repr(credentials)


def test_from_environment__half_an_app__refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_URL", "http://server")
    monkeypatch.setenv("LOCKSTEP_APP_ID", "app")
    monkeypatch.delenv("LOCKSTEP_APP_SECRET", raising=False)
    with pytest.raises(ValueError, match="both"):
        Client.from_environment()
    monkeypatch.setenv("LOCKSTEP_APP_SECRET", "hush")
    monkeypatch.delenv("LOCKSTEP_TOKEN", raising=False)
    with Client.from_environment() as client:
        assert client.credentials == AppCredentials("app", "hush")


ADDRESS = "0x518834215f062FdB183c39c933E99D279c7920E9"
SIGN_IN = (
    f"server wants you to sign in with your Ethereum account:\n{ADDRESS}\n\nSign in.\n\nURI: http://server\n"
    "Version: 1\nChain ID: 1\nNonce: abcdefgh\nIssued At: x\nExpiration Time: y"
)


def test_login__signs_the_text__acts_as_the_address() -> None:
    signed: list[bytes] = []

    def sign(message: bytes) -> bytes:
        signed.append(message)
        return bytes(65)

    login = {"token": "t", "address": ADDRESS.lower(), "expires_at": "2030-01-01T00:00:00Z"}
    caller = {"kind": "external", "address": ADDRESS.lower()}
    script = Scripted(*(httpx.Response(200, json=one) for one in ({"message": SIGN_IN}, login, caller)))
    with client_of(script) as client:
        mine = client.login_wallet(ADDRESS, 1, sign)
        assert mine.get_caller().address == ADDRESS.lower()
    assert signed == [SIGN_IN.encode()]
    assert json.loads(script.seen[1].content) == {"message": SIGN_IN, "signature": "0x" + "00" * 65}
    assert script.seen[2].headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    "message", ["Give me everything", SIGN_IN.replace(ADDRESS, "0x" + "ab" * 20), SIGN_IN.replace("ID: 1", "ID: 2")]
)
def test_login__text_that_is_no_sign_in_of_this_key__not_signed(message: str) -> None:
    with (
        client_of(Scripted(httpx.Response(200, json={"message": message}))) as client,
        pytest.raises(UnexpectedAnswer, match="expected the sign-in text"),
    ):
        client.login_wallet(ADDRESS, 1, lambda _: pytest.fail("signed"))


def test_wait_for__comes_later__seen() -> None:
    seen = iter(range(10))
    with client_of(Scripted()) as client:
        assert client.wait_for(lambda: next(seen), lambda number: number == 3, every_seconds=0.001) == 3
        with pytest.raises(WaitTimeout, match="the end") as caught:
            client.wait_for(lambda: 5, lambda _: False, what="the end", timeout_seconds=0.01, every_seconds=0.005)
    assert caught.value.last == 5


def test_health__not_ready__an_answer() -> None:
    parts = {"database": {"status": "failed", "code": "database_unavailable"}}
    with client_of(Scripted(httpx.Response(503, json={"status": "not_ready", "parts": parts}))) as client:
        health = client.get_health()
    assert not health.is_ready
    assert health.parts["database"]["code"] == "database_unavailable"


def test_package__imports__nothing_else_of_lockstep() -> None:
    folder = Path(lockstep.client.__file__).parent
    allowed = {"cryptography", "eth_hash", "httpx", "rfc8785", "websockets"}
    for place in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(place.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                root = name.split(".")[0]
                is_own = name.startswith("lockstep.client")
                is_standard = root in __import__("sys").stdlib_module_names
                assert is_own or is_standard or root in allowed, f"{place.name} imports {name}"
