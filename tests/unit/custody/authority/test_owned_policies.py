"""What belongs to keys and quorums is not changed around them."""

from __future__ import annotations

from tests.support.custody import ALLOW_ALL, BOB, World
from tests.support.keys import Key
from tests.unit.custody.authority.conftest import Caller

from lockstep.custody import ConditionSetService, Principal
from lockstep.custody.policy import SetType
from lockstep.kit.ids import AppId

A, B = Key(51), Key(52)


async def test_policy__of_a_quorum__names_no_condition_set_that_the_app_changes_alone(
    world: World, app: Caller
) -> None:
    sets = ConditionSetService(world.database, world.audit, world.seals, world.clock)
    principal = Principal(kind="app", app_id=AppId(app.headers["X-App-Id"]))
    known = await sets.create(principal, "known", SetType.ADDRESS, values=[BOB])
    condition = {
        "field_source": "ethereum_transaction",
        "field": "to",
        "operator": "in_condition_set",
        "value": known.id,
    }
    rules = [{"method": "eth_sendTransaction", "action": "ALLOW", "conditions": [condition]}]
    document = {"name": "p", "chain_type": "ethereum", "rules": rules}
    quorum = await app.quorum(2, A, B)

    made = await app.call("POST", "/policies", {**document, "owner_id": quorum})
    owned = await app.policy(ALLOW_ALL, owner_id=quorum)
    changed = await app.signed(A, B).call("PATCH", f"/policies/{owned}", document)
    free = await app.policy(rules)
    given = await app.call("PATCH", f"/policies/{free}", {**document, "owner_id": quorum})

    for refused in (made, changed, given):
        assert (refused.status_code, refused.json()["code"]) == (422, "policy_invalid")
        assert refused.json()["faults"][0]["path"] == "rules"
    assert (await app.get(f"/policies/{owned}"))["revision"] == 1
