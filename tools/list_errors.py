"""Writes docs/guide/errors.md from the error classes: every stable code with its sentence, status and consequence.

python tools/list_errors.py            writes the page
python tools/list_errors.py --check    exit code 1 if the page is not fresh
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lockstep
from lockstep.app.roles import openapi_document
from lockstep.kit import errors as kit
from lockstep.kit.errors import LockstepError, Retry, Stop

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "errors.md"
NOT_OURS = ("lockstep.app.demo",)
HEAD = """\
# Errors

Every refusal has a stable `code`; act on the code, never on the words. Over HTTP it comes as a problem document
(RFC 9457), on the stream inside an `error` frame, on the command line as the last line of the message. This page is made
by `tools/list_errors.py` from the error classes.

| consequence | what it means | what to do | exit code |
|---|---|---|---|
| **refuse** | the request cannot be carried out as it was made, and nothing was stored | change the request; after 429, `idempotency_in_progress` and `secret_too_early` wait and send the same one | 3 |
| **retry** | a part that is needed cannot be reached at the moment | send the same request with the same `Idempotency-Key` after `Retry-After` seconds | 4 |
| **stop** | something happened that must not happen; what it concerns is parked | tell the operator the `request_id` | 5 |
"""
SECTIONS = (
    ("Over HTTP", "Which route answers with which says the schema, `/openapi.json`."),
    ("On the stream", "Inside `error` frames. Close codes: [stream](api.md#stream)."),
    ("On the command line", ""),
    ("In logs and inside processes", "Not meant for callers; a worker acts on the consequence."),
)


def error_classes() -> list[type[LockstepError]]:
    """Every class that has a code of its own; the abstract ones of the kit come last."""
    for module in pkgutil.walk_packages(lockstep.__path__, "lockstep."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {
        each
        for each in _below(LockstepError)
        if each.__module__.startswith("lockstep.") and not each.__module__.startswith(NOT_OURS)
    }
    return sorted(found, key=lambda each: (each.__module__ == kit.__name__, each.__module__, each.__name__))


def by_code() -> dict[str, list[type[LockstepError]]]:
    """The classes by their code."""
    found: dict[str, list[type[LockstepError]]] = {}
    for error in error_classes():
        found.setdefault(error.code, []).append(error)
    return found


def render() -> str:
    """The page."""
    declared = _declared(openapi_document())
    parts: dict[str, list[str]] = {name: [] for name, _ in SECTIONS}
    for code, classes in sorted(by_code().items()):
        if code not in declared and all(error.__module__ == kit.__name__ for error in classes):
            continue  # names of the tree that nobody meets
        parts[_section(code, classes, declared)].append(_row(code, classes))
    lines = [HEAD]
    for name, words in SECTIONS:
        intro = f"{words}\n\n" if words else ""
        rows = "\n".join(parts[name])
        lines.append(f"## {name}\n\n{intro}| code | status | consequence | sentence |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(lines)


def _section(code: str, classes: list[type[LockstepError]], declared: frozenset[str]) -> str:
    module = classes[0].__module__
    if code == "origin_not_allowed" or module.startswith("lockstep.app.stream"):
        return SECTIONS[1][0]
    if code in declared or code == "session_not_granted" or module.startswith("lockstep.app.http"):
        return SECTIONS[0][0]
    if module.startswith(("lockstep.app.", "lockstep.kit.settings")) and module != "lockstep.app.wiring":
        return SECTIONS[2][0]
    return SECTIONS[3][0]


def _row(code: str, classes: list[type[LockstepError]]) -> str:
    first = classes[0]
    is_stop = issubclass(first, Stop) or first.http_status == 500
    consequence = "stop" if is_stop else "retry" if issubclass(first, Retry) else "refuse"
    return f"| `{code}` | {first.http_status} | {consequence} | {first.title().replace('|', chr(92) + '|')} |"


def _declared(document: Mapping[str, Any]) -> frozenset[str]:
    """The codes that the schema names."""
    codes: set[str] = set()
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    codes.update(content.get("schema", {}).get("properties", {}).get("code", {}).get("examples", ()))
    return frozenset(codes)


def _below(kind: type[LockstepError]) -> Iterator[type[LockstepError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def main() -> int:
    """Write the page, or say whether it is fresh."""
    text = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.name} is not fresh; run: python tools/list_errors.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
