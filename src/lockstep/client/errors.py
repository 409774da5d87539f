"""What can go wrong for a caller of Lockstep.

ClientError
├── ProblemError        Lockstep refused or failed, and said why (RFC 9457); `code` is stable
├── Unreachable         no answer came, retries included; whether the call had an effect is not known
├── UnexpectedAnswer    an answer came that is not one of Lockstep's
└── WaitTimeout         what was waited for did not happen in time
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})
"""Passing faults: the same call may succeed a little later."""
RETRYABLE_CODES = frozenset({"idempotency_in_progress"})
"""An earlier try of the same call, whose answer was lost, is still at work."""
_MEMBERS = frozenset({"type", "title", "status", "code", "detail", "instance", "request_id"})


class ClientError(Exception):
    """A call did not succeed."""


class ProblemError(ClientError):
    """Lockstep refused or failed, and said why."""

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        *,
        title: str = "",
        fields: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        """
        Args:
            code: stable name of the refusal, for example "policy_denied".
            fields: further members of the problem: facts with names.
            request_id: finds the call in the logs of the deployment.
        """
        self.code, self.status, self.detail, self.title = code, status, detail, title
        self.fields: dict[str, Any] = dict(fields or {})
        self.request_id = request_id
        super().__init__(f"{code} ({status}): {detail}")

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status in RETRYABLE_STATUSES or self.code in RETRYABLE_CODES

    @classmethod
    def from_document(cls, status: int, document: object, request_id: str | None = None) -> ProblemError:
        """The error that a problem document describes; other answers become one with the code "unknown"."""
        if not isinstance(document, Mapping) or not isinstance(document.get("code"), str):
            return cls("unknown", status, f"an answer with status {status} that is not a problem document")
        return cls(
            document["code"],
            int(document.get("status") or status),
            str(document.get("detail", "")),
            title=str(document.get("title", "")),
            fields={str(name): value for name, value in document.items() if name not in _MEMBERS},
            request_id=document.get("request_id") or request_id,
        )


class Unreachable(ClientError):
    """No answer came."""


class UnexpectedAnswer(ClientError):
    """The answer is not one of Lockstep's."""


class WaitTimeout(ClientError):
    """What was waited for did not happen in time."""

    def __init__(self, message: str, last: object = None) -> None:
        """
        Args:
            last: what was seen last.
        """
        self.last = last
        super().__init__(message)
