"""Several calls at once in words: user operations, and batches of an account."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.chains.evm import ENTRY_POINT, UnsignedTransaction, UserOperation
from lockstep.custody.view.types import Call, RequestView
from lockstep.custody.view.words.calls import describe_call
from lockstep.custody.view.words.text import address_text, chain_text, native_text
from lockstep.custody.view.words.transactions import describe_costs
from lockstep.custody.view.words.types import Detail, WordFacts, Words

_SPELLED = 3
"""Calls that are told in the sentence; more are counted there, and told in the details."""


def describe_user_operation(view: RequestView, operation: UserOperation, facts: WordFacts) -> Words:
    """A user operation in words."""
    where = chain_text(facts, view.chain)
    calls = describe_calls([part.call for part in view.parts if part.call is not None], view.chain, facts)
    account = address_text(operation.sender)
    cost = native_text(facts, view.chain, operation.max_cost)
    details = [
        Detail("Chain", where),
        Detail("Owner", address_text(view.from_address)),
        Detail("Account", account),
        Detail("Entry point", address_text(operation.entry_point)),
        Detail("Nonce", str(operation.nonce)),
        *calls.details,
        Detail("Gas fee at most", cost),
        Detail("Call data", "0x" + operation.call_data[:2_048].hex()),
    ]
    warnings = list(calls.warnings)
    if operation.factory is not None:
        details.append(Detail("Made first by", address_text(operation.factory)))
    if operation.paymaster is not None:
        details.append(Detail("Fee paid by", address_text(operation.paymaster)))
    if operation.entry_point != ENTRY_POINT:
        warnings.append(f"{address_text(operation.entry_point)} is not the known entry point of version 0.7.")
    if view.parts:
        doing = calls.sentence
    else:
        doing = "run its own code in a way that cannot be read" if operation.call_data else "do nothing"
        warnings.insert(0, "What the account will do is not known here.")
    return Words(
        sentence=f"Let account {account} do this on {where}: {doing}", details=tuple(details), warnings=tuple(warnings)
    )


def describe_batch(view: RequestView, transaction: UnsignedTransaction, facts: WordFacts) -> Words:
    """A transaction that was asked for as calls."""
    where = chain_text(facts, view.chain)
    calls = describe_calls([part.call for part in view.parts if part.call is not None], view.chain, facts)
    at_once = f"{calls.sentence} on {where}" if len(view.parts) == 1 else f"all or nothing on {where}: {calls.sentence}"
    return Words(
        sentence=at_once[:1].upper() + at_once[1:],
        details=(
            Detail("Chain", where),
            Detail("From", address_text(view.from_address)),
            *calls.details,
            *describe_costs(view, transaction, facts),
        ),
        warnings=calls.warnings,
    )


def describe_calls(calls: Sequence[Call], chain: str | None, facts: WordFacts) -> Words:
    """Calls one after another, in order."""
    told = [describe_call(call, chain, facts) for call in calls]
    sentence = "; then ".join(_lower(one.sentence) for one in told[:_SPELLED])
    if len(told) > _SPELLED:
        sentence += f"; then {len(told) - _SPELLED} more calls"
    return Words(
        sentence=sentence,
        details=tuple(Detail(f"Call {number}", one.sentence, one.details) for number, one in enumerate(told, 1)),
        warnings=tuple(dict.fromkeys(line for one in told for line in one.warnings)),
    )


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
