"""The process of one proof: reads a job on standard input, answers on standard output, ends.

A process of its own, because a solver that has lost its way can only be killed; low in priority and bounded in memory and
time, so that it takes nothing from those who sign. It is given documents and no secrets, and asks nobody.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any, Final

from lockstep.custody.policy import load_policy
from lockstep.custody.policy.proofs import Answer, Finding, KnownSet, Search

MAX_MEMORY: Final = 3 * 2**30
_NICE: Final = 10


def prove(job: dict[str, Any]) -> dict[str, Any]:
    """The answer to a job: the first method with an example, else whether all of them have none."""
    from lockstep.custody.policy.proofs.search import search  # needs the solver

    until = time.monotonic() + job["seconds"]
    allowed_by = tuple(load_policy(one, f"allowed-by-{at}", 1) for at, one in enumerate(job["allowed_by"]))
    denied_by = tuple(load_policy(one, f"denied-by-{at}", 1) for at, one in enumerate(job["denied_by"]))
    sets = {
        set_id: KnownSet(items=frozenset(one["items"]), is_complete=one["is_complete"])
        for set_id, one in job["sets"].items()
    }
    findings = []
    for method in job["methods"]:
        wanted = Search(
            method=method,
            allowed_by=allowed_by,
            denied_by=denied_by,
            sets=sets,
            app_id=job["app_id"],
            seconds=max(0, round(until - time.monotonic())),
        )
        finding = search(wanted)
        if finding.answer is Answer.FOUND:
            return _shown(finding)
        findings.append(finding)
    undecided = [one for one in findings if one.answer is Answer.NOT_DECIDED]
    if undecided:
        return _shown(undecided[0])
    return _shown(Finding(answer=Answer.NEVER, depends_on_sets=any(one.depends_on_sets for one in findings)))


def _shown(finding: Finding) -> dict[str, Any]:
    example = finding.example
    return {
        "answer": str(finding.answer),
        "depends_on_sets": finding.depends_on_sets,
        "reason": finding.reason,
        "example": None
        if example is None
        else {
            "body": dict(example.body),
            "from_address": example.from_address,
            "current_unix_timestamp": example.system.current_unix_timestamp,
            "wallet_id": example.system.wallet_id,
            "user_id": example.system.user_id,
            "session_id": example.system.session_id,
        },
    }


def main() -> int:
    """Answer the job on standard input."""
    job = json.load(sys.stdin)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (2 * job["seconds"] + 10, 2 * job["seconds"] + 20))
    json.dump(prove(job), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
