"""`lockstep doctor`: looks at everything a deployment needs and says what to do; changes nothing, works while parts are down."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Literal

import psycopg

from lockstep.app.doctor_chains import looks_at_chain
from lockstep.app.migrate import check_schema
from lockstep.app.settings import ChainSettings, Settings
from lockstep.chains.evm import EvmClient
from lockstep.custody import CheckpointFile, compare_with_mark, list_engaged_switches
from lockstep.custody.execution import (
    AuthorizationKey,
    AuthShares,
    LocalKms,
    SignerClient,
    SignerClientConfig,
    read_key_file,
)
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError
from lockstep.transactions import SENDS_SINCE, list_senders

Verdict = Literal["ok", "warn", "fail"]
_LOW_DISK_BYTES = 1 << 30
_SKEW_SECONDS = 2.0
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    group: str
    what: str
    verdict: Verdict
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything at once; each look has ten seconds."""
    looks: list[tuple[str, str, Callable[[], Awaitable[str | tuple[Verdict, str]]]]] = [
        ("machine", "disk", lambda: _disk(settings.data_dir)),
        ("database", "schema and login", lambda: _database(settings)),
        ("database", "clock", lambda: _clock(settings)),
        ("signer", "keys and socket", lambda: _signer(settings)),
        ("signer", "kill switches", lambda: _switches(settings)),
        ("signer", "restore guard", lambda: _restored(settings)),
    ]
    if settings.chain_pairs:
        looks.append(("swaps", "coordinator", lambda: _coordinator(settings)))
    for chain in settings.chains:
        looks += [("chains", what, look) for what, look in looks_at_chain(chain.config(), SystemClock())]
        if chain.low_balance_wei:
            looks.append(("balances", chain.chain, partial(_balances, settings, chain)))
    return list(await asyncio.gather(*(_look(*look) for look in looks)))


def show(findings: list[Finding], *, as_json: bool) -> None:
    """Print the findings: one JSON document, or one line each and a last line that says what it means."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
        return
    for finding in findings:
        print(f"{finding.verdict:4}  {finding.group} · {finding.what}: {finding.detail}")
    failed = sum(finding.verdict == "fail" for finding in findings)
    print(f"· {len(findings)} looks, {failed or 'none'} failed", file=sys.stderr)


async def _look(group: str, what: str, look: Callable[[], Awaitable[str | tuple[Verdict, str]]]) -> Finding:
    try:
        seen = await asyncio.wait_for(look(), _TIMEOUT_SECONDS)
    except LockstepError as error:
        return Finding(group, what, "fail", f"{error.detail} ({error.code})")
    except TimeoutError:
        return Finding(group, what, "fail", f"no answer within {_TIMEOUT_SECONDS:.0f} seconds")
    except (OSError, psycopg.Error) as error:
        return Finding(group, what, "fail", str(error).strip() or type(error).__name__)
    return Finding(group, what, "ok", seen) if isinstance(seen, str) else Finding(group, what, *seen)


async def _disk(folder: Path) -> str | tuple[Verdict, str]:
    free = await asyncio.to_thread(lambda: shutil.disk_usage(folder if folder.exists() else Path()).free)
    words = f"{free / 2**30:.1f} GiB free for {folder}"
    return words if free > _LOW_DISK_BYTES else ("warn", f"{words}; make room, below 1 GiB the database may stop")


async def _database(settings: Settings) -> str:
    database = await _open(settings)
    try:
        await check_schema(database)
    finally:
        await database.close()
    return "schema is current, the login owns nothing"


async def _clock(settings: Settings) -> str | tuple[Verdict, str]:
    database = await _open(settings)
    try:
        began = time.perf_counter()
        async with database.system("doctor") as uow:
            row = await uow.get("select clock_timestamp() as now")
        took = time.perf_counter() - began
    finally:
        await database.close()
    skew = abs((SystemClock().now() - row["now"].astimezone(UTC)).total_seconds())
    words = f"this machine and the database differ by {max(0.0, skew - took):.2f} s"
    return words if skew - took < _SKEW_SECONDS else ("warn", f"{words}; run a time service on both")


async def _signer(settings: Settings) -> str:
    signer = SignerClient(
        SignerClientConfig(socket_path=settings.signer.socket_path, connections=1),
        authorization_key=AuthorizationKey(read_key_file(settings.keys.authorization_file)),
        auth_shares=AuthShares(LocalKms({1: read_key_file(settings.keys.auth_shares_file)}, key_id="auth")),
    )
    read_key_file(settings.keys.audit_file)
    try:
        identity = await signer.identity()
    finally:
        await signer.close()
    return f"{identity.signer_id} answers and shares our authorization key"


async def _switches(settings: Settings) -> str | tuple[Verdict, str]:
    database = await _open(settings)
    try:
        async with database.system("doctor") as uow:
            engaged = await list_engaged_switches(uow)
    finally:
        await database.close()
    if not engaged:
        return "none is engaged"
    whose = [f"app {switch.app_id}" if switch.app_id else "the deployment" for switch in engaged]
    words = "; ".join(f"{who} signs nothing: {switch.reason}" for who, switch in zip(whose[:3], engaged, strict=False))
    return "warn", f"{words} ({len(engaged)} in all); release them with DELETE /v1/kill-switches/…"


async def _restored(settings: Settings) -> str | tuple[Verdict, str]:
    database = await _open(settings)
    try:
        _, forgotten = await compare_with_mark(database, CheckpointFile(settings.audit.checkpoints_file))
    finally:
        await database.close()
    if not forgotten:
        return "the database is as new as its last checkpoint"
    return "fail", "the database is older than its last checkpoint, nothing is signed; lockstep audit accept-restore"


async def _coordinator(settings: Settings) -> str | tuple[Verdict, str]:
    if settings.coordinator is None:
        return "warn", "there is none: nobody finishes or undoes a swap whose party stops; set LOCKSTEP_COORDINATOR__*"
    return f"wallet {settings.coordinator.wallet_id} performs public duties"


async def _balances(settings: Settings, chain: ChainSettings) -> str | tuple[Verdict, str]:
    threshold, client = chain.low_balance_wei, EvmClient(chain.config())
    database = await _open(settings)
    try:
        async with database.system("doctor") as uow:
            senders = await list_senders(uow, chain.chain, SystemClock().now() - SENDS_SINCE)
        balances = await client.balances(senders, await client.head())
    finally:
        await client.close()
        await database.close()
    low = [address for address, balance in zip(senders, balances, strict=True) if balance < threshold]
    if not low:
        return f"all {len(senders)} accounts that sent within {SENDS_SINCE.days} days have at least {threshold} wei"
    named = ", ".join(low[:5]) + (", …" if len(low) > 5 else "")
    return (
        "warn",
        f"{len(low)} of {len(senders)} sending accounts have less than {threshold} wei: {named}; send them coins",
    )


async def _open(settings: Settings) -> Database:
    database = Database(settings.database_url.get_secret_value(), name="doctor", min_size=1, max_size=1)
    await database.open()
    return database
