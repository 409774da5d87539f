"""Whether the evaluator agrees with a search. Needs no solver."""

from __future__ import annotations

from lockstep.chains.evm import Address
from lockstep.custody.policy.compile import CompiledPolicy
from lockstep.custody.policy.proofs.types import Example, Search
from lockstep.custody.policy.rules import evaluate, questions
from lockstep.custody.policy.sets import Members, Question
from lockstep.custody.view import RequestView, parse_rpc, view_request


def view_of(example: Example) -> RequestView:
    """The view of an example, read like any other request.

    Raises:
        LockstepError: it does not hold as a request.
    """
    return view_request(parse_rpc(dict(example.body)), Address(example.from_address))


def asked_of_sets(wanted: Search, example: Example) -> set[Question]:
    """What the policies will ask of condition sets about an example."""
    return questions(view_of(example), (*wanted.allowed_by, *wanted.denied_by), example.system)


def confirms(wanted: Search, example: Example, members: Members) -> bool:
    """Whether the evaluator agrees that an example is what is wanted."""
    view = view_of(example)

    def allows(policy: CompiledPolicy) -> bool:
        return evaluate(view, [policy], example.system, members).allowed

    is_denied = not wanted.denied_by or not all(allows(policy) for policy in wanted.denied_by)
    return view.method == wanted.method and is_denied and all(allows(policy) for policy in wanted.allowed_by)
