"""What a user may follow on the stream: all of its wallets, however many, and nobody else's."""

from __future__ import annotations

from typing import Any

from tests.support.custody import World, build

from lockstep.app.topics import make_topics
from lockstep.custody import NewWallet
from lockstep.kit.database import Database


async def test_wallets__of_a_user_with_more_than_a_page__are_all_followed(database: Database) -> None:
    world: World = build(database)
    nobody: Any = None  # no other module is asked for wallets
    topics = make_topics(world.custody, nobody, nobody)
    app = await world.app()
    alice, bob = await world.user(app, "alice"), await world.user(app, "bob")
    own = [*(await world.custody.create_wallets(alice, [NewWallet()] * 100)), await world.custody.create_wallet(alice)]
    await world.custody.create_wallet(bob)
    await world.custody.set_archived(alice, own[7].id, True)

    _, narrowed = await topics.admit(topics.get("wallets"), alice, {})

    assert narrowed["id"] == {wallet.id for wallet in own}
