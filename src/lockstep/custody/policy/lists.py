"""Conditions on lists: `recipients[*]` speaks of every element, `recipients[any]` of at least one, `recipients[count]` of how
many there are. Fixed positions are not offered: whoever makes the request chooses the order.

Of an empty list `[*]` holds and `[any]` does not. An answer about one element that cannot be decided makes the whole
undecided, unless another element decides it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

ALL: Final = "[*]"
ANY: Final = "[any]"
COUNT: Final = "[count]"
_NAME = re.compile(r"(.*?)((?:\[(?:\*|any|count)\])*)", re.DOTALL)
_STEP = re.compile(r"\[(?:\*|any|count)\]")

Path: TypeAlias = Sequence[int | str]
"""Positions or names of members, and what is said of lists on the way."""


class Many(tuple[Any, ...]):
    """The values that a condition on a list speaks of."""


def split_name(name: str) -> tuple[str, list[str]]:
    """The name of a member, and what is said of it as a list."""
    found = _NAME.fullmatch(name)
    assert found is not None  # both parts may be empty
    return found.group(1), _STEP.findall(found.group(2))


def element_type(kind: str, steps: Sequence[str]) -> str | None:
    """The type that is left after these steps into a list; None: its length.

    Raises:
        ValueError: it is no list, or something is said of a length.
    """
    for at, step in enumerate(steps):
        if not kind.endswith("]"):
            raise ValueError(f"{kind} is no list; {step} belongs to lists")
        if step == COUNT:
            if at + 1 < len(steps):
                raise ValueError(f"{COUNT} is a number; nothing comes after it")
            return None
        kind = kind[: kind.rindex("[")]
    return kind


def speaks_of_lists(path: Path) -> bool:
    """Whether a path leads into a list."""
    return any(step in (ALL, ANY, COUNT) for step in path)


def answer_along(value: Any, path: Path, answer: Callable[[Any], bool | None]) -> bool | None:
    """What a condition on the end of a path says, from the value at its beginning."""
    for at, step in enumerate(path):
        if step == COUNT:
            return answer(len(value))
        if step in (ALL, ANY):
            answers = [answer_along(one, path[at + 1 :], answer) for one in value]
            decisive = step == ANY
            return decisive if decisive in answers else None if None in answers else not decisive
        value = value[step]
    return answer(value)


def values_along(value: Any, path: Path) -> Any:
    """The value at the end of a path; `Many` where it leads into a list."""
    for at, step in enumerate(path):
        if step == COUNT:
            return len(value)
        if step in (ALL, ANY):
            found = [values_along(one, path[at + 1 :]) for one in value]
            return Many(inner for one in found for inner in (one if isinstance(one, Many) else (one,)))
        value = value[step]
    return value
