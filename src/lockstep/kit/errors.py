"""The root of the error tree. Each module draws its own small tree below one of three consequences.

    LockstepError
    ├── Refuse   the caller's fault: answer 4xx, never retry, store nothing
    │   ├── BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, Conflict 409, Unprocessable 422, TooMany 429
    ├── Retry    a passing fault: answer 503 with Retry-After; workers back off and try again
    └── Stop     an operator is needed: answer 500; workers park the row and raise an alert

Workers act on the consequence, never on the message. ``code`` is stable and documented; ``detail`` is for people.
"""

from typing import ClassVar


class LockstepError(Exception):
    """Something went wrong in a way that Lockstep knows."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500

    def __init__(self, detail: str | None = None, **fields: object) -> None:
        """
        Args:
            detail: one sentence for a person: what was expected and what it was. Default: the class docstring.
            fields: facts with names; shown in the problem document and in logs. Never a secret.
        """
        self.detail = detail or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        self.fields = fields
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """The first sentence of the class docstring: the same for every occurrence of this code."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    def problem(self) -> dict[str, object]:
        """RFC 9457 members; the HTTP layer adds ``instance`` and the request id."""
        return {
            "type": f"urn:lockstep:problem:{self.code}",
            "title": self.title(),
            "status": self.http_status,
            "code": self.code,
            "detail": self.detail,
            **{name: value for name, value in self.fields.items() if value is not None},
        }


class Refuse(LockstepError):
    """The request cannot be carried out as it was made."""

    code, http_status = "refused", 400


class BadRequest(Refuse):
    """The request is malformed."""

    code, http_status = "bad_request", 400


class Unauthorized(Refuse):
    """The credentials are missing or not valid."""

    code, http_status = "unauthorized", 401


class Forbidden(Refuse):
    """The credentials are valid, but do not allow this."""

    code, http_status = "forbidden", 403


class NotFound(Refuse):
    """There is no such object for this caller."""

    code, http_status = "not_found", 404


class Conflict(Refuse):
    """The object is not in a state in which this is possible."""

    code, http_status = "conflict", 409


class Unprocessable(Refuse):
    """The request is well formed, but its content does not hold."""

    code, http_status = "unprocessable", 422


class TooMany(Refuse):
    """Too many requests; slow down."""

    code, http_status = "rate_limited", 429


class Retry(LockstepError):
    """A part that is needed cannot be reached at the moment."""

    code, http_status = "temporarily_unavailable", 503
    retry_after_seconds: ClassVar[int] = 1


class Stop(LockstepError):
    """Something happened that must not happen; an operator is needed."""

    code, http_status = "operator_needed", 500
