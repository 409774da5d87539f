"""Selective answers: ``fields=`` names the members that a caller wants to see."""

from collections.abc import Collection, Mapping
from typing import Any

from lockstep.kit.errors import BadRequest


class FieldUnknown(BadRequest):
    """A member named in `fields` does not exist."""

    code = "field_unknown"


def parse_fields(text: str | None, known: Collection[str]) -> frozenset[str] | None:
    """The members that a caller asks for; None: all of them.

    Args:
        text: names with commas between them, as in the query.
        known: the members that there are.

    Raises:
        FieldUnknown: nothing, or something else, is named.
    """
    if text is None:
        return None
    wanted = frozenset(name.strip() for name in text.split(","))
    if not wanted <= set(known):
        raise FieldUnknown(f"expected names with commas between them, out of: {', '.join(known)}")
    return wanted


def select_fields(document: Mapping[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """A document with the wanted members only, in its own order."""
    return {name: value for name, value in document.items() if wanted is None or name in wanted}
