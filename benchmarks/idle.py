"""What `lockstep up` costs while nothing happens, and how soon it is there: memory by process, cold and warm start.

Memory is the proportional set size, in which what several processes share is counted once. The baseline is what runs
there that is not ours: PostgreSQL and two chains. A start is cold with an empty folder: keys, database, schema and
contracts are made; it is warm when the folder is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.machine import cpu_seconds, family, memory_mb

SETTLE_SECONDS, IDLE_SECONDS = 10.0, 20.0
START_SECONDS_AT_MOST = 120.0
FOREIGN = ("postgres", "anvil")


async def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        process, cold = await _start(Path(folder) / "devnet")
        await _stop(process)
        process, warm = await _start(Path(folder) / "devnet")
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            parts = _parts(process.pid)
            before = {name: cpu_seconds(pids) for name, pids in parts.items()}
            await asyncio.sleep(IDLE_SECONDS)
            busy = {
                name: round(100 * (cpu_seconds(pids) - before[name]) / IDLE_SECONDS, 2) for name, pids in parts.items()
            }
            memory = {name: memory_mb(pids) for name, pids in parts.items()}
        finally:
            await _stop(process)
    total, foreign = sum(memory.values()), sum(memory[name] for name in FOREIGN)
    return [
        Figure(
            name="idle",
            value=total,
            unit="MB",
            baseline=foreign,
            ratio=foreign / total,
            wanted={},
            more={
                "memory_mb": {name: round(size, 1) for name, size in sorted(memory.items())},
                "cpu_percent": dict(sorted(busy.items())),
                "cold_start_s": round(cold, 2),
                "warm_start_s": round(warm, 2),
            },
        )
    ]


async def _start(folder: Path) -> tuple[Process, float]:
    """Everything, as a person starts it, and the seconds until it says that it is up.

    Raises:
        RuntimeError: it ended instead.
    """
    began = time.perf_counter()
    command = [sys.executable, "-m", "lockstep.app.cli", "up", "--folder", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS_AT_MOST):
            async for line in process.stdout:
                if line.startswith(b"Lockstep is up"):
                    return process, time.perf_counter() - began
            raise RuntimeError(f"lockstep up ended with status {await process.wait()}")
    except BaseException:
        if process.returncode is None:
            await asyncio.shield(_stop(process))
        raise


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        await process.communicate()


def _parts(pid: int) -> dict[str, list[int]]:
    """The processes of a deployment by what they are."""
    parts: dict[str, list[int]] = defaultdict(list)
    for one in family(pid):
        try:
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        program = Path(os.fsdecode(words[0].split(b" ")[0].rstrip(b":"))).name
        name = next((known for known in FOREIGN if known in program), program)
        if b"lockstep.app.cli" in words:
            name = words[words.index(b"lockstep.app.cli") + 1].decode()
        parts[name].append(one)
    return dict(parts)
