"""What requests ask of the limits that they meet, by the caps of their session signers and the policies that are attached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lockstep.custody.limits import AggregationShelf, Charge, CompiledAggregation, LimitLedger, Scales, charges_of
from lockstep.custody.policy import CompiledPolicy, Reading
from lockstep.custody.policy.rules import facts_of
from lockstep.custody.seals import Seals
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.rules import (
    PolicyKey,
    check_standing,
    policy_keys,
    rule_on,
    system_facts,
)
from lockstep.custody.signing.types import Authority
from lockstep.custody.types import Decision, Principal
from lockstep.custody.view import RequestView
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError


class Ask(NamedTuple):
    """One request of a caller, as limits see it."""

    principal: Principal
    authority: Authority
    view: RequestView


class Standing(NamedTuple):
    """An allowed decision that is about to be signed."""

    decision: Decision
    ask: Ask
    dies_at: datetime | None
    """When what it uses of limits is given back unless it is signed; None: a transaction holds it."""


class SpendingLimits:
    """Finds the limits that requests meet."""

    def __init__(self, seals: Seals, policies: PolicyShelf) -> None:
        self._policies = policies
        self._shelf = AggregationShelf(seals)
        self.ledger = LimitLedger(seals)

    async def charges(
        self, uow: UnitOfWork, asks: Sequence[Ask], policies: Mapping[PolicyKey, CompiledPolicy], now: datetime
    ) -> list[tuple[Charge, ...]]:
        """What each request asks of which counters. Whoever may sign nothing at all asks for nothing.

        Args:
            policies: compiled, at least all that are attached to these authorities.
        """
        named = [self._references(ask, policies) for ask in asks]
        wanted = {
            (ask.authority.app_id, reference) for ask, names in zip(asks, named, strict=True) for reference in names
        }
        aggregations = await self._shelf.load(uow, wanted) if wanted else {}
        charges: list[tuple[Charge, ...]] = []
        for ask, names in zip(asks, named, strict=True):
            session = ask.authority.session
            caps = None if session is None else session.caps
            found = [aggregations[name] for name in sorted(names) if name in aggregations]
            if (caps is None and not found) or check_standing(
                ask.principal, ask.authority, now, needs_proof=False
            ) is not None:
                charges.append(())
                continue
            facts = facts_of(ask.view, system_facts(ask.principal, ask.authority, now))
            charges.append(charges_of(caps, found, facts))
        return charges

    async def weigh(
        self,
        uow: UnitOfWork,
        ask: Ask,
        policies: Mapping[PolicyKey, CompiledPolicy],
        now: datetime,
        *,
        own: str | None = None,
        lock: bool = True,
    ) -> tuple[tuple[Charge, ...], Scales]:
        """What one request asks for, and how its counters stand; see `LimitLedger.read`."""
        (charges,) = await self.charges(uow, [ask], policies, now)
        return charges, await self.ledger.read(uow, ask.authority.app_id, charges, now, own=own, lock=lock)

    async def load(self, uow: UnitOfWork, app_id: str, references: frozenset[str]) -> dict[str, CompiledAggregation]:
        """Those of these aggregations that the app has, by reference."""
        return await self._shelf.load(uow, {(app_id, reference) for reference in references}) if references else {}

    async def read_for(self, uow: UnitOfWork, ask: Ask, policy: CompiledPolicy, now: datetime) -> Mapping[str, Reading]:
        """What the references of one policy alone say about a request; uses and locks nothing."""
        app_id = ask.authority.app_id
        found = await self.load(uow, app_id, policy.references)
        facts = facts_of(ask.view, system_facts(ask.principal, ask.authority, now))
        charges = charges_of(None, found.values(), facts)
        return (await self.ledger.read(uow, app_id, charges, now, lock=False)).readings(charges)

    async def decide_again(
        self,
        uow: UnitOfWork,
        changed: Sequence[Standing],
        policies: Mapping[PolicyKey, CompiledPolicy],
        now: datetime,
    ) -> list[LockstepError | None]:
        """Ask the policies once more about allowed decisions, because others are attached by now: why each of them does not
        stand any more, or None. What stands uses the limits that there are by now.

        Args:
            policies: as for `charges`.
        """
        charges = await self.charges(uow, [one.ask for one in changed], policies, now)
        by_app: dict[str, list[Charge]] = {}
        for one, asked in zip(changed, charges, strict=True):
            by_app.setdefault(one.decision.app_id, []).extend(asked)
        for app_id in sorted(by_app):  # all locks in one order, before the first of them is used
            await self.ledger.read(uow, app_id, by_app[app_id], now)
        refusals: list[LockstepError | None] = []
        for one, asked in zip(changed, charges, strict=True):
            principal, authority, view = one.ask
            scales = await self.ledger.read(uow, one.decision.app_id, asked, now, own=one.decision.id)
            try:
                members = await self._policies.load_members(uow, principal, authority, view, policies, now)
            except LockstepError as error:
                refusals.append(error)
                continue
            ruling = rule_on(principal, authority, view, policies, now, members, scales.readings(asked))
            if ruling.allowed:
                scales.reserve(asked, one.decision.id, one.dies_at)
                await scales.write(uow)
            refusals.append(ruling.error)
        return refusals

    def _references(self, ask: Ask, policies: Mapping[PolicyKey, CompiledPolicy]) -> frozenset[str]:
        return frozenset().union(*(policies[key].references for key in policy_keys(ask.authority) if key in policies))
