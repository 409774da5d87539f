"""SQL of trials: the decisions of the past that a policy took part in."""

from __future__ import annotations

from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

MAX_WALLETS = 1_000
"""Wallets whose decisions are looked at, the newest first."""

_PAST = """
select d.id as decision_id, d.wallet_id, d.session_id, d.caller, d.method, d.intent, d.allowed, d.reason_code, d.reason,
    d.policy_id, d.rule_id, d.policy_revisions, d.decided_at, w.address, q.sealed
from (
    select w.id, w.address from wallets w
    where w.app_id = %(app_id)s and (%(owner)s::text is null or w.owner_user_id = %(owner)s)
        and (%(policy_id)s = any(w.policy_ids) or exists (
            select from session_signers s
            where s.app_id = w.app_id and s.wallet_id = w.id and %(policy_id)s = any(s.policy_ids)))
    order by w.id desc limit %(wallets)s
) w
cross join lateral (
    select * from signing_decisions d
    where d.app_id = %(app_id)s and d.wallet_id = w.id and d.policy_revisions ? %(policy_id)s
        and d.reason_code = any(%(reasons)s)
    order by d.id desc limit %(last)s
) d
left join decision_requests q on q.app_id = d.app_id and q.decision_id = d.id
order by d.id desc limit %(last)s
"""
_SAID_BY_POLICIES = ["allowed", "denied_by_rule", "no_matching_rule", "policy_invalid"]
"""Reasons of decisions that are the policies'; others (frozen, revoked and so on) would stand whatever policies say."""


async def list_past(uow: UnitOfWork, app_id: AppId, policy_id: str, *, owner: str | None, last: int) -> list[Row]:
    """The last decisions that a policy took part in, of the wallets that use it now, the newest first.

    Args:
        owner: only wallets of this user; None: all of the app.
    """
    return await uow.fetch(
        _PAST,
        {
            "app_id": app_id,
            "policy_id": policy_id,
            "owner": owner,
            "last": last,
            "wallets": MAX_WALLETS,
            "reasons": _SAID_BY_POLICIES,
        },
    )
