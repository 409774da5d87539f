"""What an ALLOW rule does not say and does not mean either: conditions that are added where it leaves them out.

A rule was written with some kind of request in mind; what is rarer and does more than that has to be named in it.
The added conditions are ordinary ones, so that refusals and traces show them.
"""

from __future__ import annotations

from dataclasses import replace

from lockstep.custody.policy.fields import AUTHORIZATION, CARDANO, CHAIN_TYPES, NAMED_METHODS, TRANSACTION
from lockstep.custody.policy.types import ANY_METHOD, Action, Condition, Fact, Operator, Rule
from lockstep.custody.policy.values import BOOL, UINT256
from lockstep.custody.view.types import Method


def covers(rule: Rule, method: Method, chain_type: str) -> bool:
    """Whether a rule is asked about a method. "*" denies everything, and allows all methods of the policy's chain type but
    those to be named."""
    if rule.method == ANY_METHOD:
        return rule.action is Action.DENY or (method in CHAIN_TYPES[chain_type] and method not in NAMED_METHODS)
    return rule.method == method


def complete(rule: Rule) -> Rule:
    """The rule with what it implies.

    An authorization for every chain (chain id 0) must be allowed by a condition that names 0. Blobs cost a fee of their
    own: a rule that bounds fees covers them only where it bounds that one, or names the type.
    """
    if rule.action is Action.DENY:
        return rule
    implied = _cardano(rule) if rule.method == Method.SIGN_CARDANO and rule.conditions else []
    if rule.method == Method.SIGN_AUTHORIZATION and not any(_names_every_chain(one) for one in rule.conditions):
        implied.append(_is_not(AUTHORIZATION, "chain_id", 0))
    named = {one.target.key for one in rule.conditions if isinstance(one.target, Fact)}
    bounds_fees = f"{TRANSACTION}.max_fee_per_gas" in named
    if bounds_fees and not named & {f"{TRANSACTION}.max_fee_per_blob_gas", f"{TRANSACTION}.type"}:
        implied.append(_is_not(TRANSACTION, "type", 3))
    return replace(rule, conditions=(*rule.conditions, *implied)) if implied else rule


def _cardano(rule: Rule) -> list[Condition]:
    """What a Cardano transaction may do beside paying is allowed by rules that name it; so are tokens, but to the wallet."""
    named = {one.field for one in rule.conditions if one.field_source == CARDANO}
    implied = [
        Condition(CARDANO, name, Operator.EQ, Fact(f"{CARDANO}.{name}"), UINT256, (0,))
        for name in ("certificate_count", "withdrawal_count", "mint_count", "donation")
        if name not in named
    ]
    if "runs_scripts" not in named:
        implied.append(Condition(CARDANO, "runs_scripts", Operator.EQ, Fact(f"{CARDANO}.runs_scripts"), BOOL, (False,)))
    if not named & {"token", "token_amount", "token_count", "is_own"}:
        implied.append(Condition(CARDANO, "token_count", Operator.EQ, Fact(f"{CARDANO}.token_count"), UINT256, (0,)))
    return implied


def _names_every_chain(condition: Condition) -> bool:
    fits = condition.field_source == AUTHORIZATION and condition.field == "chain_id"
    return fits and condition.operator in (Operator.EQ, Operator.IN) and 0 in condition.values


def _is_not(source: str, field: str, value: int) -> Condition:
    return Condition(source, field, Operator.NEQ, Fact(f"{source}.{field}"), UINT256, (value,))
