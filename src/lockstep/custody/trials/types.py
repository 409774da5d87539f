"""What trials work on and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.chains.evm import Address
from lockstep.custody.policy import SystemFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What policies said about a request."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None
    """The deciding policy."""
    rule_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """A request that policies decided on, as far as it was kept."""

    decision_id: str
    wallet_id: str
    address: Address
    method: str
    decided_at: datetime
    system: SystemFacts
    """What the service knew then."""
    said: Said
    revisions: Mapping[str, int]
    """Revisions of the policies (and condition sets) that were asked."""
    intent: Mapping[str, Any] | None
    """What was to be sent."""
    body: Mapping[str, Any] | None
    """What was to be signed at once; None: not kept, or forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A request about which the other document says something else."""

    decision_id: str
    wallet_id: str
    method: str
    decided_at: datetime
    then: Said
    now: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """What another document would have said about past requests."""

    requests: int
    """How many were looked at."""
    same: int
    undecided: int
    """How many depend on how much of a limit was used."""
    not_kept: int
    """How many of them could not be asked again, because they were not kept."""
    differences: tuple[Difference, ...]
    """The newest first."""

    @property
    def newly_allowed(self) -> int:
        return sum(one.now.allowed for one in self.differences)

    @property
    def newly_denied(self) -> int:
        return len(self.differences) - self.newly_allowed
