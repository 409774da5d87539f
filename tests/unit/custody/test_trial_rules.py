"""What depends on a limit is never said to be decided, and what does not is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lockstep.chains.evm import Address
from lockstep.custody.policy import CompiledPolicy, SystemFacts, compile_policy, parse_policy
from lockstep.custody.policy.compile import CompiledRule
from lockstep.custody.trials.rules import REFERENCE, compare, prepare
from lockstep.custody.trials.types import PastRequest, Said

WALLET = Address("0x" + "11" * 20)


def past(*, allowed: bool = True) -> PastRequest:
    return PastRequest(
        decision_id="d",
        wallet_id="w",
        address=WALLET,
        method="personal_sign",
        decided_at=datetime(2026, 1, 1, tzinfo=UTC),
        system=SystemFacts(current_unix_timestamp=0, wallet_id="w", app_id="a"),
        said=Said(allowed=allowed, reason_code="allowed", reason="", policy_id=None, rule_id=None),
        revisions={},
        intent=None,
        body={"method": "personal_sign", "params": {"message": "hi", "encoding": "utf-8"}},
    )


def compiled(*rules: tuple[str, str, bool]) -> CompiledPolicy:
    """Rules as (action, message wanted, whether a limit is wanted as well)."""
    documents: list[dict[str, Any]] = [
        {
            "method": "personal_sign",
            "action": action,
            "conditions": [
                {"field_source": "ethereum_message", "field": "content", "operator": "eq", "value": text},
                {"field_source": "system", "field": "user_id", "operator": "eq", "value": "nobody"},
            ][: 1 + limited],
        }
        for action, text, limited in rules
    ]
    policy = compile_policy(
        parse_policy({"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": documents}), "p", 0
    )

    def limit(rules: tuple[CompiledRule, ...]) -> tuple[CompiledRule, ...]:
        """The second condition, which cannot be decided for this caller, made one on a limit."""
        return tuple(
            CompiledRule(
                replace(
                    one.rule,
                    conditions=tuple(
                        replace(each, field_source=REFERENCE) if each.field_source == "system" else each
                        for each in one.rule.conditions
                    ),
                ),
                one.checks,
            )
            for one in rules
        )

    return replace(
        policy,
        denies={method: limit(rules) for method, rules in policy.denies.items()},
        allows={method: limit(rules) for method, rules in policy.allows.items()},
    )


@pytest.mark.parametrize(
    ("rules", "same", "undecided", "denied"),
    [
        ([("ALLOW", "hi", True)], 0, 1, 0),
        ([("ALLOW", "ho", True)], 0, 0, 1),
        ([("ALLOW", "hi", True), ("ALLOW", "hi", False)], 1, 0, 0),
        ([("ALLOW", "hi", False), ("DENY", "hi", True)], 0, 1, 0),
        ([("ALLOW", "hi", False), ("DENY", "ho", True)], 1, 0, 0),
        ([("ALLOW", "hi", True), ("DENY", "hi", False)], 0, 0, 1),
    ],
)
def test_compare__rule_with_a_limit__is_undecided_only_where_the_limit_matters(
    rules: list[tuple[str, str, bool]], same: int, undecided: int, denied: int
) -> None:
    requests = [past()]
    asked, _ = prepare(requests, compiled(*rules), {})

    shadow = compare(requests, asked, {})

    assert (shadow.same, shadow.undecided, shadow.newly_denied) == (same, undecided, denied)
