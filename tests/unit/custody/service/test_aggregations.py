"""Aggregations: what is refused when they are written, who may make and delete them, and what names them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.custody import World, message
from tests.support.limits import (
    COUNT,
    HOUR,
    NATIVE,
    WALLET_GROUP,
    aggregation,
    aggregations,
    at_most,
    token_sum,
)

from lockstep.custody import CallerNotAllowed, Principal
from lockstep.custody.limits import (
    AggregationInUse,
    AggregationInvalid,
    AggregationNotFound,
    TooManyAggregations,
)
from lockstep.custody.limits.schema import compile_aggregation, parse_aggregation
from lockstep.custody.limits.types import Metric
from lockstep.kit.ids import UserId, new_id

TOKEN = "0x" + "70" * 20


def document(**more: Any) -> dict[str, Any]:
    return {"name": "daily", "metric": NATIVE, "window": {"seconds": HOUR}, **more}


def condition(source: str = "ethereum_transaction", field: str = "value", **more: Any) -> dict[str, Any]:
    return {"field_source": source, "field": field, "operator": "lte", "value": "5", **more}


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"name": ""}, "name"),
        ({"method": "eth_coinbase"}, "method"),
        ({"window": {"seconds": HOUR - 1}}, "window.seconds"),
        ({"window": {"seconds": 72 * HOUR + 1}}, "window.seconds"),
        ({"window": {"seconds": True}}, "window.seconds"),
        ({"window": {"seconds": HOUR, "type": "fixed"}}, "window.type"),
        ({"metric": {"function": "max"}}, "metric.function"),
        ({"metric": {"function": "sum"}}, "metric.field"),
        ({"metric": {**NATIVE, "field": "gas_limit"}}, "metric.field"),
        ({"metric": {**NATIVE, "asset": "eip155:1/slip44:60"}}, "metric.asset"),
        ({"metric": {**COUNT, "field": "value"}}, "metric.field"),
        ({"metric": token_sum("eip155:1/erc721:" + TOKEN)}, "metric.asset"),
        ({"conditions": [condition(field="colour")]}, "conditions[0].field"),
        ({"conditions": [condition("reference", f"aggregation.{new_id()}")]}, "conditions[0].field_source"),
        ({"conditions": [condition(operator="in_condition_set", value=new_id())]}, "conditions[0].operator"),
        ({"conditions": [condition()] * 101}, "conditions"),
        ({"method": "personal_sign", "conditions": [condition()]}, "conditions[0].field_source"),
        ({"group_by": WALLET_GROUP * 2}, "group_by[1].field"),
        ({"group_by": [{"field_source": "system", "field": "current_unix_timestamp"}]}, "group_by[0].field"),
        ({"group_by": WALLET_GROUP * 3}, "group_by"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_parse_aggregation__what_does_not_hold__is_refused_with_its_path(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(AggregationInvalid) as refused:
        parse_aggregation(document(**changed))

    assert [fault.path for fault in refused.value.faults] == [path]


def test_parse_aggregation__several_faults__are_told_together() -> None:
    with pytest.raises(AggregationInvalid) as refused:
        parse_aggregation({"metric": {"function": "sum"}, "group_by": 5})

    assert [fault.path for fault in refused.value.faults] == ["name", "window", "metric.field", "group_by"]


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        (NATIVE, Metric("native")),
        (COUNT, Metric("count")),
        (token_sum("eip155:1/slip44:60"), Metric("native", "eip155:1")),
        (token_sum("eip155:1/erc20:" + TOKEN), Metric("token", "eip155:1", TOKEN)),
    ],
)
def test_compile_aggregation__of_what_was_parsed__gives_the_metric(metric: dict[str, str], wanted: Metric) -> None:
    full = parse_aggregation(document(metric=metric, group_by=WALLET_GROUP, conditions=[condition()]))

    compiled = compile_aggregation(full, "id", "app")

    assert (compiled.metric, compiled.window_seconds, compiled.method) == (wanted, HOUR, "*")
    assert (compiled.group_by, len(compiled.checks)) == (("system.wallet_id",), 1)


async def test_aggregations__of_an_app__are_at_most_ten(world: World) -> None:
    app = await world.app()
    service = aggregations(world)
    made = [await aggregation(world, app) for _ in range(10)]

    with pytest.raises(TooManyAggregations):
        await aggregation(world, app)
    await service.delete(app, made[0].id)
    newest = await aggregation(world, app)

    assert [one.id for one in await service.list_all(app)] == [*(one.id for one in made[1:]), newest.id]


async def test_aggregations__that_a_policy_names__are_deleted_only_after_it_has_changed(world: World) -> None:
    app = await world.app()
    service = aggregations(world)
    one = await aggregation(world, app, COUNT)
    wallet = await world.wallet(app, [at_most(one, 5)])
    await world.rpc(app, wallet, message())

    with pytest.raises(AggregationInUse) as refused:
        await service.delete(app, one.id)
    allow = {"name": "a", "method": "*", "action": "ALLOW", "conditions": [], "unconditional": True}
    plain = {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": [allow]}
    await world.custody.update_policy(app, wallet.policy_ids[0], plain)
    await service.delete(app, one.id)

    assert refused.value.fields["policy_id"] == wallet.policy_ids[0]
    with pytest.raises(AggregationNotFound):
        await service.get(app, one.id)
    with pytest.raises(AggregationNotFound):
        await service.delete(app, one.id)


async def test_aggregations__users_and_other_apps__see_and_change_only_what_is_theirs(world: World) -> None:
    app, other = await world.app("one"), await world.app("other")
    user = Principal(kind="user", app_id=app.app_id, user_id=UserId(new_id()))
    service = aggregations(world)
    one = await aggregation(world, app)

    assert await service.get(user, one.id) == one
    for refused in (service.create(user, document()), service.delete(user, one.id)):
        with pytest.raises(CallerNotAllowed):
            await refused
    for hidden in (service.get(other, one.id), service.delete(other, one.id)):
        with pytest.raises(AggregationNotFound):
            await hidden
    assert await service.list_all(other) == []


async def test_aggregations__made_and_deleted__stand_in_the_audit_log(world: World) -> None:
    app = await world.app()
    one = await aggregation(world, app)
    await aggregations(world).delete(app, one.id)

    rows = await world.rows(
        "select action from audit_entries where resource = %s order by seq", f"aggregation:{one.id}"
    )

    assert [row["action"] for row in rows] == ["aggregation.created", "aggregation.deleted"]
