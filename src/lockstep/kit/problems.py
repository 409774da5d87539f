"""Declares the refusals of a route, so that OpenAPI shows every stable code with its sentence."""

from typing import Any

from lockstep.kit.errors import LockstepError

PROBLEM_JSON = "application/problem+json"


def problems(*errors: type[LockstepError]) -> dict[int | str, dict[str, Any]]:
    """The ``responses=`` of a route: one entry per status, naming the codes that it may carry."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in sorted(errors, key=lambda each: (each.http_status, each.code)):
        entry = by_status.setdefault(
            error.http_status, {"description": "", "content": {PROBLEM_JSON: {"schema": _schema()}}}
        )
        line = f"`{error.code}`: {error.title()}"
        entry["description"] = f"{entry['description']}\n\n{line}".strip()
        codes = entry["content"][PROBLEM_JSON]["schema"]["properties"]["code"].setdefault("examples", [])
        if error.code not in codes:
            codes.append(error.code)
    return by_status


def _schema() -> dict[str, Any]:
    """RFC 9457 with our two additions: `code` is stable, the rest of the members are the error's facts."""
    return {
        "title": "Problem",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "request_id": {"type": "string"},
        },
    }
