"""The registry of wallets: one page out of very many, and making one. Over HTTP, one request at a time.

The baseline of both is the product's own empty authenticated route with the same client. The wallets of the list are
copies of one row, put into the database; those of `wallet-create` are made with keys by the signer.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import httpx
import psycopg

from benchmarks.figures import Figure
from lockstep.app.devnet.devnet import DATABASE, DevnetConfig
from lockstep.app.stack import Stack, StackConfig
from lockstep.client import AdminCredentials, AppCredentials, AsyncClient

WALLETS, PAGE = 100_000, 100
WARM, ROUNDS = 30, 200

_COPIES = """
insert into wallets (id, app_id, address, chain_type, public_key, share_set, auth_share, recovery_share, policy_ids,
    external_id, status, created_at, updated_at)
select '00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), app_id, '0x' || lpad(to_hex(n), 40, '0'), chain_type,
    public_key, share_set, auth_share, recovery_share, policy_ids, 'copy-' || n, status, created_at, updated_at
from wallets, generate_series(1, %s) as n where id = %s
"""


async def run() -> list[Figure]:
    environment = {"LOCKSTEP_LIMITS__PER_APP": "1000000/second"}
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        config = StackConfig(devnet=DevnetConfig(folder=Path(folder) / "devnet"), environment=environment)
        async with Stack(config) as stack:
            return await _measure(stack)


async def _measure(stack: Stack) -> list[Figure]:
    async with AsyncClient(stack.url, AdminCredentials(stack.admin_credential)) as admin:
        made = await admin.create_app("Benchmark")
        credentials = AppCredentials(made.app.id, made.secret)
        wallet = await admin.as_caller(credentials).create_wallet()
    with psycopg.connect(stack.devnet.postgres.url(DATABASE), autocommit=True) as database:
        database.execute(_COPIES, (WALLETS, wallet.id))
        database.execute("vacuum analyze wallets")
    async with httpx.AsyncClient(base_url=stack.url, headers=credentials.headers()) as client:

        async def empty() -> None:
            (await client.get("/v1/caller")).raise_for_status()

        cursor: str | None = None

        async def page() -> None:
            nonlocal cursor
            answer = await client.get("/v1/wallets", params={"limit": PAGE} | ({"cursor": cursor} if cursor else {}))
            body = answer.raise_for_status().json()
            if len(body["items"]) != PAGE:
                raise RuntimeError(f"expected {PAGE} wallets, was {len(body['items'])}")
            cursor = body["next_cursor"]

        async def find() -> None:
            body = (await client.get("/v1/wallets", params={"external_id": f"copy-{WALLETS}"})).json()
            if len(body["items"]) != 1:
                raise RuntimeError("the wallet was not found")

        async def create() -> None:
            (await client.post("/v1/wallets", json={})).raise_for_status()

        baseline = await _median_ms(empty)
        listed, found, created = await _median_ms(page), await _median_ms(find), await _median_ms(create)
    return [
        _figure(
            "wallet-list", listed, baseline, 10, {"wallets": WALLETS, "page": PAGE, "find_p50_ms": round(found, 2)}
        ),
        _figure("wallet-create", created, baseline, 25, {}),
    ]


async def _median_ms(once: Callable[[], Awaitable[None]]) -> float:
    took: list[float] = []
    for number in range(WARM + ROUNDS):
        began = time.perf_counter()
        await once()
        if number >= WARM:
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


def _figure(name: str, value: float, baseline: float, wanted: float, more: dict[str, object]) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit="ms",
        baseline=baseline,
        ratio=baseline / value,
        wanted={"value": wanted},
        more=more,
    )
