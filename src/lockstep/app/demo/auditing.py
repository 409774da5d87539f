"""An edited audit row is found: somebody with full power over the database changes one entry; the verifier names it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import psycopg

from lockstep.app.demo.report import ClaimFailed, Report
from lockstep.app.devnet.devnet import DATABASE
from lockstep.app.stack import Stack

_WRITE = "update audit_entries set record = %s where app_id = %s and shard = %s and seq = %s"


async def tamper(stack: Stack, report: Report) -> None:
    """Verify, edit one row as the database's superuser, verify again, put it back, verify once more."""
    report.act("5c · An edited audit row is found")
    code, words = await _verify(stack)
    report.say(f"lockstep audit verify: {words}")
    report.claim("the untouched log verifies", code == 0, seen=words)
    with psycopg.connect(stack.devnet.postgres.url(DATABASE), autocommit=True) as superuser:
        superuser.execute("alter table audit_entries disable trigger user")
        row = superuser.execute(
            "select app_id, shard, seq, record from audit_entries where seq > 1 order by random() limit 1"
        ).fetchone()
        if row is None:
            raise ClaimFailed("there is no audit entry to edit")
        app_id, shard, seq, record = row
        place = (app_id, shard, seq)
        edited = json.dumps(
            {**json.loads(record), "actor": "user:somebody-else"}, separators=(",", ":"), sort_keys=True
        )
        superuser.execute(_WRITE, (edited, *place))
        report.happened(f"a superuser edited entry {seq} of chain {shard}")
        code, words = await _verify(stack)
        report.say(f"lockstep audit verify: {words}")
        report.claim("the edit is found and the command ends with 5", code == 5, seen=(code, words))
        superuser.execute(_WRITE, (record, *place))
        superuser.execute("alter table audit_entries enable trigger user")
    code, words = await _verify(stack)
    report.claim("put back, the log verifies again", code == 0, seen=words)


async def _verify(stack: Stack) -> tuple[int, str]:
    """The real command, under the settings of the service."""
    environment = {**os.environ, **stack.devnet.environment("service")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lockstep.app.cli",
        "audit",
        "verify",
        env=environment,
        cwd=stack.devnet.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, " ".join((out + err).decode().split())
