"""Two things at one moment: a fill that is opened while it is given up."""

import secrets
from collections.abc import AsyncIterator

import pytest
from tests.support.swap_stage import Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.auctions.schemas import PostFill
from lockstep.kit.database import Database
from lockstep.kit.processes import Advance, ProcessRow
from lockstep.settlement import SwapProcess
from lockstep.settlement.service import RESERVED_SECONDS

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def test_swap__source_opened_while_the_reservation_is_given_up__is_followed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    asked = PostFill(mode="external", taker=stage.taker)
    swap = await stage.auctions.fill_order(stage.external(stage.taker), order_hash, asked)
    await stage.work()
    await stage.pass_time(RESERVED_SECONDS)
    advance = SwapProcess.advance

    async def overtaken(self: SwapProcess, row: ProcessRow) -> Advance:
        decided = await advance(self, row)
        assert decided.state == "cancelled"
        monkeypatch.undo()
        await stage.create_source(order_hash)
        for follower in stage.followers:
            while await follower.follow_once():
                pass
        return decided

    monkeypatch.setattr(SwapProcess, "advance", overtaken)
    await stage.work()
    # Cancelled it would be over: nobody could release the secret, and nobody would refund the maker in public.
    await stage.until(swap.id, "source_locked", seconds=0)
