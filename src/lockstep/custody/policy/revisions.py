"""What differs between two documents of a policy, rule by rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RuleDocument = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDiff:
    """Rules by what became of them; a rule is known by its id."""

    added: tuple[RuleDocument, ...]
    removed: tuple[RuleDocument, ...]
    changed: tuple[tuple[RuleDocument, RuleDocument], ...]
    """Before and after."""


def diff_rules(before: Sequence[RuleDocument], after: Sequence[RuleDocument]) -> PolicyDiff:
    """The difference between the rules of two revisions. Their order decides nothing, so it is none."""
    old, new = ({rule["id"]: rule for rule in rules} for rules in (before, after))
    return PolicyDiff(
        added=tuple(rule for rule in after if rule["id"] not in old),
        removed=tuple(rule for rule in before if rule["id"] not in new),
        changed=tuple((old[rule["id"]], rule) for rule in after if rule["id"] in old and old[rule["id"]] != rule),
    )
