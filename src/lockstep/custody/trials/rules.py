"""Asks policies about past requests again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from lockstep.chains.evm import Address, parse_chain
from lockstep.custody.policy import CompiledPolicy, Members, evaluate, questions
from lockstep.custody.policy.compile import CompiledRule
from lockstep.custody.policy.sets import Question
from lockstep.custody.trials.types import Difference, PastRequest, Said, Shadow
from lockstep.custody.view import (
    CARDANO_METHODS,
    Method,
    RequestView,
    TransactionDraft,
    as_calls,
    parse_rpc,
    view_draft,
    view_request,
)
from lockstep.kit.errors import LockstepError

PolicyKey = tuple[str, int]
REFERENCE: Final = "reference"
"""Source of facts about how much of a limit is used."""
Asked = tuple[PastRequest, RequestView, Sequence[CompiledPolicy]]
"""A request that can be asked again: its view, and the policies to ask."""


def prepare(
    past: Sequence[PastRequest], proposed: CompiledPolicy, others: Mapping[PolicyKey, CompiledPolicy]
) -> tuple[list[Asked], set[Question]]:
    """Those of the requests that can be asked again, and what will be asked of condition sets about them.

    Args:
        proposed: the document that is tried, in the place of the policy with its id.
        others: the other policies, in the revisions that were asked then.
    """
    asked: list[Asked] = []
    found: set[Question] = set()
    for one in past:
        view = view_of(one)
        if view is None:
            continue
        policies = [proposed, *(others[key] for key in one.revisions.items() if key in others)]
        asked.append((one, view, policies))
        found |= questions(view, policies, one.system)
    return asked, found


def compare(past: Sequence[PastRequest], asked: Sequence[Asked], members: Members) -> Shadow:
    """What is said now, against what was said then."""
    differences, undecided = [], 0
    for one, view, policies in asked:
        verdict = evaluate(view, policies, one.system, members)
        if not verdict.allowed and evaluate(view, [_at_best(each) for each in policies], one.system, members).allowed:
            undecided += 1
            continue
        if verdict.allowed != one.said.allowed:
            now = Said(
                allowed=verdict.allowed,
                reason_code=str(verdict.reason_code),
                reason=verdict.reason,
                policy_id=verdict.policy_id,
                rule_id=verdict.rule_id,
            )
            differences.append(
                Difference(
                    decision_id=one.decision_id,
                    wallet_id=one.wallet_id,
                    method=one.method,
                    decided_at=one.decided_at,
                    then=one.said,
                    now=now,
                )
            )
    return Shadow(
        requests=len(past),
        same=len(asked) - len(differences) - undecided,
        undecided=undecided,
        not_kept=len(past) - len(asked),
        differences=tuple(differences),
    )


def _at_best(policy: CompiledPolicy) -> CompiledPolicy:
    """The policy as if every condition on a limit came out well: those of ALLOW rules hold, those of DENY rules do not.

    How much of a limit was used then is not known. Without it such conditions cannot be decided, which is the worst that
    they can be; where the best comes to the same, the limit does not matter.
    """
    if not any(one for rules in (*policy.denies.values(), *policy.allows.values()) for one in rules if _speaks(one)):
        return policy
    denies = {method: tuple(one for one in rules if not _speaks(one)) for method, rules in policy.denies.items()}
    allows = {method: tuple(_without_limits(one) for one in rules) for method, rules in policy.allows.items()}
    return replace(policy, denies=denies, allows=allows)


def _speaks(compiled: CompiledRule) -> bool:
    """Whether a rule speaks of limits."""
    return any(condition.field_source == REFERENCE for condition in compiled.rule.conditions)


def _without_limits(compiled: CompiledRule) -> CompiledRule:
    kept = [
        (condition, check)
        for condition, check in zip(compiled.rule.conditions, compiled.checks, strict=True)
        if condition.field_source != REFERENCE
    ]
    rule = replace(compiled.rule, conditions=tuple(condition for condition, _ in kept))
    return CompiledRule(rule, tuple(check for _, check in kept))


def view_of(past: PastRequest) -> RequestView | None:
    """The view of a past request; None where it was not kept, or does not hold any more by the rules of today."""
    try:
        if past.intent is not None:
            view = view_draft(_draft(past.intent), past.address)
            return as_calls(view) if past.method == Method.SEND_CALLS else view
        request = None if past.body is None else parse_rpc(past.body)
        # What is own on Cardano goes by the public key, which is not kept with a request.
        return None if request is None or request.method in CARDANO_METHODS else view_request(request, past.address)
    except LockstepError:
        return None


def _draft(intent: Mapping[str, str | None]) -> TransactionDraft:
    """The reverse of `signing.rules.intent_wire`, as policies see it."""

    def number(name: str) -> int | None:
        text = intent[name]
        return None if text is None else int(text)

    to, data = intent["to"], intent["data"] or "0x"
    return TransactionDraft(
        chain_id=parse_chain(intent["chain"] or ""),
        to=None if to is None else Address(to),
        value=number("value") or 0,
        data=bytes.fromhex(data[2:]),
        gas_limit=number("gas_limit"),
        max_fee_per_gas=number("max_fee_per_gas"),
        max_priority_fee_per_gas=number("max_priority_fee_per_gas"),
        type=0 if intent["type"] == "0" else 2,
    )
