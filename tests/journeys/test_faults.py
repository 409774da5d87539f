"""Parts go away and come back: the ready probe says which, work resumes by itself, nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.journeys.support import FIRST, SECOND, App, Caller, Deployment, new_key, payment, problem, until

from lockstep.app.devnet.postgres import server_processes

PAYMENTS = 20


@pytest.fixture(scope="module")
def rough(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A deployment whose parts are stopped and killed; each story leaves it whole."""
    return make_deployment(environment={"LOCKSTEP_LIMITS__PER_ADDRESS": "2000/second"})


def failed_parts(deployment: Deployment, url: str | None = None) -> dict[str, str]:
    """Code by part of those that `/health/ready` reports as failed."""
    _, parts = deployment.ready(url)
    return {name: part["code"] for name, part in parts.items() if part["status"] == "failed"}


def send_surely(caller: Caller, wallet_id: str, body: dict[str, object], give_up: float) -> str:
    """Send as a careful client does: the same key until there is an answer. Only passing faults are repeated."""
    key = new_key()
    while True:
        try:
            answer = caller.raw("POST", f"/v1/wallets/{wallet_id}/rpc", body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 200:
            transaction_id: str = answer.json()["data"]["transaction_id"]
            return transaction_id
        if answer is not None and answer.status_code != 503:
            problem(answer, 409, "idempotency_in_progress")
        assert time.monotonic() < give_up, "no answer in time" if answer is None else answer.text
        time.sleep(0.1)


def check_all_once(deployment: Deployment, app: App, wallet: dict[str, str], sent: list[str], chain: str) -> None:
    """Every payment is final, under nonces without a gap, and there is no other."""
    done = [app.wait_transaction(each, seconds=90) for each in sent]
    assert {each["state"] for each in done} == {"final"}
    assert sorted(each["nonce"] for each in done) == list(range(len(sent)))
    assert len({each["id"] for each in done}) == len(sent) == len(app.transactions())
    assert deployment.nonce(wallet["address"], chain) == len(sent)


def test_node__down_when_the_roles_start__is_named_and_work_resumes_by_itself(rough: Deployment) -> None:
    app = rough.new_app()
    friend = "0x00000000000000000000000000000000000f0201"
    here, there = app.wallet(ether=1), app.wallet(ether=1, chain=SECOND)
    node = rough.chain(SECOND)
    rough.run(node.stop())
    for role in ("serve", "work-1"):
        rough.stack.kill_role(role)
    until(lambda: failed_parts(rough) == {f"chain {SECOND}": "node_unavailable"}, "the probe to name the node")

    delayed = app.rpc(there["id"], payment(friend, 2, chain=SECOND))["transaction_id"]
    at_once = app.rpc(here["id"], payment(friend, 1))["transaction_id"]

    assert app.wait_transaction(at_once)["state"] == "final"
    assert app.transaction(delayed)["state"] == "queued"
    rough.run(node.start())
    rough.wait_ready()
    assert app.wait_transaction(delayed)["state"] == "final"
    assert rough.balance(friend, SECOND) == 2


def test_node__of_another_chain__is_named_and_not_used(rough: Deployment, tmp_path: Path) -> None:
    app = rough.new_app()
    wallet = app.wallet(ether=1)
    chains = json.loads(Path(rough.stack.devnet.environment("service")["LOCKSTEP_CHAINS_FILE"]).read_text())
    other = next(each["rpc_urls"] for each in chains if each["chain"] == SECOND)
    mixed = [each | {"rpc_urls": other} if each["chain"] == FIRST else each for each in chains]
    (tmp_path / "chains.json").write_text(json.dumps(mixed))
    (tmp_path / "chains.json").chmod(0o600)
    url = rough.second_serve("serve-wrong-node", is_ready=False, LOCKSTEP_CHAINS_FILE=str(tmp_path / "chains.json"))
    try:
        until(lambda: failed_parts(rough, url) == {f"chain {FIRST}": "wrong_chain"}, "the probe to name the node")
        here = Caller(url, app.headers)
        answer = here.raw("POST", f"/v1/wallets/{wallet['id']}/rpc/preview", payment(wallet["address"], 1))
        assert (answer.status_code, answer.json()["code"]) == (500, "wrong_chain"), answer.text
    finally:
        rough.run(rough.stack.stop_role("serve-wrong-node"))


def test_node__down_in_the_middle__loses_its_pool_but_no_payment(rough: Deployment) -> None:
    app = rough.new_app()
    friend = "0x00000000000000000000000000000000000f0202"
    wallet = app.wallet(ether=1, chain=SECOND)
    node = rough.chain(SECOND)
    rough.ask("evm_setIntervalMining", 0, chain=SECOND)
    sent = [app.rpc(wallet["id"], payment(friend, 10, chain=SECOND))["transaction_id"] for _ in range(3)]
    for each in sent:
        app.wait_transaction(each, "broadcast")

    rough.run(node.stop())
    until(lambda: failed_parts(rough) == {f"chain {SECOND}": "node_unavailable"}, "the probe to name the node")
    sent.append(app.rpc(wallet["id"], payment(friend, 10, chain=SECOND))["transaction_id"])
    app.refused(
        503, "node_unavailable", "POST", f"/v1/wallets/{wallet['id']}/rpc/preview", payment(friend, 1, chain=SECOND)
    )
    rough.run(node.start())

    rough.wait_ready()
    check_all_once(rough, app, wallet, sent, SECOND)
    assert rough.balance(friend, SECOND) == 40


@pytest.mark.parametrize("how", ["kill", "restart"])
def test_database__away_in_the_middle_of_twenty_payments__nothing_is_lost_or_doubled(
    rough: Deployment, how: str
) -> None:
    app = rough.new_app()
    friend = f"0x00000000000000000000000000000000000f02{'10' if how == 'kill' else '11'}"
    wallet = app.wallet(ether=1)
    postgres = rough.stack.devnet.postgres
    before = postgres.pid
    begun = threading.Semaphore(0)

    def pay(number: int) -> str:
        begun.release()
        time.sleep(0.05 * number)  # spreads the payments over the fault
        return send_surely(app, wallet["id"], payment(friend, 10), time.monotonic() + 60)

    with ThreadPoolExecutor(PAYMENTS) as threads:
        sending = [threads.submit(pay, number) for number in range(PAYMENTS)]
        for _ in range(PAYMENTS // 2):
            begun.acquire()
        until(lambda: any(each.done() for each in sending), "the first payment")
        assert before is not None
        os.kill(before, signal.SIGKILL if how == "kill" else signal.SIGINT)
        sent = [each.result() for each in sending]

    assert postgres.pid not in (None, before)
    check_all_once(rough, app, wallet, sent, FIRST)
    assert rough.balance(friend) == PAYMENTS * 10
    assert {role.restarts for role in rough.stack.roles.values() if role.role == "signer"} == {0}
    assert rough.command("audit", "verify").returncode == 0
    rough.wait_ready()
    # The signer had no need of the database meanwhile; its old connection must not cost the next one its wallet.
    assert app.wallet()["status"] == "active"


def test_database__that_does_not_answer__is_named_and_comes_back(rough: Deployment) -> None:
    app = rough.new_app()
    wallet = app.wallet(ether=1)
    servers = server_processes(rough.folder / "postgres" / "cluster")
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: failed_parts(rough).get("database") == "timeout", "the probe to name the database")
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    rough.wait_ready()
    assert app.wait_transaction(app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"])


def test_signer__away__signatures_are_refused_for_now_and_payments_wait_for_it(rough: Deployment) -> None:
    app = rough.new_app()
    friend = "0x00000000000000000000000000000000000f0203"
    wallet = app.wallet(
        [{"name": "all", "method": "*", "action": "ALLOW", "conditions": [], "unconditional": True}], ether=1
    )
    message = {"method": "personal_sign", "params": {"message": "hello"}}
    key = new_key()
    rough.run(rough.stack.stop_role("signer"))

    until(lambda: failed_parts(rough) == {"signer": "signer_unavailable"}, "the probe to name the signer")
    path = f"/v1/wallets/{wallet['id']}/rpc"
    answer = app.raw("POST", path, message, headers={"Idempotency-Key": key})
    problem(answer, 503, "signer_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    app.refused(503, "signer_unavailable", "POST", "/v1/wallets", {})
    waiting = app.rpc(wallet["id"], payment(friend, 5))["transaction_id"]
    until(lambda: "signer" in (app.transaction(waiting)["reason"] or "").lower(), "the reason why it waits")

    rough.run(start_signer(rough))
    rough.wait_ready()
    assert app.wait_transaction(waiting)["state"] == "final"
    assert rough.balance(friend) == 5
    assert app.rpc(wallet["id"], message, key)["signature"].startswith("0x")


def wait_restarts(deployment: Deployment, times: int) -> None:
    until(lambda: deployment.stack.roles["signer"].restarts >= times, "the signer to be started again")


async def start_signer(deployment: Deployment) -> None:
    deployment.stack.start_role("signer", "signer")


def test_signer__killed_while_payments_are_signed__each_is_signed_once(rough: Deployment) -> None:
    app = rough.new_app()
    friend = "0x00000000000000000000000000000000000f0204"
    wallet = app.wallet(ether=1)

    sent = []
    for number in range(10):
        sent.append(app.rpc(wallet["id"], payment(friend, 3))["transaction_id"])
        if number in (3, 7):
            # Not before it is back from the first time: a dead one cannot be killed.
            wait_restarts(rough, number // 4)
            rough.stack.kill_role("signer")

    check_all_once(rough, app, wallet, sent, FIRST)
    assert rough.balance(friend) == 30
    forms = rough.rows("select count(*) as n from signed_digests where address = %s", wallet["address"].lower())
    assert forms[0]["n"] == 10
    wait_restarts(rough, 2)


def test_worker_and_api__killed_in_the_middle__are_back_and_nothing_is_doubled(rough: Deployment) -> None:
    app = rough.new_app()
    friend = "0x00000000000000000000000000000000000f0205"
    wallet = app.wallet(ether=1)
    give_up = time.monotonic() + 60

    sent = []
    for number in range(10):
        sent.append(send_surely(app, wallet["id"], payment(friend, 3), give_up))
        if number == 3:
            rough.stack.kill_role("work-1")
        if number == 6:
            rough.stack.kill_role("serve")

    rough.wait_ready()
    check_all_once(rough, app, wallet, sent, FIRST)
    assert rough.balance(friend) == 30


def test_doctor__a_node_away__names_it_and_ends_with_five(rough: Deployment) -> None:
    known = json.loads((rough.folder / "coordinator.json").read_text())
    coordinator = {f"LOCKSTEP_COORDINATOR__{name}": known[name.lower()] for name in ("APP_ID", "WALLET_ID")}

    def doctor(**settings: str) -> tuple[int, dict[str, str]]:
        done = rough.command("doctor", "--json", **settings)
        findings = json.loads(done.stdout)
        return done.returncode, {f"{each['group']} {each['what']}": each["verdict"] for each in findings}

    status, verdicts = doctor(**coordinator)
    assert (status, set(verdicts.values())) == (0, {"ok"}), verdicts
    status, verdicts = doctor()
    assert (status, verdicts["swaps coordinator"]) == (0, "warn")
    node = rough.chain(SECOND)
    rough.run(node.stop())
    try:
        status, verdicts = doctor()
    finally:
        rough.run(node.start())
    assert status == 5
    assert [what for what, verdict in verdicts.items() if verdict == "fail"] == [
        f"chains {SECOND}",
        f"chains {SECOND} WebSocket",
    ]
    rough.wait_ready()
