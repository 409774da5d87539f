"""The main story as `make demo` plays it: every claim holds, and nothing is left running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def processes_about(folder: Path) -> list[str]:
    """Command lines of running processes that name a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_demo__played_to_the_end__every_claim_holds_and_nothing_runs_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lockstep.app.cli", "demo", "--folder", str(tmp_path / "demo")],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-4000:])
    assert "Timeline" in done.stdout
    assert "Balance sheet" in done.stdout
    assert "all hold" in done.stdout + done.stderr
    assert processes_about(tmp_path) == []
