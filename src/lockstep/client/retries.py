"""When a call is sent again, and how long to wait before. Decides only; the transports wait."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import httpx

from lockstep.client.errors import ClientError, ProblemError, UnexpectedAnswer, Unreachable
from lockstep.client.requests import Request, T

_random = secrets.SystemRandom()
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_DONE_STATUS = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently."""

    attempts: int = 4
    """Tries in all; 1 never repeats."""
    first_pause_seconds: float = 0.25
    """Doubled after every try; each pause is a random part of it, at least the half."""
    longest_pause_seconds: float = 8.0
    total_seconds: float = 60.0
    """No try begins later than this after the first."""

    def pause(self, tried: int, elapsed: float, retry_after: float | None) -> float | None:
        """Seconds to wait after so many tries; None when it was the last one."""
        if tried >= self.attempts:
            return None
        limit = min(self.first_pause_seconds * 2 ** (tried - 1), self.longest_pause_seconds)
        wanted = _random.uniform(limit / 2, limit)
        if retry_after is not None:
            wanted += retry_after
        return wanted if elapsed + wanted <= self.total_seconds else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that failed."""

    error: ClientError
    may_repeat: bool
    retry_after: float | None = None


def read_answer(request: Request[T], response: httpx.Response) -> T | Failure:
    """The value of an answer, or why there is none."""
    status = response.status_code
    if status < 400 or status in request.accepts:
        try:
            return request.parse(response.json() if response.content else None)
        except (ValueError, AttributeError) as error:
            failure = UnexpectedAnswer(f"{request.method} {request.path}: expected JSON, was {response.text[:80]!r}")
            failure.__cause__ = error
            return Failure(failure, may_repeat=False)
        except UnexpectedAnswer as error:
            return Failure(error, may_repeat=False)
    try:
        document: object = response.json()
    except ValueError:
        document = None
    problem = ProblemError.from_document(status, document, response.headers.get("X-Request-Id"))
    may_repeat = problem.is_retryable and (request.is_repeatable or status == _NOT_DONE_STATUS)
    return Failure(problem, may_repeat, _retry_after(response))


def failed_to_reach(request: Request[T], error: httpx.TransportError) -> Failure:
    """A try without answer; repeated when nothing was sent, or when sending twice does nothing twice."""
    unreachable = Unreachable(f"{request.method} {request.path}: {type(error).__name__}: {error}")
    unreachable.__cause__ = error
    return Failure(unreachable, may_repeat=request.is_repeatable or isinstance(error, _NEVER_SENT))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; the form with a date is not used by Lockstep."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() else None
