"""Signing requests per second through the whole product, against its own empty authenticated route.

The same deployment, the same credentials, the same connections and the same load generator, in turns. Every request
carries a message or a permit of its own and a fresh idempotency key, so that nothing is answered from a memory; half of
them are `personal_sign`, half `eth_signTypedData_v4`. Signatures are checked afterwards against the wallets' addresses.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from benchmarks.figures import Figure
from benchmarks.load import Load, drive, head
from benchmarks.machine import cpu_of
from lockstep.app.devnet.devnet import DevnetConfig
from lockstep.app.stack import Stack, StackConfig
from lockstep.client import AdminCredentials, AppCredentials, AsyncClient

CONNECTIONS, WALLETS = 32, 40
WARM_SECONDS, BASELINE_SECONDS, SECONDS = 3.0, 4.0, 12.0
TOKEN = "0x00000000000000000000000000000000000070c3"
SPENDER = "0x0000000000000000000000000000000000005bed"
SERVE_WORKERS = max(1, (os.cpu_count() or 2) // 2)
"""Of the API, in both measurements: one for two processors. Signer, database and load generator want their share, too, and
what one worker decides in a batch of sixteen, two decide in two of eight, which costs a third more."""


async def run() -> list[Figure]:
    environment = {"LOCKSTEP_LIMITS__PER_APP": "1000000/second"}
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        config = StackConfig(
            devnet=DevnetConfig(folder=Path(folder) / "devnet"), environment=environment, serve_workers=SERVE_WORKERS
        )
        async with Stack(config) as stack:
            return [await _measure(stack)]


async def _measure(stack: Stack) -> Figure:
    credentials, wallets = await _prepare(stack)
    headers = {name.lower(): value for name, value in credentials.headers().items()}
    port = stack.devnet.http_port
    empty = functools.partial(_empty_requests, headers)
    signing = functools.partial(_signing_requests, headers, wallets)

    await drive(port, signing, connections=CONNECTIONS, seconds=WARM_SECONDS)
    before = await drive(port, empty, connections=CONNECTIONS, seconds=BASELINE_SECONDS)
    parts = {name: role.process.pid for name, role in stack.roles.items()} | {
        "postgres": stack.devnet.postgres.pid or 0
    }
    used = cpu_of(parts)
    load = await drive(port, signing, connections=CONNECTIONS, seconds=SECONDS)
    used = {name: seconds - used[name] for name, seconds in cpu_of(parts).items()}
    after = await drive(port, empty, connections=CONNECTIONS, seconds=BASELINE_SECONDS)

    for one in (before, load, after):
        if one.failures:
            raise RuntimeError(f"{one.failures} requests failed, for example {one.samples[0][1]!r}")
    _check_signatures(load, wallets)
    baseline = (len(before.latencies) + len(after.latencies)) / (before.seconds + after.seconds)
    return Figure(
        name="sign",
        value=load.rate,
        unit="requests/s",
        baseline=baseline,
        ratio=load.rate / baseline,
        wanted={"value": 600, "ratio": 0.15},
        more={
            "p50_ms": round(load.percentile(0.5), 2),
            "p99_ms": round(load.percentile(0.99), 2),
            "baseline_p99_ms": round(max(before.percentile(0.99), after.percentile(0.99)), 2),
            "connections": CONNECTIONS,
            "serve_workers": SERVE_WORKERS,
            "wallets": WALLETS,
            "requests": len(load.latencies),
            "cpu_ms_per_request": {
                name: round(1000 * seconds / len(load.latencies), 3) for name, seconds in used.items()
            },
        },
    )


async def _prepare(stack: Stack) -> tuple[AppCredentials, dict[str, str]]:
    """An app with wallets under one policy; their addresses by id."""
    async with AsyncClient(stack.url, AdminCredentials(stack.admin_credential)) as admin:
        made = await admin.create_app("Benchmark")
        credentials = AppCredentials(made.app.id, made.secret)
        app = admin.as_caller(credentials)
        policy = await app.create_policy(_policy(stack.devnet.config.chain_ids[0]))
        wallets = [await app.create_wallet(policy_ids=[policy.id]) for _ in range(WALLETS)]
    return credentials, {wallet.id: wallet.address for wallet in wallets}


def _policy(chain_id: int) -> dict[str, Any]:
    """A policy as products have it: what is allowed of messages, permits and payments, and what is denied in any case."""

    def rule(name: str, method: str, action: str, *conditions: tuple[str, str, str, Any]) -> dict[str, Any]:
        return {
            "id": name,
            "name": name,
            "method": method,
            "action": action,
            "conditions": [
                {"field_source": source, "field": field, "operator": operator, "value": value}
                for source, field, operator, value in conditions
            ],
        }

    domain = "ethereum_typed_data_domain"
    return {
        "version": "1.0",
        "name": "Benchmark",
        "chain_type": "ethereum",
        "rules": [
            rule("no-phishing", "personal_sign", "DENY", ("ethereum_message", "content", "contains", "Transfer all")),
            rule("messages", "personal_sign", "ALLOW", ("ethereum_message", "byte_length", "lte", "256")),
            rule(
                "permits",
                "eth_signTypedData_v4",
                "ALLOW",
                (domain, "chain_id", "eq", str(chain_id)),
                (domain, "verifying_contract", "in", [SPENDER, TOKEN]),
            ),
            rule(
                "payments",
                "eth_sendTransaction",
                "ALLOW",
                ("ethereum_transaction", "to", "eq", SPENDER),
                ("ethereum_transaction", "value", "lte", str(10**18)),
            ),
        ],
    }


# --- requests ---------------------------------------------------------------------------------------------------------


def _empty_requests(headers: dict[str, str]) -> Iterator[bytes]:
    return itertools.repeat(head("GET", "/v1/caller", headers) + b"\r\n")


def _signing_requests(headers: dict[str, str], wallets: dict[str, str]) -> Iterator[bytes]:
    run = secrets.token_hex(8)
    places = [
        (head("POST", f"/v1/wallets/{wallet}/rpc", {**headers, "content-type": "application/json"}), address)
        for wallet, address in wallets.items()
    ]
    for number in itertools.count():
        start, address = places[number % len(places)]
        asked: dict[str, Any] = {"method": "eth_signTypedData_v4", "params": {"typed_data": _permit(address, number)}}
        if number // len(places) % 2:
            asked = {"method": "personal_sign", "params": {"message": f"Sign in to the benchmark, {run} {number}"}}
        body = json.dumps(asked).encode()
        yield b"%sidempotency-key: %s-%d\r\ncontent-length: %d\r\n\r\n%s" % (
            start,
            run.encode(),
            number,
            len(body),
            body,
        )


def _permit(owner: str, nonce: int) -> dict[str, Any]:
    """An EIP-2612 permit."""
    members = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    domain = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    return {
        "types": {
            name: [{"name": member, "type": kind} for member, kind in fields.items()]
            for name, fields in (("EIP712Domain", domain), ("Permit", members))
        },
        "primaryType": "Permit",
        "domain": {"name": "Demo", "version": "1", "chainId": 31337, "verifyingContract": TOKEN},
        "message": {
            "owner": owner,
            "spender": SPENDER,
            "value": str(10**18),
            "nonce": str(nonce),
            "deadline": "1900000000",
        },
    }


def _check_signatures(load: Load, wallets: dict[str, str]) -> None:
    """Every sampled answer must be a signature of its wallet over what was asked for."""
    for request, answer in load.samples:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        wallet = request.partition(b"/wallets/")[2].partition(b"/")[0].decode()
        signature = json.loads(answer)["data"]["signature"]
        params = asked["params"]
        if asked["method"] == "personal_sign":
            message = encode_defunct(text=params["message"])
        else:
            message = encode_typed_data(full_message=params["typed_data"])
        signer = Account.recover_message(message, signature=signature)
        if signer.lower() != wallets[wallet].lower():
            raise RuntimeError(f"expected a signature of {wallets[wallet]}, was one of {signer}")
