"""What the routes of custody share: query and header parameters, and answers that are replayed."""

from typing import Annotated

from fastapi import Header, Query, Response
from fastapi.responses import JSONResponse

from lockstep.custody import errors
from lockstep.custody.idempotency import Outcome
from lockstep.kit.paging import MAX_LIMIT
from lockstep.kit.problems import PROBLEM_JSON
from lockstep.kit.telemetry import correlation_id

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=500)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 256 visible characters, or the same in quotes; answers are replayed for 24 hours",
    ),
]
REPLAY = "Idempotency-Replay"
IDEMPOTENT = (
    errors.IdempotencyKeyMalformed,
    errors.IdempotencyKeyReused,
    errors.IdempotencyInProgress,
)


def answer(outcome: Outcome, path: str) -> Response:
    """The response that an outcome stands for; a replayed one says so. Problems name this request, not the first one."""
    headers = {REPLAY: "true"} if outcome.replayed else {}
    if not outcome.is_problem:
        return JSONResponse(outcome.body, status_code=outcome.status, headers=headers)
    problem = {**outcome.body, "instance": path, "request_id": correlation_id.get()}
    return JSONResponse(problem, status_code=outcome.status, headers=headers, media_type=PROBLEM_JSON)
