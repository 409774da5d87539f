"""Shadow mode: another document asked about the requests of the past, which are kept sealed and not for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.support.custody import ALICE, ALLOW_ALL, BOB, START, World, message, pays, pure, send

from lockstep.custody import ConditionSetService, NewWallet, PolicyDenied, PolicyInvalid, Principal, SessionTerms
from lockstep.custody.errors import CallerNotAllowed, PolicyNotFound, WalletFrozen
from lockstep.custody.policy import SetType
from lockstep.custody.signing.request_box import MAX_BYTES

MESSAGES = {"method": "personal_sign", "action": "ALLOW", "conditions": [], "unconditional": True}
TYPED = {
    "method": "eth_signTypedData_v4",
    "params": {
        "typed_data": {
            "types": {"Note": [{"name": "amount", "type": "uint256"}]},
            "primary_type": "Note",
            "domain": {"name": "Notes"},
            "message": {"amount": "7"},
        }
    },
}


def document(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1.0", "name": "next", "chain_type": "ethereum", "rules": list(rules)}


async def user(world: World, app: Principal, number: int) -> Principal:
    return await world.user(app, str(number))


async def test_shadow__the_same_document__decides_every_method_the_same(world: World) -> None:
    app = await world.app()
    rules = [*pays(BOB, 5), MESSAGES]
    wallet = await world.wallet(app, rules)
    terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["personal_sign"])
    session = await world.session(app, wallet, terms)
    await world.rpc(session, wallet, message("from a session"))
    await world.rpc(app, wallet, message())
    await world.rpc(app, wallet, send(BOB, 5))
    for body in (send(BOB, 6), pure(), TYPED):
        with pytest.raises(PolicyDenied):
            await world.rpc(app, wallet, body)

    shadow = await world.trials.shadow(app, wallet.policy_ids[0], document(*rules), 1_000)

    assert (shadow.requests, shadow.same, shadow.not_kept, shadow.differences) == (6, 6, 0, ())


async def test_shadow__wider_and_narrower_document__lists_what_differs_with_the_deciding_rules(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, [*pays(BOB, 5), MESSAGES])
    policy_id = wallet.policy_ids[0]
    await world.rpc(app, wallet, message())
    await world.rpc(app, wallet, send(BOB, 5))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, send(BOB, 9))
    before = await world.rows("select count(*) as n from signing_decisions")

    shadow = await world.trials.shadow(app, policy_id, document(*pays(BOB, 9)), 1_000)

    assert (shadow.requests, shadow.same, shadow.newly_allowed, shadow.newly_denied) == (3, 1, 1, 1)
    wider, narrower = shadow.differences
    assert (wider.method, wider.then.reason_code, wider.now.reason_code) == (
        "eth_sendTransaction",
        "no_matching_rule",
        "allowed",
    )
    assert (wider.now.policy_id, wider.now.rule_id) == (policy_id, "rule-1")
    assert (narrower.method, narrower.then.rule_id, narrower.now.allowed) == ("personal_sign", "rule-2", False)
    rows = await world.rows("select id from signing_decisions order by id desc")
    assert [wider.decision_id, narrower.decision_id] == [rows[0]["id"], rows[2]["id"]]
    assert await world.rows("select count(*) as n from signing_decisions") == before
    last = await world.trials.shadow(app, policy_id, document(*pays(BOB, 9)), 1)
    assert (last.requests, last.differences) == (1, (wider,))


async def test_shadow__time_and_caller_of_the_request__are_those_of_then(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, ALLOW_ALL)
    await world.rpc(app, wallet, message("in time"))
    world.clock.advance(timedelta(hours=2))
    await world.rpc(app, wallet, message("late"))
    until = {
        "field_source": "system",
        "field": "current_unix_timestamp",
        "operator": "lte",
        "value": str(int(START.timestamp()) + 3_600),
    }
    shadow = await world.trials.shadow(
        app, wallet.policy_ids[0], document({"method": "*", "action": "ALLOW", "conditions": [until]}), 10
    )

    (late,) = shadow.differences
    assert (shadow.same, late.decided_at) == (1, START + timedelta(hours=2))


async def test_shadow__another_policy_of_the_wallet__must_allow_as_well(world: World) -> None:
    app = await world.app()
    narrow, wide = await world.policy(app, pays(BOB, 5)), await world.policy(app, ALLOW_ALL)
    wallet = await world.custody.create_wallet(app, NewWallet(policy_ids=(wide.id, narrow.id)))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, send(BOB, 9))
    await world.custody.update_policy(app, narrow.id, document(*ALLOW_ALL))

    assert (await world.trials.shadow(app, wide.id, document(*ALLOW_ALL), 10)).same == 1
    assert (await world.trials.shadow(app, narrow.id, document(*ALLOW_ALL), 10)).newly_allowed == 1


async def test_shadow__condition_set__is_looked_up_as_it_is_now(world: World) -> None:
    app = await world.app()
    sets = ConditionSetService(world.database, world.audit, world.seals, world.clock)
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    wallet = await world.wallet(app)
    await world.rpc(app, wallet, send(BOB))
    await world.rpc(app, wallet, send(ALICE))
    condition = {
        "field_source": "ethereum_transaction",
        "field": "to",
        "operator": "in_condition_set",
        "value": known.id,
    }
    proposed = document({"method": "eth_sendTransaction", "action": "ALLOW", "conditions": [condition]})

    assert (await world.trials.shadow(app, wallet.policy_ids[0], proposed, 10)).newly_denied == 1
    await sets.add_items(app, known.id, [ALICE])
    assert (await world.trials.shadow(app, wallet.policy_ids[0], proposed, 10)).newly_denied == 0
    await world.custody.update_policy(app, wallet.policy_ids[0], proposed)
    await world.rpc(app, wallet, send(ALICE))
    in_force = await world.trials.shadow(app, wallet.policy_ids[0], proposed, 10)
    assert (in_force.requests, in_force.same) == (3, 3)


async def test_shadow__what_no_policy_decided__is_not_counted(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.custody.update_wallet(app, wallet.id, status="frozen")
    with pytest.raises(WalletFrozen):
        await world.rpc(app, wallet, message())

    assert (await world.trials.shadow(app, wallet.policy_ids[0], document(), 10)).requests == 0


async def test_shadow__requests_older_than_their_keeping_or_too_large__are_said_to_be_missing(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.rpc(app, wallet, message("x" * MAX_BYTES))
    await world.rpc(app, wallet, message("old"))
    await world.rpc(app, wallet, send())
    world.clock.advance(timedelta(days=29))
    await world.custody.purge_expired()
    kept = await world.trials.shadow(app, wallet.policy_ids[0], document(), 10)
    world.clock.advance(timedelta(days=2))
    await world.custody.purge_expired()
    gone = await world.trials.shadow(app, wallet.policy_ids[0], document(), 10)

    assert (kept.requests, kept.not_kept, kept.newly_denied) == (3, 1, 2)
    assert (gone.requests, gone.not_kept, gone.newly_denied) == (3, 2, 1)
    assert await world.rows("select 1 from decision_requests") == []


async def test_kept_requests__in_the_database_alone__say_nothing_and_cannot_be_moved(
    world: World, admin_dsn: str
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.rpc(app, wallet, message("a planted secret"))
    await world.rpc(app, wallet, message("another one"))

    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        rows = admin.execute("select sealed from decision_requests").fetchall()
        assert len(rows) == 2
        assert not any(b"secret" in row[0] or b"personal_sign" in row[0] for row in rows)
        admin.execute("update decision_requests r set sealed = (select max(sealed) from decision_requests)")
    shadow = await world.trials.shadow(app, wallet.policy_ids[0], document(), 10)
    assert (shadow.not_kept, shadow.newly_denied) == (1, 1)


async def test_shadow__for_others__shows_nothing(world: World) -> None:
    app, other = await world.app(), await world.app("Other")
    one, two = await user(world, app, 1), await user(world, app, 2)
    shared = await world.policy(app, ALLOW_ALL)
    for owner in (one, two):
        wallet = await world.custody.create_wallet(owner, NewWallet(policy_ids=(shared.id,)))
        await world.rpc(owner, wallet, message())
    private = await world.policy(one, ALLOW_ALL)

    assert (await world.trials.shadow(app, shared.id, document(), 10)).requests == 2
    (seen,) = (await world.trials.shadow(two, shared.id, document(), 10)).differences
    assert seen.wallet_id == wallet.id
    for caller, policy in ((other, shared), (two, private)):
        with pytest.raises(PolicyNotFound):
            await world.trials.shadow(caller, policy.id, document(), 10)
    session = Principal(kind="session", app_id=app.app_id, wallet_id=wallet.id, session_id="s")
    with pytest.raises(CallerNotAllowed):
        await world.trials.shadow(session, shared.id, document(), 10)
    with pytest.raises(PolicyInvalid):
        await world.trials.shadow(app, shared.id, {"rules": 5}, 10)
