"""Why the HTTP shell refuses before a module is asked.

LockstepError
├── InternalError 500           a fault that nobody expected; the log has it under the request id
└── Refuse
    ├── BadRequest 400          MalformedJson, DuplicateMember, NestedTooDeep, UnusableText, HostNotAllowed
    ├── Forbidden 403           OriginNotAllowed
    ├── NotFound 404            RouteNotFound
    ├── Unprocessable 422       ValidationFailed
    ├── MethodNotAllowed 405, BodyTooLarge 413, MediaTypeNotSupported 415
    └── TooMany 429             RateLimited
"""

from lockstep.kit.errors import BadRequest, Forbidden, LockstepError, NotFound, Refuse, TooMany, Unprocessable


class InternalError(LockstepError):
    """Something failed on our side; the request id finds it in the log."""

    code, http_status = "internal_error", 500


class MalformedJson(BadRequest):
    """The body is not valid JSON."""

    code = "malformed_json"


class DuplicateMember(BadRequest):
    """An object in the body names a member twice, so that readers could disagree about it."""

    code = "duplicate_member"


class NestedTooDeep(BadRequest):
    """The body is nested too deep."""

    code = "nested_too_deep"


class UnusableText(BadRequest):
    """The request holds text that cannot be stored: a NUL character or half of a surrogate pair."""

    code = "unusable_text"


class HostNotAllowed(BadRequest):
    """The Host header names none of the hosts that are served here."""

    code = "host_not_allowed"


class OriginNotAllowed(Forbidden):
    """Scripts of this origin may not connect."""

    code = "origin_not_allowed"


class RouteNotFound(NotFound):
    """There is no such path."""

    code = "route_not_found"


class MethodNotAllowed(Refuse):
    """The path exists, but not with this method."""

    code, http_status = "method_not_allowed", 405


class BodyTooLarge(Refuse):
    """The body is larger than what is accepted."""

    code, http_status = "body_too_large", 413


class MediaTypeNotSupported(Refuse):
    """The body must be JSON and say so."""

    code, http_status = "media_type_not_supported", 415


class ValidationFailed(Unprocessable):
    """The request does not have the shape that this route expects."""

    code = "validation_failed"


class RateLimited(TooMany):
    """Too many requests; try again when the time in Retry-After has passed."""

    code = "rate_limited"
