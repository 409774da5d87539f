"""What processes cost: processor time and memory, read from /proc (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, open_ones = [], [pid]
    while open_ones:
        one = open_ones.pop()
        found.append(one)
        open_ones += children.get(one, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that living processes have used so far, user and system."""
    return sum((int(stat[11]) + int(stat[12])) / _TICKS for pid in pids if (stat := _stat(pid)))


def cpu_of(parts: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds so far by part, each with its descendants."""
    return {name: cpu_seconds(family(pid)) for name, pid in parts.items()}


def memory_mb(pids: Iterable[int]) -> float:
    """Memory of processes in MB: proportional set size, in which what several share is counted once."""
    return sum(_pss_kb(pid) for pid in pids) / 1024


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _stat(pid: int) -> list[str] | None:
    """Members of /proc/<pid>/stat behind the name, which may hold anything; None when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
