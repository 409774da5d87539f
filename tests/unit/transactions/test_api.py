"""The routes of transactions: what a caller sees, and what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tests.support.evm import address, config
from tests.support.transactions import APP, WALLET, Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, to_checksum
from lockstep.custody import Principal
from lockstep.custody.errors import SessionMethodDenied
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, UserId, WalletId, new_id
from lockstep.transactions import State, TransactionsService, router

pytestmark = pytest.mark.chain


class Caller:
    """Who the requests of a test come from."""

    principal = Principal(kind="app", app_id=APP)


OWNER = UserId(new_id())


class Owners:
    """What custody says a caller may see: the wallet belongs to OWNER."""

    async def list_visible(self, _: UnitOfWork, principal: Principal) -> list[WalletId] | None:
        if principal.kind == "session":
            return [principal.wallet_id] if principal.wallet_id else []
        if principal.kind == "user":
            return [WALLET] if principal.user_id == OWNER else []
        return None

    async def check_withdrawal(self, _: UnitOfWork, principal: Principal, __: WalletId, ___: str) -> None:
        if principal.kind == "session":
            raise SessionMethodDenied

    async def release_decisions(self, _: UnitOfWork, __: list[str]) -> None:
        """Nobody has limits here."""


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Desk(database, chains)
    await chains.close()


@pytest.fixture
async def caller() -> Caller:
    return Caller()


@pytest.fixture
async def http(desk: Desk, caller: Caller) -> AsyncIterator[httpx.AsyncClient]:
    async def authenticate() -> Principal:
        return caller.principal

    async def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, LockstepError)
        return JSONResponse(error.problem(), error.http_status)

    app = FastAPI()
    app.add_exception_handler(LockstepError, problem)
    service = TransactionsService(desk.sender, authority=Owners(), clock=desk.clock)  # type: ignore[arg-type]  # only asked what is visible
    app.include_router(router(service, desk.database, authenticate), prefix="/v1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_get__mined_transaction__calldata_hashes_and_timeline(desk: Desk, http: httpx.AsyncClient) -> None:
    queued = await desk.submit(value=7)
    mined = await desk.run_until(queued.id, State.MINED)
    found = (await http.get(f"/v1/transactions/{queued.id}")).json()
    assert found["state"] == "mined"
    assert found["from"] == to_checksum(address(0))
    assert found["value"] == "7"
    assert found["data"] == "0x"
    assert mined.hash is not None
    assert found["hashes"] == [found["hash"]] == ["0x" + mined.hash.hex()]
    assert [step["to_state"] for step in found["timeline"]] == ["queued", "reserved", "signed", "broadcast", "mined"]
    assert "raw" not in found


async def test_list__filters_and_pages__newest_first(desk: Desk, http: httpx.AsyncClient) -> None:
    ids = [(await desk.submit(value=value)).id for value in (1, 2, 3)]
    page = (await http.get("/v1/transactions", params={"limit": 2})).json()
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    rest = (await http.get("/v1/transactions", params={"cursor": page["next_cursor"]})).json()
    assert [item["id"] for item in rest["items"]] == ids[:1]
    assert rest["next_cursor"] is None
    by_state = (await http.get("/v1/transactions", params={"state": "final"})).json()
    assert by_state["items"] == []
    by_chain = (await http.get("/v1/transactions", params={"chain": desk.client.chain, "wallet_id": WALLET})).json()
    assert len(by_chain["items"]) == 3


@pytest.mark.parametrize(
    "params",
    [
        {"state": "lost"},
        {"chain": "cardano:1"},
        {"limit": "0"},
        {"limit": "101"},
        {"wallet_id": "x"},
        {"wallet_id": ""},
    ],
)
async def test_list__wrong_filter__refused(http: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await http.get("/v1/transactions", params=params)).status_code == 422


async def test_list__cursor_of_nobody__bad_cursor(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/transactions", params={"cursor": "nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


async def test_any__other_app_or_other_wallet_of_a_session__not_found(
    desk: Desk, http: httpx.AsyncClient, caller: Caller
) -> None:
    queued = await desk.submit()
    session = {"kind": "session", "app_id": APP, "session_id": new_id()}
    strangers = [
        Principal(kind="app", app_id=AppId(new_id())),
        Principal(**session, wallet_id=WalletId(new_id())),  # type: ignore[arg-type]  # literal members
    ]
    for stranger in strangers:
        caller.principal = stranger
        assert (await http.get(f"/v1/transactions/{queued.id}")).json()["code"] == "transaction_not_found"
        assert (await http.get("/v1/transactions")).json()["items"] == []
    caller.principal = Principal(**session, wallet_id=WALLET)  # type: ignore[arg-type]  # literal members
    assert (await http.get(f"/v1/transactions/{queued.id}")).status_code == 200
    assert len((await http.get("/v1/transactions")).json()["items"]) == 1
    assert (await http.get("/v1/transactions", params={"wallet_id": new_id()})).json()["items"] == []


async def test_any__user__sees_transactions_of_own_wallets_only(
    desk: Desk, http: httpx.AsyncClient, caller: Caller
) -> None:
    transaction = await desk.submit()
    caller.principal = Principal(kind="user", app_id=APP, user_id=UserId(new_id()))
    assert (await http.get("/v1/transactions")).json()["items"] == []
    assert (await http.get("/v1/transactions", params={"wallet_id": WALLET})).json()["items"] == []
    assert (await http.get(f"/v1/transactions/{transaction.id}")).status_code == 404
    caller.principal = Principal(kind="user", app_id=APP, user_id=OWNER)
    assert [item["id"] for item in (await http.get("/v1/transactions")).json()["items"]] == [transaction.id]
    assert (await http.get(f"/v1/transactions/{transaction.id}")).status_code == 200


async def test_cancel__by_those_who_may_and_those_who_may_not__ends_once(
    desk: Desk, http: httpx.AsyncClient, caller: Caller
) -> None:
    queued = await desk.submit()
    route = f"/v1/transactions/{queued.id}/cancel"
    session = {"kind": "session", "app_id": APP, "session_id": new_id()}
    for stranger, status, code in (
        (Principal(kind="app", app_id=AppId(new_id())), 404, "transaction_not_found"),
        (Principal(kind="user", app_id=APP, user_id=UserId(new_id())), 404, "transaction_not_found"),
        (Principal(**session, wallet_id=WalletId(new_id())), 404, "transaction_not_found"),  # type: ignore[arg-type]  # literal members
        (Principal(**session, wallet_id=WALLET), 403, "session_method_denied"),  # type: ignore[arg-type]  # literal members
    ):
        caller.principal = stranger
        answer = await http.post(route)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    caller.principal = Principal(kind="user", app_id=APP, user_id=OWNER)
    answers = [await http.post(route) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert (answers[0].json()["state"], answers[0].json()["cancel_requested_at"] is not None) == ("cancelled", True)


async def test_cancel__mined__refused_with_its_state(desk: Desk, http: httpx.AsyncClient) -> None:
    sent = await desk.submit()
    await desk.run_until(sent.id, State.MINED)
    answer = await http.post(f"/v1/transactions/{sent.id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "transaction_not_cancellable")
    assert answer.json()["state"] == "mined"


async def test_speed_up__mined_or_a_body_that_is_none__refused(desk: Desk, http: httpx.AsyncClient) -> None:
    sent = await desk.submit()
    await desk.run_until(sent.id, State.MINED)
    route = f"/v1/transactions/{sent.id}/speed-up"
    answer = await http.post(route, json={"max_fee_per_gas": "1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "transaction_not_replaceable")
    for body in ({"max_fee_per_gas": 1}, {"max_fee_per_gas": "-1"}, {"gas": "1"}, None):
        assert (await http.post(route, json=body)).status_code == 422
