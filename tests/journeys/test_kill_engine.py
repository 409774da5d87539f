"""Workers are killed at every step of the transaction engine, before the effect, after it and after the commit.

Each intended effect happens once on the chain, and rows end as they do when nobody is killed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.support import FIRST, GWEI, App, Deployment, payment, until

from lockstep.chains.evm import Contract
from lockstep.kit.crash import MOMENTS
from lockstep.transactions import ENGINE_STEPS, REPLACEMENT_STEPS

VALUE, TOKENS = 1_000, 7
STUCK_BASE_FEE = 60 * GWEI
"""Wei per gas; far above what was offered, and falling by an eighth with each empty block."""


@dataclass
class Outcome:
    """What a run left behind, in words that do not depend on ids, hashes and times."""

    transactions: dict[str, dict[str, Any]]
    received: int
    tokens_received: int
    chain_nonces: dict[str, int]
    reserved: dict[str, list[int]]
    forms: dict[str, int]
    """Signed forms by transaction."""
    restarts: int


def road(transaction: dict[str, Any]) -> list[str]:
    """The states that a transaction went through; waiting where it stands is not a move."""
    return [state for state, _ in groupby(step["to_state"] for step in transaction["timeline"])]


def play(deployment: Deployment, recipient: str) -> Outcome:
    """Three payments of coins, two of tokens, one that reverts, and one that gets stuck and is replaced."""
    app: App = deployment.new_app("Kill")
    wallets = {name: app.wallet(ether=1) for name in ("coins", "tokens", "stuck")}
    deployment.mint(FIRST, wallets["tokens"]["address"], 100)
    token, contract = deployment.token(), Contract.load("DemoToken")

    def transfer(amount: int) -> dict[str, Any]:
        request = payment(token, 0, data="0x" + contract.encode("transfer", [recipient, amount]).hex())
        request["params"]["transaction"]["gas_limit"] = "150000"
        return request

    restarts = sum(role.restarts for role in deployment.stack.roles.values())
    deployment.ask("evm_setIntervalMining", 0)
    try:
        sent = {"stuck": app.rpc(wallets["stuck"]["id"], payment(recipient, VALUE))["transaction_id"]}
        app.wait_transaction(sent["stuck"], "broadcast", seconds=90)
        deployment.ask("anvil_setNextBlockBaseFeePerGas", hex(STUCK_BASE_FEE))
        deployment.mine(10)
    finally:
        deployment.ask("evm_setIntervalMining", 1)
    app.wait_transaction(sent["stuck"], "replaced", "final", seconds=90)
    for number in range(3):
        sent[f"coins {number}"] = app.rpc(wallets["coins"]["id"], payment(recipient, VALUE))["transaction_id"]
    for number in range(2):
        sent[f"tokens {number}"] = app.rpc(wallets["tokens"]["id"], transfer(TOKENS))["transaction_id"]
    doomed = payment(deployment.place_doom(), 0, data="0x01")
    doomed["params"]["transaction"]["gas_limit"] = "150000"
    sent["reverts"] = app.rpc(wallets["tokens"]["id"], doomed)["transaction_id"]

    done = {name: app.wait_transaction(transaction_id, seconds=120) for name, transaction_id in sent.items()}
    nonces = {name: deployment.nonce(wallet["address"]) for name, wallet in wallets.items()}
    reserved = {
        name: [
            row["nonce"]
            for row in deployment.rows(
                "select nonce from nonce_reservations where address = %s order by nonce", wallet["address"].lower()
            )
        ]
        for name, wallet in wallets.items()
    }
    forms = {
        name: deployment.rows(
            "select count(distinct digest) as n from transaction_attempts where transaction_id = %s", transaction_id
        )[0]["n"]
        for name, transaction_id in sent.items()
    }
    return Outcome(
        transactions={
            name: {
                "state": transaction["state"],
                "nonce": transaction["nonce"] if name == "stuck" else None,
                "succeeded": transaction["succeeded"],
                "value": transaction["value"],
                "revert_reason": (transaction["revert_reason"] or "").partition("(")[0],
                "road": sorted(set(road(transaction))) if name == "stuck" else road(transaction),
            }
            for name, transaction in done.items()
        },
        received=deployment.balance(recipient),
        tokens_received=deployment.token_balance(recipient),
        chain_nonces=nonces,
        reserved=reserved,
        forms={name: min(number, 2) for name, number in forms.items()},
        restarts=sum(role.restarts for role in deployment.stack.roles.values()) - restarts,
    )


@pytest.mark.timeout(420)
def test_engine__workers_killed_at_every_step__each_effect_happens_once(
    make_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = make_deployment()
    undisturbed = play(deployment, "0x00000000000000000000000000000000000f0101")

    folder = tmp_path / "crashes"
    folder.mkdir()
    crashing = {"LOCKSTEP_CRASH_FOLDER": str(folder), "LOCKSTEP_CRASH_STEPS": "transaction."}

    async def replace_workers() -> None:
        await deployment.stack.stop_role("work-1")
        for number in range(1, 4):
            deployment.stack.start_role(f"work-{number}", "work", crashing)

    deployment.run(replace_workers())
    killed = play(deployment, "0x00000000000000000000000000000000000f0102")

    registered = {f"{step}.{moment}" for step in (*ENGINE_STEPS, *REPLACEMENT_STEPS) for moment in MOMENTS}
    visited = {file.name for file in folder.iterdir()}
    assert visited == registered
    until(lambda: sum(r.restarts for r in deployment.stack.roles.values()) >= len(registered), "all workers to be back")
    assert (undisturbed.restarts, killed.transactions) == (0, undisturbed.transactions)
    assert (killed.received, killed.tokens_received) == (4 * VALUE, 2 * TOKENS)
    assert (undisturbed.received, undisturbed.tokens_received) == (4 * VALUE, 2 * TOKENS)
    assert killed.chain_nonces == undisturbed.chain_nonces == {"coins": 3, "tokens": 3, "stuck": 1}
    assert killed.reserved == undisturbed.reserved == {"coins": [0, 1, 2], "tokens": [0, 1, 2], "stuck": [0]}
    assert killed.forms == undisturbed.forms
    assert all(forms == (2 if name == "stuck" else 1) for name, forms in killed.forms.items())
    assert deployment.command("audit", "verify").returncode == 0
