"""What an idempotency key stands for, and what is kept of the answer."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lockstep.custody.errors import IdempotencyKeyMalformed, IdempotencyKeyMissing
from lockstep.custody.types import Principal
from lockstep.kit.errors import LockstepError, Refuse

NO_APP: Final = "-"
"""Stands for the app of callers that belong to none."""
TERMINAL: Final = frozenset({400, 403, 422})
"""Statuses of refusals that the same request would meet again; 404, 409 and 429 may pass, 5xx are no answers."""
_KEY = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class Claim:
    """One key in its scope, and the digest of the request that it stands for."""

    app_id: str
    scope: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request: an HTTP status and a JSON body."""

    status: int
    body: dict[str, Any] = field(repr=False)
    replayed: bool = False
    """Whether it was given before; the answer then carries ``Idempotency-Replay: true``."""

    def replay(self) -> Outcome:
        return replace(self, replayed=True)

    @property
    def is_problem(self) -> bool:
        return self.status >= 400


def claim_for(principal: Principal, method: str, path: str, key: str | None, body: object, query: str = "") -> Claim:
    """The claim of an authenticated request.

    Args:
        key: the ``Idempotency-Key`` header, with or without the quotes of a structured string.
        body: the parsed body; the order of its members does not matter.

    Raises:
        IdempotencyKeyMissing, IdempotencyKeyMalformed: the header is absent, or not 1 to 256 visible characters.
    """
    if key is None:
        raise IdempotencyKeyMissing
    if len(key) > 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyMalformed
    content = json.dumps([method, path, query, principal.label, body], sort_keys=True, separators=(",", ":"))
    return Claim(
        app_id=principal.app_id or NO_APP,
        scope=f"{principal.label} {method} {path}",
        key=key,
        fingerprint=hashlib.sha256(content.encode()).digest(),
    )


def terminal_outcome(error: LockstepError) -> Outcome | None:
    """What is kept of a refusal; None when the same request may fare better later."""
    if isinstance(error, Refuse) and error.http_status in TERMINAL:
        return Outcome(error.http_status, error.problem())
    return None
