"""The stream over real sockets and a real outbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lockstep.custody import Principal
from lockstep.kit.ids import AppId

from .live import APP, STRANGER, LiveStream, live_stream

AS_APP = {"X-App-Id": APP, "X-App-Secret": "secret"}


@pytest.fixture
async def stream(dsn: str) -> AsyncIterator[LiveStream]:
    async with live_stream(dsn) as running:
        yield running


async def test_subscribe__public_topic__snapshot_then_events_in_order(stream: LiveStream) -> None:
    async with stream.client() as client:
        subscribed = await client.subscribe()
        assert subscribed["type"] == "subscribed"
        assert subscribed["as_of_seq"] == 0
        assert subscribed["snapshot"] == [{"order_hash": "0xaa", "state": "open"}]
        await stream.publish(*({"id": f"0x{n}", "maker": "0xAb", "state": "open"} for n in range(5)))
        events = [await client.next() for _ in range(5)]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["prev_seq"] for event in events] == [0, 1, 2, 3, 4]
    assert events[0]["sub"] == "s"
    assert events[0]["data"] == {"id": "0x0", "maker": "0xAb", "state": "open"}
    assert {"topic", "type", "id", "version", "time", "app_id", "correlation_id"} <= events[0].keys()


async def test_subscribe__filter__only_matching_events_linked_by_prev_seq(stream: LiveStream) -> None:
    async with stream.client() as client:
        await client.subscribe(filter={"maker": "0xAA", "state": ["open", "filled"]})
        await stream.publish(
            {"id": "1", "maker": "0xaa", "state": "open"},
            {"id": "2", "maker": "0xbb", "state": "open"},
            {"id": "3", "maker": "0xaa", "state": "cancelled"},
            {"id": "4", "maker": "0xAa", "state": "filled"},
        )
        first, second = await client.next(), await client.next()
    assert (first["id"], first["prev_seq"], first["seq"]) == ("1", 0, 1)
    assert (second["id"], second["prev_seq"], second["seq"]) == ("4", 1, 4)


async def test_subscribe__resume_from__missed_events_once_then_live(stream: LiveStream) -> None:
    await stream.publish(*({"id": str(n)} for n in range(7)))
    await stream.numbered("orders", 7)
    async with stream.client() as client:
        subscribed = await client.subscribe(resume_from=4)
        assert subscribed["resumed"] is True
        await stream.publish({"id": "live"})
        events = [await client.next() for _ in range(4)]
    assert [(event["seq"], event["prev_seq"]) for event in events] == [(5, 4), (6, 5), (7, 6), (8, 7)]


async def test_subscribe__resume_ahead_of_the_stream__gap_then_snapshot(stream: LiveStream) -> None:
    async with stream.client() as client:
        gap = await client.subscribe(resume_from=99)
        assert (gap["type"], gap["reason"]) == ("gap", "ahead_of_stream")
        assert (await client.next())["snapshot"]


async def test_subscribe__app_topic__only_own_events(stream: LiveStream) -> None:
    async with stream.client(**AS_APP) as client, stream.client() as anonymous:
        await client.subscribe("transactions")
        refused = await anonymous.subscribe("transactions")
        assert refused["problem"]["code"] == "credentials_missing"
        await stream.publish({"id": "theirs"}, topic="transactions", kind="transaction_updated", app_id=STRANGER)
        await stream.publish({"id": "ours"}, topic="transactions", kind="transaction_updated", app_id=APP)
        event = await client.next()
    assert (event["id"], event["seq"], event["app_id"]) == ("ours", 1, APP)


@pytest.mark.parametrize(("token", "wallet"), [("session", "w1"), ("user", "wallet-of-user")])
async def test_subscribe__session_or_user__only_own_wallets(stream: LiveStream, token: str, wallet: str) -> None:
    async with stream.client() as client:
        assert (await client.ask(op="authenticate", token=token))["type"] == "authenticated"
        await client.subscribe("transactions", filter={"wallet_id": [wallet, "other"]})
        await stream.publish(
            {"id": "1", "wallet_id": "other"}, {"id": "2", "wallet_id": wallet}, topic="transactions", app_id=APP
        )
        assert (await client.next())["id"] == "2"


async def test_subscribe__external_caller__refused_on_app_topics(stream: LiveStream) -> None:
    async with stream.client(Authorization="Bearer external") as client:
        assert (await client.subscribe("transactions"))["problem"]["code"] == "caller_has_no_app"


async def test_connect__wrong_credentials__refused_before_it_is_open(stream: LiveStream) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(stream.url, additional_headers={"Authorization": "Bearer wrong"}):
            pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body or b"{}")["code"] == "session_token_invalid"


async def test_connect__wrong_credentials_again_and_again__stopped_by_address(dsn: str) -> None:
    async with live_stream(dsn, per_address="3/hour") as stream:
        statuses = []
        for _ in range(4):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(stream.url, additional_headers={"Authorization": "Bearer wrong"}):
                    pass
            statuses.append(refused.value.response.status_code)
    assert statuses == [401, 401, 401, 429]


async def test_connect__foreign_origin__refused(stream: LiveStream) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(stream.url, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "malformed_json"),
        ("[]", "frame_invalid"),
        ('{"op":"subscribe","op":"x"}', "duplicate_member"),
        ('{"op":"dance"}', "frame_invalid"),
        ('{"op":"subscribe","id":"a","topic":"nothing"}', "topic_unknown"),
        ('{"op":"subscribe","id":"a","topic":"orders","filter":{"nothing":1}}', "filter_invalid"),
        ('{"op":"subscribe","id":"a","topic":"orders","filter":{"maker":{}}}', "filter_invalid"),
        ('{"op":"subscribe","id":"a","topic":"orders","filter":{"maker":[]}}', "filter_invalid"),
        ('{"op":"subscribe","id":"a","topic":"orders","resume_from":-1}', "frame_invalid"),
        ('{"op":"subscribe","id":"a","topic":"orders","resume_from":true}', "frame_invalid"),
        ('{"op":"subscribe","id":"a","topic":"orders","colour":1}', "frame_invalid"),
        ('{"op":"subscribe","id":"a b\\"","topic":"orders"}', "frame_invalid"),
        ('{"op":"unsubscribe","id":"a"}', "subscription_unknown"),
        ('{"op":"authenticate","app_id":"x","app_secret":"y"}', "app_credentials_invalid"),
    ],
)
async def test_frame__not_of_this_protocol__problem_and_connection_goes_on(
    stream: LiveStream, frame: str, code: str
) -> None:
    async with stream.client() as client:
        await client.socket.send(frame)
        answer = await client.next()
        assert (answer["type"], answer["problem"]["code"]) == ("error", code)
        assert (await client.ask(op="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "frame",
    [{"op": "subscribe", "id": "s", "topic": "orders"}, {"op": "authenticate", "token": "guess"}],
)
async def test_frame__that_asks_the_database__counts_like_a_request(dsn: str, frame: dict[str, str]) -> None:
    async with live_stream(dsn, per_address="4/hour") as stream, stream.client() as client:  # the first one counted
        for _ in range(3):
            assert (await client.ask(**frame)).get("problem", {}).get("code") != "rate_limited"
            if frame["op"] == "subscribe":
                await client.ask(op="unsubscribe", id="s")
        assert (await client.ask(**frame))["problem"]["code"] == "rate_limited"
        assert (await client.ask(op="ping"))["type"] == "pong"


async def test_frame__of_a_known_caller__counts_by_app(dsn: str) -> None:
    credentials = {"X-App-Id": APP, "X-App-Secret": "secret"}
    async with live_stream(dsn, per_address="1/hour") as stream, stream.client(**credentials) as client:
        for number in range(3):
            assert (await client.subscribe(id=str(number)))["type"] == "subscribed"


async def test_ephemeral__asked_for_by_type__without_sequence(stream: LiveStream) -> None:
    async with stream.client() as client, stream.client() as other:
        await client.subscribe(types=["price_update"], filter={"id": "0x1"})
        await other.subscribe()
        assert stream.hub.is_wanted("orders", "price_update")
        for price in ("1", "2"):
            stream.hub.publish_ephemeral(
                topic="orders", type="price_update", object_id="0x1", data={"price": price}, as_of=datetime.now(UTC)
            )
        frames = [await client.next()]
        await stream.publish({"id": "0x1"})
        assert (await other.next())["type"] == "order_updated"
    assert frames[-1]["data"]["price"] == "2"  # the older one was replaced while it waited
    assert "seq" not in frames[0]
    assert not stream.hub.is_wanted("orders", "price_update")


async def test_slow_client__cut_with_code__others_unharmed(stream: LiveStream) -> None:
    async with connect(stream.url, compression=None, max_queue=1) as slow, stream.client() as quick:
        await slow.send(json.dumps({"op": "subscribe", "id": "s", "topic": "orders"}))
        await quick.subscribe()
        sent = 0
        while len(stream.hub.connections) == 2:
            assert sent < 20_000
            await stream.publish(*({"id": str(n), "filling": "x" * 4000} for n in range(100)))
            sent += 100
            while (await quick.next())["seq"] < sent:
                pass
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(10):
                while True:
                    await slow.recv()
        assert (await quick.ask(op="ping"))["type"] == "pong"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4008


async def test_heartbeat__credentials_revoked__connection_ends(dsn: str) -> None:
    async with (
        live_stream(dsn, heartbeat_seconds=0.05) as stream,
        stream.client(Authorization="Bearer session") as client,
    ):
        await client.subscribe("transactions")
        beat = await client.next("heartbeat")
        assert beat["seqs"] == {"s": 0}
        assert beat["live"] is True
        stream.custody.tokens["session"] = Principal(kind="app", app_id=AppId(APP))
        del stream.custody.tokens["session"]
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4001
