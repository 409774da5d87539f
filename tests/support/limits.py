"""Limits for tests of custody: aggregations, and rules that bound them."""

from __future__ import annotations

import secrets
from typing import Any

from tests.support.custody import World

from lockstep.custody import (
    AggregationService,
    CustodyService,
    IdempotencyStore,
    Principal,
    RequestBox,
    ResponseBox,
    Wallet,
    WordFacts,
)
from lockstep.custody.limits import Aggregation
from lockstep.kit.database import Database

HOUR = 3_600
ETHER = 10**18
NATIVE = {"function": "sum", "field_source": "ethereum_transaction", "field": "value"}
COUNT = {"function": "count"}
WALLET_GROUP = [{"field_source": "system", "field": "wallet_id"}]


def token_sum(asset: str) -> dict[str, str]:
    return {"function": "sum", "field_source": "movement", "field": "amount", "asset": asset}


def aggregations(world: World) -> AggregationService:
    return AggregationService(world.database, world.audit, world.seals, world.clock)


async def aggregation(
    world: World, app: Principal, metric: dict[str, str] | None = None, seconds: int = HOUR, **more: Any
) -> Aggregation:
    """What an app has counted."""
    document = {"name": "daily", "metric": metric or NATIVE, "window": {"seconds": seconds}, **more}
    return await aggregations(world).create(app, document)


def at_most(one: Aggregation, limit: int, method: str = "*", **more: Any) -> dict[str, Any]:
    """A rule that allows everything of a method up to a sum."""
    condition = {"field_source": "reference", "field": one.reference, "operator": "lte", "value": str(limit)}
    return {"name": f"up to {limit}"[:50], "method": method, "action": "ALLOW", "conditions": [condition], **more}


async def limited_wallet(world: World, app: Principal, limit: int, **more: Any) -> tuple[Wallet, Aggregation]:
    """A wallet that may move so much native coin within an hour, in any way."""
    one = await aggregation(world, app, **more)
    return await world.wallet(app, [at_most(one, limit)]), one


def another_process(world: World, database: Database) -> CustodyService:
    """A second custody service on the same database and signer, with a pool and a memory of its own."""
    custody = CustodyService(
        database=database,
        executor=world.executor,  # type: ignore[arg-type]  # counts for the real one
        issuer=world.custody._issuer,
        audit=world.audit,
        authenticator=world.authenticator,
        seals=world.seals,
        requests=RequestBox(secrets.token_bytes(32)),
        idempotency=IdempotencyStore(ResponseBox(secrets.token_bytes(32)), world.clock),
        clock=world.clock,
        word_facts=WordFacts(),
    )
    custody.connect(world.engine, world.engine)
    return custody


async def standing(world: World) -> list[tuple[int, str]]:
    """Amounts and states of all uses, in the order in which they were written."""
    rows = await world.rows("select amount, state from limit_uses order by used_at, decision_id, counter_id")
    return [(int(row["amount"]), row["state"]) for row in rows]


async def counted(world: World) -> list[int]:
    """Sums of all counters."""
    return [int(row["total"]) for row in await world.rows("select total from limit_counters order by id")]
