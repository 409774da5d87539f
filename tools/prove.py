"""Run every test with the full counts and record the result in docs/proofs.md (`make prove`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "proofs.md"
PARTS = (
    (
        "contracts: unit, fuzz, invariants",
        ["tools/forge", "test"],
        ROOT / "contracts" / "evm",
        {"FOUNDRY_PROFILE": "prove"},
    ),
    (
        "everything else",
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-o", "timeout=3600"],
        ROOT,
        {"LOCKSTEP_PROVE": "1"},
    ),
)
_SUMMARY = re.compile(r"^(Ran \d+ test suites.*|\d+ passed.*|\d+ failed.*|=+ .*(passed|failed).* =+)$", re.MULTILINE)


def main() -> int:
    rows, failed = [], False
    for name, command, folder, variables in PARTS:
        print(f"· {name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        run = subprocess.run(
            command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        minutes = (time.monotonic() - began) / 60
        lines = _SUMMARY.findall(re.sub(r"\x1b\[[0-9;]*m", "", run.stdout))
        words = (lines[-1] if isinstance(lines[-1], str) else lines[-1][0]) if lines else "no summary"
        rows.append((name, "passed" if run.returncode == 0 else "FAILED", words.strip("= "), f"{minutes:.1f} min"))
        if run.returncode != 0:
            failed = True
            print(run.stdout[-6000:], run.stderr[-2000:], file=sys.stderr)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    PAGE.write_text(
        "# Proofs\n\nThe last run of `make prove`: the same tests as `make test`, with the full counts"
        " (10,000 fuzz cases per contract test, 20 times the examples per property of `make test`: 1,000 storms over the"
        " transaction engine, 1,000 histories of forks under a follower, 100,000 policies against a second evaluator).\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, after commit {commit.stdout.strip()}:\n\n"
        f"| part | result | summary | took |\n|---|---|---|---|\n{table}\n"
    )
    print(PAGE.read_text())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
