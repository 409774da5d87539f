"""Orders and swaps over HTTP: shapes, status codes, and who is let in; the services are the real ones."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tests.support.swap_stage import AMOUNT, Stage

from lockstep import auctions, settlement
from lockstep.app.devnet.anvil import Anvil
from lockstep.custody import Principal
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async def authenticate(request: Request) -> Principal:
        address = request.headers.get("x-test-address")
        return Principal(kind="external", address=address) if address else stage.app

    app = FastAPI()
    app.include_router(auctions.router(stage.auctions, authenticate), prefix="/v1")
    app.include_router(settlement.router(stage.swaps, authenticate), prefix="/v1")

    @app.exception_handler(LockstepError)
    async def problem(_: Request, error: LockstepError) -> JSONResponse:
        return JSONResponse(error.problem(), error.http_status)

    assert app.openapi()["paths"]["/v1/orders/{order_hash}/fills"]["post"]["responses"]["409"]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def body_of(stage: Stage, secret: bytes) -> dict[str, Any]:
    document = await stage.document(secret)
    posted = await stage.signed(document)
    return {
        "source_chain": posted.source_chain,
        "source_factory": posted.source_factory,
        "order": document,
        "signature": posted.signature,
        "signature_kind": "eip712",
    }


async def test_routes__an_order_and_its_swap__from_post_to_secret(stage: Stage, client: httpx.AsyncClient) -> None:
    secret = secrets.token_bytes(32)
    body = await body_of(stage, secret)
    created = await client.post("/v1/orders", json=body)
    assert created.status_code == 201, created.text
    assert (await client.post("/v1/orders", json=body)).status_code == 200
    order = created.json()
    assert order["order"]["price"] == body["order"]["price"]
    assert order["order"]["timeLocks"] == body["order"]["timeLocks"]
    assert (order["state"], order["remaining"]) == ("open", str(AMOUNT))
    path = f"/v1/orders/{order['hash']}"
    assert (await client.get(path)).json() == order
    assert (await client.get("/v1/orders", params={"maker": stage.maker})).json()["items"] == [order]
    price = (await client.get(f"{path}/price")).json()
    assert price["as_of"]["chain"] == stage.source.chain

    missing_key = await client.post(f"{path}/fills", json={"mode": "external", "taker": stage.taker})
    assert missing_key.status_code == 422
    taker = {"x-test-address": stage.taker, "idempotency-key": "one"}
    filled = await client.post(f"{path}/fills", json={"mode": "external", "taker": stage.taker}, headers=taker)
    assert filled.status_code == 201, filled.text
    swap = filled.json()
    assert (swap["mode"], swap["state"]) == ("external", "matched")
    early = await client.post(f"{path}/secrets", json={"secret": "0x" + secret.hex()})
    assert (early.status_code, early.json()["code"]) == (409, "secret_too_early")
    hidden = await client.get(f"{path}/fills/0/secret", headers=taker)
    assert (hidden.status_code, hidden.json()["code"]) == (409, "secret_not_released")
    stranger = {"x-test-address": "0x" + "99" * 20}
    assert (await client.get(f"{path}/fills/0/secret", headers=stranger)).status_code == 403
    assert (await client.get(f"/v1/swaps/{swap['id']}", headers=stranger)).status_code == 404
    assert (await client.get("/v1/swaps", headers=stranger)).json() == {"items": [], "next_cursor": None}
    assert (await client.get("/v1/swaps", headers=taker)).json()["items"][0]["id"] == swap["id"]
    await stage.work()
    timeline = (await client.get(f"/v1/swaps/{swap['id']}/timeline", headers=taker)).json()
    assert isinstance(timeline["items"], list)


async def test_routes__unknown_or_odd_requests__are_4xx(client: httpx.AsyncClient) -> None:
    unknown = "0x" + "ab" * 32
    assert (await client.get(f"/v1/orders/{unknown}")).status_code == 404
    assert (await client.delete(f"/v1/orders/{unknown}")).status_code == 404
    assert (await client.get("/v1/orders/0x12")).status_code == 422
    assert (await client.get("/v1/orders", params={"cursor": "x"})).status_code == 400
    assert (await client.get("/v1/swaps", params={"state": "nonsense"})).status_code == 422
    assert (await client.get("/v1/swaps/none/timeline")).status_code == 404
    secret = {"fill_index": 0, "secret": "0x" + "00" * 31}
    assert (await client.post(f"/v1/orders/{unknown}/secrets", json=secret)).status_code == 422
