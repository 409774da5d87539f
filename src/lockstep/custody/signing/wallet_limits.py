"""How the limits of a wallet stand, without a request: what is used of each, what is left, and when some of it is free again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lockstep.custody.limits import LimitStanding
from lockstep.custody.limits.rules import group_of, session_charges, standings
from lockstep.custody.limits.types import Charge, Counter
from lockstep.custody.policy.fields import SYSTEM, TRANSACTION
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.limits import SpendingLimits
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.rules import check_visible, policy_keys
from lockstep.custody.signing.types import Authority
from lockstep.custody.types import Principal
from lockstep.custody.view.leaves import Leaves
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.kit.ids import WalletId


@dataclass(frozen=True, slots=True)
class WalletLimit:
    """A limit as it stands now."""

    standing: LimitStanding
    frees_at: datetime | None
    """When the oldest part of it leaves the window; None: nothing is used, or it is counted for good."""


class WalletLimits:
    """Tells how limits stand; uses nothing of them."""

    def __init__(
        self, database: Database, shelf: PolicyShelf, limits: SpendingLimits, seals: Seals, clock: Clock
    ) -> None:
        self._database, self._shelf, self._limits = database, shelf, limits
        self._seals, self._clock = seals, clock

    async def list_limits(self, principal: Principal, wallet_id: WalletId) -> list[WalletLimit]:
        """The caps of the calling session signer, then every sum that an ALLOW rule of an attached policy bounds.

        A sum whose group depends on the request (its recipient, say) is left out: ask a preview.

        Raises:
            WalletNotFound: there is none for this caller.
        """
        now = self._clock.now()
        async with self._database.tenant(principal.tenant) as uow:
            wanted = [(wallet_id, principal.session_id)]
            (found,) = await store.load_authorities(uow, self._seals, principal.tenant, wanted)
            authority = check_visible(principal, found)
            shelf = await self._shelf.load(uow, [authority])
            policies = [shelf[key] for key in policy_keys(authority)]
            caps = None if authority.session is None else authority.session.caps
            charges = [] if caps is None else session_charges(caps, Leaves())
            names = frozenset().union(*(policy.references for policy in policies))
            for one in (await self._limits.load(uow, authority.app_id, names)).values():
                group = group_of(one.group_by, _known(principal, authority))
                if group is not None:
                    counter = Counter(one.reference, group, one.window_seconds)
                    charges.append(Charge(one.reference, one.name, counter, 0))
            scales = await self._limits.ledger.read(uow, authority.app_id, charges, now, lock=False)
            oldest = await self._limits.ledger.list_oldest(uow, scales)
        by_limit = {charge.reading: charge.counter for charge in charges}
        return [
            WalletLimit(standing, _frees_at(by_limit[standing.limit], oldest))
            for standing in standings(caps, policies, scales.readings(charges))
        ]


def _known(principal: Principal, authority: Authority) -> dict[str, str | None]:
    """Facts of every request of this caller for this wallet."""
    return {
        f"{SYSTEM}.wallet_id": authority.wallet_id,
        f"{SYSTEM}.user_id": principal.user_id,
        f"{SYSTEM}.session_id": principal.session_id,
        f"{TRANSACTION}.from": authority.address,
    }


def _frees_at(counter: Counter, oldest: dict[Counter, datetime]) -> datetime | None:
    if counter.window_seconds is None or counter not in oldest:
        return None
    return oldest[counter] + timedelta(seconds=counter.window_seconds)
