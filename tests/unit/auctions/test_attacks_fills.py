"""Takers that hold up the book for nothing, and sessions that have more done than they may sign."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.custody import CHAIN, START, World, build
from tests.support.swap_stage import Refused, Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.app.wiring import BookWallets
from lockstep.auctions.schemas import PostFill
from lockstep.chains.evm import Address, ChainConfig, ChainRegistry
from lockstep.custody import Principal, SessionTerms, SigningDenied
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.ids import new_id
from lockstep.settlement import Call, FillTaken
from lockstep.transactions import TransactionSender

LATER = START + timedelta(days=1)


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


@pytest.mark.chain
async def test_fill__reserved_by_an_outsider_for_nothing__does_not_keep_a_managed_taker_out(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    outsiders = [Address("0x" + byte * 20) for byte in ("71", "72")]
    reserved = await stage.auctions.fill_order(
        stage.external(outsiders[0]), order_hash, PostFill(mode="external", taker=outsiders[0])
    )
    with pytest.raises(FillTaken):
        await stage.auctions.fill_order(
            stage.external(outsiders[1]), order_hash, PostFill(mode="external", taker=outsiders[1])
        )
    taken = await stage.take_managed(order_hash)
    await stage.until(taken.id, "source_locked", seconds=0)
    await stage.until(reserved.id, "cancelled")
    assert (await stage.auctions.get_order(order_hash)).state == "filled"


@pytest.mark.chain
async def test_fill__managed_taker_that_cannot_pay_its_gas__holds_the_order_for_a_minute_only(stage: Stage) -> None:
    taken = await stage.take_managed(await stage.offer(secrets.token_bytes(32)))
    await stage.until(taken.id, "source_locking", "source_locked", seconds=0)
    deadline = stage.engine.deadlines[f"swap:{taken.id}:source_lock:0"]
    assert deadline is not None
    assert deadline <= SystemClock().now() + timedelta(seconds=61)


@pytest.mark.chain
async def test_fill__session_that_may_not_open_the_source_itself__is_refused(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    taker = stage.wallets[1]
    asked = PostFill(mode="managed", wallet_id=taker.id)
    caller = Principal(kind="session", app_id=stage.app_id, wallet_id=taker.id, session_id=new_id())
    stage.narrow_sessions.add(str(caller.session_id))
    with pytest.raises(Refused):
        await stage.auctions.fill_order(caller, order_hash, asked)
    async with stage.database.system("test") as uow:
        assert await uow.fetch("select 1 from swaps") == []
    wider = Principal(kind="session", app_id=stage.app_id, wallet_id=taker.id, session_id=new_id())
    await stage.auctions.fill_order(wider, order_hash, asked)


async def test_wallets__call_beyond_the_callers_session__is_denied_and_recorded(database: Database) -> None:
    world: World = build(database)
    app = await world.app()
    wallet = await world.wallet(app)
    config = ChainConfig(
        chain=CHAIN,
        chain_id=31337,
        name="One",
        rpc_urls=["http://127.0.0.1:1"],
        finality_blocks=2,
        block_seconds=1.0,
        max_fee_per_gas=10**11,
    )
    wallets = BookWallets(world.custody, TransactionSender(ChainRegistry([config]), world.clock))
    call = Call(chain=CHAIN, to=Address("0x" + "71" * 20), value=5, data=b"\x01\x02\x03\x04")
    narrow = await world.session(app, wallet, SessionTerms(expires_at=LATER, allowed_methods=["personal_sign"]))
    terms = SessionTerms(expires_at=LATER, allowed_methods=["eth_sendTransaction"], max_value_per_transaction=5)
    wide = await world.session(app, wallet, terms)
    with pytest.raises(SigningDenied):
        async with world.database.system("test") as uow:
            await wallets.check_allowed(uow, narrow, wallet.id, call)
    async with world.database.system("test") as uow:
        await wallets.check_allowed(uow, wide, wallet.id, call)
    decisions = await world.rows("select allowed from signing_decisions order by decided_at, id")
    assert [row["allowed"] for row in decisions] == [False, True]
