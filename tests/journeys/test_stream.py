"""The stream over the real API: it resumes where it was, and a client that does not read harms nobody but itself."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tests.journeys.support import App, Deployment, Listener, payment, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

FLOOD, AT_ONCE = 20_000, 1_000
"""Events, and how many of them come at once: fewer than a client may have waiting."""


def cut_clients(url: str) -> float:
    """How many clients the API has cut because they were too slow."""
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith('lockstep_stream_cut_total{code="4008"}'):
            return float(line.split()[-1])
    return 0.0


def is_served(server_port: int, client_port: int) -> bool:
    """Whether the server's end of a TCP connection on this machine is open."""
    ends = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        local.endswith(f":{server_port:04X}") and remote.endswith(f":{client_port:04X}") and state == "01"
        for local, remote, state in ends
    )


def test_stream__client_that_stops_reading__is_cut_while_others_get_everything(
    deployment: Deployment, app: App
) -> None:
    before = cut_clients(deployment.url)
    address = urlsplit(deployment.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((address.hostname, address.port))
    with (
        connect(
            deployment.url.replace("http", "ws", 1) + "/v1/stream",
            sock=raw,
            additional_headers=app.headers,
            compression=None,
            max_queue=1,
            ping_interval=None,
        ) as lazy,
        Listener(app, {"topic": "transactions"}) as diligent,
    ):
        lazy.send(json.dumps({"op": "subscribe", "id": "lazy", "topic": "transactions"}))
        while json.loads(lazy.recv())["type"] != "subscribed":
            pass
        for first in range(1, FLOOD + 1, AT_ONCE):
            last = first + AT_ONCE - 1
            with deployment.database() as connection:
                connection.execute(
                    "insert into outbox (topic, type, object_id, version, app_id, data)"
                    " select 'transactions', 'transaction_updated', 'flood-' || n, 1, %s,"
                    " jsonb_build_object('wallet_id', 'w', 'chain', 'c', 'state', 's', 'padding', repeat('x', 1000))"
                    " from generate_series(%s::int, %s::int) n",
                    (app.id, first, last),
                )
            until(lambda n=last: len(diligent.events()) >= n, "these events at the diligent client")
        until(lambda: cut_clients(deployment.url) > before, "the lazy client to be cut")
        answer = app.raw("GET", "/v1/wallets")
        # Not even its socket is kept: what nobody reads would hold memory for as long as TCP lets it.
        until(lambda: not is_served(address.port or 0, raw.getsockname()[1]), "the lazy client to be given up")

        events = diligent.events()
        assert [event["id"] for event in events] == [f"flood-{n}" for n in range(1, FLOOD + 1)]
        seqs = [event["seq"] for event in events]
        assert seqs == list(range(seqs[0], seqs[0] + FLOOD))
        assert answer.status_code == 200
        seen = 0
        with suppress(ConnectionClosed):
            while True:
                lazy.recv(timeout=10)
                seen += 1
        assert seen < FLOOD


def test_stream__client_that_comes_back__gets_what_it_missed_once_and_in_order(app: App) -> None:
    wallet = app.wallet(ether=1)
    with Listener(app, {"topic": "transactions"}) as first:
        one = app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"]
        first.wait(lambda f: f.get("id") == one and f["data"]["state"] == "signed", "the signed event")
        seen = first.events()
    app.wait_transaction(one)

    with Listener(app, {"topic": "transactions", "resume_from": seen[-1]["seq"]}) as second:
        second.wait(lambda f: f.get("id") == one and f["data"]["state"] == "final", "the final event")
        both = seen + second.events()

    assert [event["seq"] for event in both] == list(range(both[0]["seq"], both[0]["seq"] + len(both)))
    assert [event["data"]["state"] for event in both] == ["queued", "reserved", "signed", "broadcast", "mined", "final"]


def test_stream__filter__lets_only_its_events_by_and_tells_of_the_gaps(app: App) -> None:
    one, other = app.wallet(ether=1), app.wallet(ether=1)
    with Listener(app, {"topic": "transactions", "filter": {"wallet_id": one["id"]}}) as stream:
        for wallet in (one, other, one):
            app.wait_transaction(app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"])
        until(lambda: sum(e["data"]["state"] == "final" for e in stream.events()) == 2, "both final events")
        events = stream.events()

    assert {event["data"]["wallet_id"] for event in events} == {one["id"]}
    assert all(after["prev_seq"] == before["seq"] for before, after in pairwise(events))
    assert any(after["seq"] > before["seq"] + 1 for before, after in pairwise(events))
