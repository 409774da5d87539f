"""Condition sets as policies see them: the types of their items, and whether a policy may ask them what it asks.

Pure. A set may have very many items, so an evaluation is not given sets but the answers to the questions that it is going
to ask; `rules.questions` tells them beforehand. A question without an answer cannot be decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from lockstep.custody.policy.errors import PolicyInvalid
from lockstep.custody.policy.types import Condition, Operator, Policy
from lockstep.custody.policy.values import ADDRESS, INT256, UINT256, ValueType, parse_value
from lockstep.custody.view.types import Fault

MAX_SETS: Final = 20
"""Condition sets of one policy."""
MAX_TEXT: Final = 500
"""Characters of an item; a longer text is in no set."""
OPERATORS: Final = frozenset({Operator.IN_CONDITION_SET, Operator.NOT_IN_CONDITION_SET})

Question: TypeAlias = tuple[str, str | None]
"""Id of a set, and the text of a value as it would stand there; None: no set can hold the value."""
Members: TypeAlias = Mapping[Question, bool]
"""Whether a set holds a value; a set that does not exist has no answers."""
NO_MEMBERS: Final[Members] = MappingProxyType({})


class SetType(StrEnum):
    """What the items of a set are; decides how they are compared, and with which fields."""

    ADDRESS = "address"
    SELECTOR = "selector"
    INTEGER = "integer"
    STRING = "string"


def set_type_of(kind: ValueType) -> SetType | None:
    """The type of the sets that a field may be looked up in; None: in none."""
    if kind.kind in ("uint", "int"):
        return SetType.INTEGER
    if kind.kind == "bytes":
        return SetType.SELECTOR if kind.size == 4 else None
    return {"address": SetType.ADDRESS, "string": SetType.STRING}.get(kind.kind)


def parse_item(set_type: SetType, text: str) -> str:
    """The one form in which a value is compared: lower-case hex, decimal without leading zeros, or the text itself.

    Raises:
        ValueError: not of this type; the message says what was expected.
    """
    if set_type is SetType.STRING:
        if not 0 < len(text) <= MAX_TEXT or not _is_storable(text):
            raise ValueError(f"expected 1 to {MAX_TEXT} characters of text")
        return text
    kinds = {
        SetType.ADDRESS: ADDRESS,
        SetType.SELECTOR: ValueType("bytes", 4),
        SetType.INTEGER: INT256 if text.startswith("-") else UINT256,
    }
    found = item_text(parse_value(kinds[set_type], text))
    assert found is not None  # an address, a selector or a number always has a form
    return found


def item_text(value: object) -> str | None:
    """The form in which a fact of a request (number, text or bytes) would stand in a set; None: no set can hold it."""
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= MAX_TEXT and _is_storable(text) else None


def set_id_of(condition: Condition) -> str:
    """The set that a condition with one of `OPERATORS` names."""
    return str(condition.values[0])


def set_ids(policy: Policy) -> list[str]:
    """The sets that a policy names, each once, in the order in which they appear."""
    found = (set_id_of(one) for rule in policy.rules for one in rule.conditions if one.operator in OPERATORS)
    return list(dict.fromkeys(found))


def check_sets(policy: Policy, known: Mapping[str, SetType]) -> None:
    """Refuse a policy whose conditions on sets do not hold.

    Args:
        known: types of the sets that the writer of the policy may see.
    Raises:
        PolicyInvalid: a set that is not known, or of another type than the field; too many sets.
    """
    faults = list(_set_faults(policy, known))
    named = set_ids(policy)
    if len(named) > MAX_SETS:
        faults.append(Fault("rules", f"expected at most {MAX_SETS} condition sets, was {len(named)}"))
    if faults:
        raise PolicyInvalid(faults)


def _set_faults(policy: Policy, known: Mapping[str, SetType]) -> Iterator[Fault]:
    for at, rule in enumerate(policy.rules):
        for number, condition in enumerate(rule.conditions):
            if condition.operator not in OPERATORS:
                continue
            set_id, path = set_id_of(condition), f"rules[{at}].conditions[{number}].value"
            wanted, found = set_type_of(condition.value_type), known.get(set_id)
            if found is None:
                yield Fault(path, f"there is no condition set {set_id}")
            elif found is not wanted:
                yield Fault(path, f"expected a condition set of type {wanted}, was {found}")


def _is_storable(text: str) -> bool:
    """Whether a column can hold the text: no NUL, no half of a surrogate pair."""
    return not any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in text)
