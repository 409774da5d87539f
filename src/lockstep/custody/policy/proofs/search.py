"""Searches for a request that some policies allow and others do not, or proves that there is none. Needs z3.

Three steps, each with what is left of the time: no solution whatever the condition sets hold; no solution with what they
hold now; a solution that can be written as a request on which the evaluator agrees. What the evaluator does not confirm
is never answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import z3

from lockstep.custody.policy.proofs.confirm import asked_of_sets, confirms, view_of
from lockstep.custody.policy.proofs.model import UNDERSTOOD, BeyondSolver, Model
from lockstep.custody.policy.proofs.requests import NotWritable, write_request
from lockstep.custody.policy.proofs.types import Answer, Example, Finding, Search
from lockstep.custody.policy.sets import Members
from lockstep.kit.errors import LockstepError

MAX_TRIES: Final = 20
"""Solutions that are written as requests before the search gives up."""


def search(wanted: Search) -> Finding:
    """The request that is wanted, or that there is none."""
    model = Model(wanted)
    try:
        formula = model.wanted()
        contents = model.contents_of_sets()
    except BeyondSolver:
        return _undecided("a policy has a character that the solver does not know")
    solver = _Solver(wanted.seconds)
    solver.add(formula, *model.axioms)
    answer = solver.check()
    if answer == z3.unsat:
        return Finding(answer=Answer.NEVER)
    if answer == z3.unknown:
        return _undecided("the time was not enough")
    if model.asks_sets:
        solver.add(*contents)
        answer = solver.check()
        if answer == z3.unsat:
            return Finding(answer=Answer.NEVER, depends_on_sets=True)
        if answer == z3.unknown:
            return _undecided("the time was not enough")
    if wanted.method not in UNDERSTOOD:
        return _undecided(f"requests of {wanted.method} are not described well enough to find one")
    for wish in model.wishes:
        solver.grant(wish)
    for solution in solver.solutions(model):
        example = _write(wanted, solution)
        if example is not None and confirms(wanted, example, members_of(wanted, example)):
            return Finding(answer=Answer.FOUND, example=example)
    return _undecided("what was found cannot be written as a request, or the time was not enough")


def members_of(wanted: Search, example: Example) -> Members:
    """Answers of the condition sets, as far as they were read."""
    asked = asked_of_sets(wanted, example)
    return {one: one[1] in wanted.sets[one[0]].items for one in asked if one[0] in wanted.sets}


def _write(wanted: Search, solution: Any) -> Example | None:
    try:
        example = write_request(wanted.method, wanted.app_id, solution)
        view_of(example)
    except (NotWritable, LockstepError, ValueError):
        return None
    return example


def _undecided(reason: str) -> Finding:
    return Finding(answer=Answer.NOT_DECIDED, reason=reason)


class _Solver:
    """A solver with one budget of time for everything."""

    def __init__(self, seconds: int) -> None:
        self._solver = z3.Solver()
        self._until = time.monotonic() + seconds

    def add(self, *formulas: Any) -> None:
        self._solver.add(*formulas)

    def check(self) -> Any:
        left = int((self._until - time.monotonic()) * 1_000)
        if left <= 0:
            return z3.unknown
        self._solver.set("timeout", left)
        return self._solver.check()

    def grant(self, wish: Any) -> None:
        """Keep to a wish from now on, if that leaves a solution."""
        self._solver.push()
        self._solver.add(wish)
        if self.check() != z3.sat:
            self._solver.pop()

    def solutions(self, model: Model) -> Iterator[Any]:
        """Solutions, each another one, until there is none left, or no time."""
        for _ in range(MAX_TRIES):
            if self.check() != z3.sat:
                return
            found = self._solver.model()
            yield model.read(found)
            self._solver.add(model.block(found))
