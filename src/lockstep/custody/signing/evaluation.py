"""Dry runs: what one policy, or a document that is only proposed, says about a request. Signs, stores and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.custody.condition_sets import SetShelf
from lockstep.custody.limits import LimitStanding, standings
from lockstep.custody.policy import CompiledPolicy, Verdict, evaluate, questions
from lockstep.custody.policy.trace import ConditionTrace, RuleTrace, first_unmet, trace
from lockstep.custody.ports import Sender
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.limits import Ask, SpendingLimits
from lockstep.custody.signing.preview import with_type
from lockstep.custody.signing.rules import check_visible, system_facts
from lockstep.custody.signing.views import view_of
from lockstep.custody.types import Principal
from lockstep.custody.view import RpcRequest, SendTransaction
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.kit.ids import WalletId


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a policy alone says; the wallet may have others, and the caller limits of its own."""

    verdict: Verdict
    rules: tuple[RuleTrace, ...]
    """Those for the request's method, in the order in which they are asked."""
    unmet: ConditionTrace | None
    """What keeps the closest ALLOW rule from matching; None where one matches, or there is none."""
    limits: tuple[LimitStanding, ...] = ()
    """Sums that its ALLOW rules bound, as they stand; nothing of them is used."""


class Evaluator:
    """Makes dry runs."""

    def __init__(
        self,
        database: Database,
        limits: SpendingLimits,
        seals: Seals,
        sets: SetShelf,
        sender: Sender,
        clock: Clock,
    ) -> None:
        self._database, self._limits, self._seals, self._sets = database, limits, seals, sets
        self._sender, self._clock = sender, clock

    async def evaluate(
        self, principal: Principal, wallet_id: WalletId, request: RpcRequest, policy: CompiledPolicy
    ) -> Evaluation:
        """Ask one policy about a request of the caller's wallet, as of now.

        Raises:
            WalletNotFound: there is none for this caller.
            WrongSender, MalformedTransaction, UnknownChain: the request does not hold for this wallet.
        """
        async with self._database.tenant(principal.tenant) as uow:
            (found,) = await store.load_authorities(
                uow, self._seals, principal.tenant, [(wallet_id, principal.session_id)]
            )
        authority = check_visible(principal, found)
        if isinstance(request, SendTransaction):
            request = with_type(request, self._sender)
        view = view_of(authority, request)
        now = self._clock.now()
        system = system_facts(principal, authority, now)
        async with self._database.tenant(principal.tenant) as uow:
            members = await self._sets.find_members(uow, authority.app_id, questions(view, [policy], system))
            readings = await self._limits.read_for(uow, Ask(principal, authority, view), policy, now)
        verdict = evaluate(view, [policy], system, members, readings)
        rules = trace(policy, view, system, members, readings)
        return Evaluation(
            verdict=verdict,
            rules=rules,
            unmet=None if verdict.allowed else first_unmet(rules),
            limits=standings(None, [policy], readings, [part.method for part in view.decided]),
        )
