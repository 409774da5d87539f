"""Runs proofs in processes of their own and believes no example that the evaluator does not confirm."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from lockstep.custody.condition_sets import SetShelf
from lockstep.custody.policy import Policy as PolicyDocument
from lockstep.custody.policy import SystemFacts, load_policy, set_ids
from lockstep.custody.policy.proofs import Answer, Example, Finding, Search
from lockstep.custody.policy.proofs.confirm import asked_of_sets, confirms
from lockstep.custody.trials.errors import ProofsBusy, ProofsUnavailable
from lockstep.kit.database import Database
from lockstep.kit.ids import AppId

log = structlog.get_logger(__name__)

MAX_AT_ONCE: Final = 2
"""Proofs of one process of the API at a time."""
MAX_SET_ITEMS: Final = 1_000
"""Items of a condition set that a proof is given; of a larger set it knows only these."""
_START_SECONDS: Final = 20
"""What the process may take beside the solver, on a busy machine."""
_PROVER = (sys.executable, "-I", "-m", "lockstep.custody.trials.prover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is to be found: a request that these documents allow and, if there are any, not all of those."""

    methods: Sequence[str]
    allowed_by: Sequence[PolicyDocument]
    denied_by: Sequence[PolicyDocument] = ()


class Prover:
    """Proves, a few claims at a time."""

    def __init__(self, database: Database, sets: SetShelf) -> None:
        self._database, self._sets = database, sets
        self._running = 0

    async def prove(self, app_id: AppId, claim: Claim, seconds: int) -> Finding:
        """Find such a request, or prove that there is none.

        Raises:
            ProofsUnavailable: the solver is not installed. ProofsBusy: try again later.
        """
        if importlib.util.find_spec("z3") is None:
            raise ProofsUnavailable
        if self._running >= MAX_AT_ONCE:
            raise ProofsBusy
        self._running += 1
        try:
            answer = await _run(await self._job(app_id, claim, seconds))
        finally:
            self._running -= 1
        if answer is None:
            return Finding(answer=Answer.NOT_DECIDED, reason="the solver did not end in time, or ran out of memory")
        finding = _finding(app_id, answer)
        if finding.example is None or await self._is_so(app_id, claim, finding.example):
            return finding
        return Finding(answer=Answer.NOT_DECIDED, reason="what was found rests on a condition set too large to be read")

    async def _job(self, app_id: AppId, claim: Claim, seconds: int) -> dict[str, Any]:
        named = {one for document in (*claim.allowed_by, *claim.denied_by) for one in set_ids(document)}
        async with self._database.tenant(app_id) as uow:
            contents = await self._sets.contents(uow, app_id, named)
        return {
            "methods": list(claim.methods),
            "app_id": app_id,
            "seconds": seconds,
            "allowed_by": [dict(one.document) for one in claim.allowed_by],
            "denied_by": [dict(one.document) for one in claim.denied_by],
            "sets": {
                set_id: {"items": sorted(items)[:MAX_SET_ITEMS], "is_complete": len(items) <= MAX_SET_ITEMS}
                for set_id, items in contents.items()
            },
        }

    async def _is_so(self, app_id: AppId, claim: Claim, example: Example) -> bool:
        wanted = Search(
            method=str(example.body["method"]),
            allowed_by=tuple(load_policy(dict(one.document), "allowed-by", 1) for one in claim.allowed_by),
            denied_by=tuple(load_policy(dict(one.document), "denied-by", 1) for one in claim.denied_by),
            app_id=app_id,
            seconds=0,
        )
        async with self._database.tenant(app_id) as uow:
            members = await self._sets.find_members(uow, app_id, asked_of_sets(wanted, example))
        return confirms(wanted, example, members)


async def _run(job: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of the process; None when it had to be killed, or died."""
    process = await asyncio.create_subprocess_exec(
        *_PROVER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},  # settings hold secrets, and a proof needs none
    )
    try:
        async with asyncio.timeout(job["seconds"] + _START_SECONDS):
            out, _ = await process.communicate(json.dumps(job).encode())
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        log.warning("policy_proof_died", returncode=process.returncode)
        return None
    answer: dict[str, Any] = json.loads(out)
    return answer


def _finding(app_id: AppId, answer: dict[str, Any]) -> Finding:
    found = answer["example"]
    return Finding(
        answer=Answer(answer["answer"]),
        depends_on_sets=answer["depends_on_sets"],
        reason=answer["reason"],
        example=None
        if found is None
        else Example(
            body=found["body"],
            from_address=found["from_address"],
            system=SystemFacts(
                current_unix_timestamp=found["current_unix_timestamp"],
                wallet_id=found["wallet_id"],
                app_id=app_id,
                user_id=found["user_id"],
                session_id=found["session_id"],
            ),
        ),
    )
