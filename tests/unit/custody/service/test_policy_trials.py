"""Trying a request against a policy, and looking at what a policy was: nothing is signed, stored or shown to others."""

from __future__ import annotations

import pytest
from tests.support.custody import BOB, World, message, pays, send

from lockstep.custody import PolicyInvalid, WalletNotFound
from lockstep.custody.errors import PolicyNotFound
from lockstep.custody.policy.trace import Holds
from lockstep.custody.view import RpcInvalid

CAROL = "0x" + "ca" * 20


async def test_evaluate__request_that_is_denied__says_what_was_wanted_and_what_was_seen(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 5))

    denied = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(BOB, 6))

    assert (denied.verdict.allowed, str(denied.verdict.reason_code)) == (False, "no_matching_rule")
    assert denied.unmet is not None
    assert (denied.unmet.field, denied.unmet.operator) == ("value", "lte")
    assert (denied.unmet.wanted, denied.unmet.seen, denied.unmet.holds) == (("5",), "6", Holds.NO)
    (rule,) = denied.rules
    assert [condition.holds for condition in rule.conditions][-1] is Holds.NO
    allowed = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(BOB, 5))
    assert (allowed.verdict.allowed, allowed.unmet) == (True, None)
    for table in ("signing_decisions", "signing_previews", "released_signatures"):
        assert await world.rows(f"select 1 as x from {table}") == []


async def test_evaluate__proposed_document__is_asked_in_place_of_the_one_in_force(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 5))
    proposal = {"version": "1.0", "name": "next", "chain_type": "ethereum", "rules": pays(CAROL, 9)}

    now = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(CAROL, 9))
    then = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(CAROL, 9), proposal)

    assert (now.verdict.allowed, now.verdict.policy_revision) == (False, 1)
    assert (then.verdict.allowed, then.verdict.policy_revision) == (True, 0)
    assert (await world.custody.get_policy(app, wallet.policy_ids[0])).revision == 1


async def test_evaluate__bad_document_request_or_wallet__is_refused(world: World) -> None:
    app, other = await world.app(), await world.app("Other")
    wallet, foreign = await world.wallet(app), await world.wallet(other)
    policy = wallet.policy_ids[0]
    with pytest.raises(PolicyInvalid):
        await world.custody.evaluate_policy(app, policy, wallet.id, message(), {"rules": "none"})
    with pytest.raises(RpcInvalid):
        await world.custody.evaluate_policy(app, policy, wallet.id, {"method": "personal_sign", "params": {}})
    with pytest.raises(WalletNotFound):
        await world.custody.evaluate_policy(app, policy, foreign.id, message())
    with pytest.raises(PolicyNotFound):
        await world.custody.evaluate_policy(app, foreign.policy_ids[0], wallet.id, message())


async def test_evaluate__policy_of_another_user__does_not_exist(world: World) -> None:
    app = await world.app()
    one, two = await world.user(app, "1"), await world.user(app, "2")
    policy = await world.policy(one)
    wallet = await world.wallet(two)
    for ask in (
        world.custody.evaluate_policy(two, policy.id, wallet.id, message()),
        world.custody.list_policy_revisions(two, policy.id),
        world.custody.diff_policy(two, policy.id, 1, 1),
    ):
        with pytest.raises(PolicyNotFound):
            await ask


async def test_revisions__after_changes__newest_first_with_their_writers_and_differences(world: World) -> None:
    app = await world.app()
    policy = await world.policy(app, pays(BOB, 5))
    grown = {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": [*policy.rules, *pays(CAROL, 1)]}
    await world.custody.update_policy(app, policy.id, grown)

    first = await world.custody.list_policy_revisions(app, policy.id, limit=1)
    rest = await world.custody.list_policy_revisions(app, policy.id, cursor=first.next_cursor)

    assert [row.revision for row in (*first.items, *rest.items)] == [2, 1]
    assert first.items[0].created_by == app.label
    assert rest.items[0].rules == policy.rules
    diff = await world.custody.diff_policy(app, policy.id, 1, 2)
    assert (len(diff.added), diff.removed, diff.changed) == (1, (), ())
    back = await world.custody.diff_policy(app, policy.id, 2, 1)
    assert (back.added, back.removed) == ((), diff.added)
    with pytest.raises(PolicyNotFound, match="no revision 3"):
        await world.custody.diff_policy(app, policy.id, 1, 3)
