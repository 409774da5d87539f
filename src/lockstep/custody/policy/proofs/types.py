"""What is searched for, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lockstep.custody.policy.compile import CompiledPolicy
from lockstep.custody.policy.types import SystemFacts


class Answer(StrEnum):
    """What a search says."""

    NEVER = "never"
    """There is no such request; proved."""
    FOUND = "counter_example"
    """There is one: it stands in the finding, and the evaluator agrees."""
    NOT_DECIDED = "not_decided"
    """Neither was found in time, or what was found cannot be written as a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A condition set as far as it was read."""

    items: frozenset[str]
    """In the form that is compared."""
    is_complete: bool
    """Whether these are all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A request of this method that is allowed by all of some policies, and by not all of others."""

    method: str
    allowed_by: tuple[CompiledPolicy, ...]
    denied_by: tuple[CompiledPolicy, ...] = ()
    """Empty: nothing need deny it."""
    sets: Mapping[str, KnownSet] = field(default_factory=dict)
    """Condition sets by id; what is looked up in another one cannot be decided."""
    app_id: str
    seconds: int
    """Most time that the solver may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A concrete request, with what must be so for it."""

    body: Mapping[str, Any]
    """As `POST /v1/wallets/{id}/rpc` takes it."""
    from_address: str
    """Address of the wallet."""
    system: SystemFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a search."""

    answer: Answer
    example: Example | None = None
    depends_on_sets: bool = False
    """Whether `never` holds only as long as the condition sets are as they are."""
    reason: str | None = None
    """Why it is not decided, one sentence."""
