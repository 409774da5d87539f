"""Denied callers that try to keep others waiting."""

import asyncio

import pytest
from tests.support.custody import BOB, CHAIN, World, build

from lockstep.custody import PolicyDenied, Principal, TransactionIntent, Wallet
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import new_id

RULES = [
    {
        "id": "only-bob",
        "name": "only bob",
        "method": "eth_sendTransaction",
        "action": "ALLOW",
        "conditions": [
            {"field_source": "ethereum_transaction", "field": "to", "operator": "eq", "value": BOB},
        ],
    }
]


def elsewhere(wallet: Wallet) -> TransactionIntent:
    return TransactionIntent(
        app_id=wallet.app_id,
        wallet_id=wallet.id,
        chain=CHAIN,
        from_address=wallet.address,
        to="0x" + "77" * 20,
        value=1,
        data=b"",
        idempotency_key=new_id(),
    )


async def ask(world: World, app: Principal, wallet: Wallet, both: asyncio.Barrier) -> object:
    """Have something decided while everybody else has a transaction open, too."""
    try:
        async with world.database.tenant(app.tenant) as uow:
            await both.wait()
            return await world.custody.decide_transaction(uow, app, wallet, elsewhere(wallet))
    except LockstepError as error:
        return error


async def test_denials__more_at_once_than_connections__are_answered_and_all_recorded(dsn: str) -> None:
    small = Database(dsn, name="small", max_size=2, acquire_seconds=2)
    await small.open()
    try:
        world = build(small)
        app = await world.app()
        wallet = await world.wallet(app, RULES)
        both = asyncio.Barrier(2)
        answers = await asyncio.gather(*(ask(world, app, wallet, both) for _ in range(2)))
        assert [type(answer) for answer in answers] == [PolicyDenied, PolicyDenied]
        rows = await world.rows("select allowed from signing_decisions")
        entries = await world.rows("select 1 from audit_entries where action = 'signature.denied'")
        assert ([row["allowed"] for row in rows], len(entries)) == ([False, False], 2)
    finally:
        await small.close()


async def test_denial__caller_goes_on_with_its_transaction__is_recorded_once(database: Database) -> None:
    world = build(database)
    app = await world.app()
    wallet = await world.wallet(app, RULES)
    async with database.tenant(app.tenant) as uow:
        with pytest.raises(PolicyDenied):
            await world.custody.decide_transaction(uow, app, wallet, elsewhere(wallet))
    assert len(await world.rows("select 1 from signing_decisions")) == 1
