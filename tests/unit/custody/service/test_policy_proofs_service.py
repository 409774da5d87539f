"""Proofs over the service: in a process of their own, with the condition sets as they are, and nothing that is not so."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from typing import Any

import pytest
from tests.support.custody import ALICE, BOB, World, pays, send

from lockstep.custody import ConditionSetService, PolicyInvalid
from lockstep.custody.errors import CallerNotAllowed, PolicyNotFound
from lockstep.custody.policy import SetType
from lockstep.custody.policy.proofs import Answer
from lockstep.custody.trials import proofs
from lockstep.custody.trials.errors import ProofsBusy, ProofsUnavailable
from lockstep.custody.types import Principal

SEND = "eth_sendTransaction"
CAROL = "0x" + "ca" * 20


def tx(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field_source": "ethereum_transaction", "field": field, "operator": operator, "value": value}


def document(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1.0", "name": "next", "chain_type": "ethereum", "rules": list(rules)}


def allow(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"method": SEND, "action": "ALLOW", "conditions": list(conditions)}


async def test_prove__limit_with_and_without_a_hole__is_proved_or_shown_and_the_request_is_really_allowed(
    world: World,
) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 5))
    policy_id = wallet.policy_ids[0]

    never = await world.trials.prove(app, policy_id, [tx("value", "gt", "5")], method=SEND)
    found = await world.trials.prove(
        app, policy_id, [tx("value", "gt", "5")], document=document(*pays(BOB, 5), *pays(CAROL, 9))
    )

    assert (never.answer, never.example, never.depends_on_sets) == (Answer.NEVER, None, False)
    assert (found.answer, found.reason) == (Answer.FOUND, None)
    assert found.example is not None
    await world.custody.update_policy(app, policy_id, document(*pays(BOB, 5), *pays(CAROL, 9)))
    assert (await world.custody.evaluate_policy(app, policy_id, wallet.id, dict(found.example.body))).verdict.allowed


async def test_prove__condition_set__is_taken_as_it_is_and_said_so(world: World) -> None:
    app = await world.app()
    sets = ConditionSetService(world.database, world.audit, world.seals, world.clock)
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    policy = await world.policy(app, [allow(tx("to", "in_condition_set", known.id))])

    outside = await world.trials.prove(app, policy.id, [tx("to", "not_in_condition_set", known.id)], method=SEND)
    before = await world.trials.prove(app, policy.id, [tx("to", "eq", ALICE)], method=SEND)
    await sets.add_items(app, known.id, [ALICE])
    after = await world.trials.prove(app, policy.id, [tx("to", "eq", ALICE)], method=SEND)

    assert (outside.answer, outside.depends_on_sets) == (Answer.NEVER, False)
    assert (before.answer, before.depends_on_sets) == (Answer.NEVER, True)
    assert after.answer is Answer.FOUND


async def test_prove__set_that_is_too_large_to_be_read__answers_nothing_that_is_not_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await world.app()
    sets = ConditionSetService(world.database, world.audit, world.seals, world.clock)
    known = await sets.create(app, "known", SetType.ADDRESS, values=[f"0x{number:040x}" for number in range(3)])
    policy = await world.policy(app, [allow(tx("to", "in_condition_set", known.id))])
    monkeypatch.setattr(proofs, "MAX_SET_ITEMS", 2)

    member = await world.trials.prove(app, policy.id, [], method=SEND)
    stranger = await world.trials.prove(app, policy.id, [tx("to", "eq", ALICE)], method=SEND)

    assert member.answer is Answer.FOUND
    assert stranger.answer is Answer.NOT_DECIDED


async def test_compare__revisions_and_a_proposal__shows_what_is_newly_allowed(world: World) -> None:
    app = await world.app()
    policy = await world.policy(app, pays(BOB, 5))
    await world.custody.update_policy(app, policy.id, document(*pays(BOB, 6)))

    wider = await world.trials.compare(app, policy.id, before=1, after=2)
    narrower = await world.trials.compare(app, policy.id, before=2, after=1)
    proposed = await world.trials.compare(app, policy.id, document=document(*pays(BOB, 6)))

    assert wider.example is not None
    assert wider.example.body["params"]["transaction"]["value"] == "6"
    assert (narrower.answer, proposed.answer) == (Answer.NEVER, Answer.NEVER)
    with pytest.raises(PolicyNotFound, match="no revision 3"):
        await world.trials.compare(app, policy.id, before=3)


async def test_prove__conditions_or_document_that_do_not_hold__are_refused_with_their_paths(world: World) -> None:
    app, other = await world.app(), await world.app("Other")
    policy = await world.policy(app, pays(BOB, 5))

    with pytest.raises(PolicyInvalid) as refused:
        await world.trials.prove(app, policy.id, [tx("to", "eq", BOB), tx("to", "lt", BOB)], method="nonsense")
    assert [fault.path for fault in refused.value.faults] == ["method", "conditions[1].operator"]
    with pytest.raises(PolicyInvalid):
        await world.trials.prove(app, policy.id, [], document={"rules": []})
    with pytest.raises(PolicyNotFound):
        await world.trials.prove(other, policy.id, [])
    session = Principal(kind="session", app_id=app.app_id, session_id="s")
    with pytest.raises(CallerNotAllowed):
        await world.trials.prove(session, policy.id, [])


async def test_prove__without_the_solver__is_not_offered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await world.app()
    policy = await world.policy(app)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ProofsUnavailable) as refused:
        await world.trials.prove(app, policy.id, [])
    assert (refused.value.http_status, refused.value.code) == (501, "proofs_unavailable")


async def test_prove__more_at_once_than_there_may_be__asks_to_come_again(world: World) -> None:
    app = await world.app()
    policy = await world.policy(app, pays(BOB, 5))

    outcomes = await asyncio.gather(
        *[world.trials.prove(app, policy.id, [], method=SEND) for _ in range(3)], return_exceptions=True
    )

    assert [type(one) for one in outcomes if isinstance(one, Exception)] == [ProofsBusy]
    assert (await world.trials.prove(app, policy.id, [], method=SEND)).answer is Answer.FOUND


async def test_prove__process_that_hangs_or_dies__is_ended_and_nothing_is_decided(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await world.app()
    policy = await world.policy(app)
    monkeypatch.setattr(proofs, "_START_SECONDS", 0)
    monkeypatch.setattr(proofs, "_PROVER", ("/bin/sh", "-c", "echo $$ > /dev/fd/2; exec sleep 1000"))
    hung = await world.trials.prove(app, policy.id, [], seconds=1)
    monkeypatch.setattr(proofs, "_PROVER", ("/bin/sh", "-c", "cat > /dev/null; kill -9 $$"))
    died = await world.trials.prove(app, policy.id, [], seconds=10)

    assert (hung.answer, died.answer) == (Answer.NOT_DECIDED, Answer.NOT_DECIDED)


async def test_prove__example_that_the_evaluator_does_not_confirm__is_not_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await world.app()
    policy = await world.policy(app, pays(BOB, 5))
    claimed = {
        "body": send(BOB, 6),
        "from_address": ALICE,
        "current_unix_timestamp": 0,
        "wallet_id": "w",
        "user_id": None,
        "session_id": None,
    }

    async def lies(_: object) -> dict[str, Any]:
        return {"answer": "counter_example", "depends_on_sets": False, "reason": None, "example": claimed}

    monkeypatch.setattr(proofs, "_run", lies)
    assert (await world.trials.prove(app, policy.id, [], method=SEND)).answer is Answer.NOT_DECIDED


async def test_prove__the_process__is_given_no_settings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await world.app()
    policy = await world.policy(app)
    monkeypatch.setitem(os.environ, "LOCKSTEP_PLANTED", "a secret")
    script = (
        'cat > /dev/null; printf \'{"answer": "not_decided", "depends_on_sets": false, "reason": "%s", "example": null}\''
        ' "$LOCKSTEP_PLANTED"'
    )
    monkeypatch.setattr(proofs, "_PROVER", ("/bin/sh", "-c", script))

    assert (await world.trials.prove(app, policy.id, [])).reason == ""
