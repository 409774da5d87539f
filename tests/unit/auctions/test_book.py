"""The book on a real database and a real chain: what is refused, kept, told, cancelled and expires."""

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.swap_stage import AMOUNT, PRICE, Stage

from lockstep.app.devnet.anvil import Anvil
from lockstep.auctions import BookKeeper, PriceClock, errors
from lockstep.auctions.schemas import PostFill, PostOrder
from lockstep.auctions.store import OrderFilter
from lockstep.chains.evm import (
    ORDER,
    Address,
    BadSignature,
    BlockRef,
    CallReverted,
    NodeError,
    UnknownChain,
    abi_encode_call,
)
from lockstep.custody import Principal
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database
from lockstep.kit.errors import Refuse
from lockstep.kit.ids import AppId, UserId, new_id
from lockstep.settlement import Call, TimeLocksUnfit

pytestmark = pytest.mark.chain


@pytest.fixture
async def stage(database: Database, anvil_pair: tuple[Anvil, Anvil]) -> AsyncIterator[Stage]:
    stage = await Stage.build(database, anvil_pair)
    yield stage
    await stage.chains.close()


async def count_rows(stage: Stage) -> int:
    async with stage.database.system("test") as uow:
        row = await uow.get(
            "select (select count(*) from orders) + (select count(*) from order_owners) + (select count(*) from outbox)"
            " + (select count(*) from swaps) as n"
        )
    return int(row["n"])


async def approve(stage: Stage, amount: int) -> None:
    data = abi_encode_call("approve(address,uint256)", [stage.source.factory, amount])
    call = Call(chain=stage.source.chain, to=stage.source.token.address, value=0, data=data)
    await stage.send(stage.source.chain, stage.maker, call)


def malleate(signature: str) -> str:
    raw = bytes.fromhex(signature[2:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - raw[64]])).hex()


async def test_post__the_same_order_twice__is_one_order_with_one_event(stage: Stage) -> None:
    posted = await stage.signed(await stage.document(secrets.token_bytes(32)))
    first, is_new = await stage.auctions.post_order(stage.app, posted)
    again, is_new_again = await stage.auctions.post_order(stage.app, posted)
    assert (is_new, is_new_again) == (True, False)
    assert first.signed.hash == again.signed.hash
    assert (first.state, first.validity, first.remaining) == ("open", "ok", AMOUNT)
    async with stage.database.system("test") as uow:
        events = await uow.fetch("select type, app_id, object_id from outbox")
    assert [(e["type"], e["app_id"]) for e in events] == [("order_created", None)]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"signature": "malleated"}, BadSignature),
        ({"signature": "0x" + "11" * 64}, BadSignature),
        ({"signature": "0x"}, BadSignature),
        ({"signature": "of another order"}, errors.OrderSignatureInvalid),
        ({"signature_kind": "eip1271"}, errors.OrderSignatureInvalid),
        ({"source_chain": "eip155:1"}, UnknownChain),
        ({"source_factory": "0x" + "11" * 20}, errors.FactoryUnknown),
        ({"permit": "0x11"}, errors.PermitInvalid),
        ({"order__expiry": 1}, errors.OrderTimesInvalid),
        ({"order__timeLocks": "short"}, TimeLocksUnfit),
        ({"order__hashlockInfo": "0x" + "00" * 32}, errors.HashlockInvalid),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value.code,
)
async def test_post__fault__is_refused_and_nothing_is_written(
    stage: Stage, changes: dict[str, Any], error: type[Refuse]
) -> None:
    document = await stage.document(secrets.token_bytes(32))
    posted = await stage.signed(document)
    raw: dict[str, Any] = {
        "source_chain": posted.source_chain,
        "source_factory": posted.source_factory,
        "order": document,
        "signature": posted.signature,
    }
    for name, value in changes.items():
        if value == "malleated":
            value = malleate(posted.signature)
        elif value == "of another order":
            value = (await stage.signed(await stage.document(secrets.token_bytes(32)))).signature
        elif value == "short":
            value = {**document["timeLocks"], "sourceCancellation": 71}
        if name.startswith("order__"):
            raw["order"] = {**raw["order"], name.removeprefix("order__"): value}
        else:
            raw[name] = value
    with pytest.raises(error):
        await stage.auctions.post_order(stage.app, PostOrder.model_validate(raw))
    assert await count_rows(stage) == 0


async def test_post__hashlock_or_nonce_again__is_refused(stage: Stage) -> None:
    secret = secrets.token_bytes(32)
    await stage.offer(secret, nonce="7")
    before = await count_rows(stage)
    with pytest.raises(errors.HashlockUsed):
        await stage.offer(secret)
    with pytest.raises(errors.NonceUsed):
        await stage.offer(secrets.token_bytes(32), nonce="7")
    await stage.invalidate_nonce(8)
    with pytest.raises(errors.NonceUsed):
        await stage.offer(secrets.token_bytes(32), nonce="8")
    assert await count_rows(stage) == before


async def test_post__somebody_elses_order__is_refused(stage: Stage) -> None:
    posted = await stage.signed(await stage.document(secrets.token_bytes(32)))
    for principal in (
        stage.external(stage.taker),
        Principal(kind="user", app_id=stage.app_id, user_id=UserId(new_id())),
        Principal(kind="user", app_id=AppId(new_id()), user_id=stage.wallets[0].owner_user_id),
    ):
        with pytest.raises(errors.NotTheMaker):
            await stage.auctions.post_order(principal, posted)
    assert await count_rows(stage) == 0
    await stage.auctions.post_order(stage.external(stage.maker), posted)


async def test_validity__allowance_and_balance__are_kept_with_the_order_and_come_back(stage: Stage) -> None:
    await approve(stage, AMOUNT - 1)
    order_hash = await stage.offer(secrets.token_bytes(32))
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.validity) == ("open", "allowance_low")
    with pytest.raises(errors.OrderNotFillable):
        await stage.take_managed(order_hash)
    poor = await stage.offer(secrets.token_bytes(32), sourceAmount=str(11 * AMOUNT))
    assert (await stage.auctions.get_order(poor)).validity == "balance_low"

    await approve(stage, AMOUNT)
    keeper = BookKeeper(stage.database, _Later(), stage.chains, stage.book)
    await keeper.look_once()
    assert (await stage.auctions.get_order(order_hash)).validity == "ok"
    assert (await stage.auctions.get_order(poor)).validity == "balance_low"
    await stage.take_managed(order_hash)


async def test_fill__taker_without_allowance__is_refused_before_the_maker_is_bound(stage: Stage) -> None:
    order_hash = await stage.offer(
        secrets.token_bytes(32),
        price={"startTime": 1, "duration": 1, "endAmount": str(11 * PRICE), "initialRateBump": 0, "points": []},
    )
    with pytest.raises(errors.TakerFundsLow):
        await stage.take_managed(order_hash)
    other = Address("0x" + "77" * 20)
    named = await stage.offer(secrets.token_bytes(32), allowedTakers=[other])
    with pytest.raises(errors.TakerNotAllowed):
        await stage.take_managed(named)
    with pytest.raises(errors.NotTheTaker):
        await stage.auctions.fill_order(stage.external(stage.taker), named, PostFill(mode="external", taker=other))
    async with stage.database.system("test") as uow:
        assert await uow.fetch("select 1 from swaps") == []


async def test_cancel__by_the_maker__is_cancelled_once_final(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    with pytest.raises(errors.NotTheMaker):
        await stage.auctions.cancel_order(stage.external(stage.taker), order_hash)
    asked = await stage.auctions.cancel_order(stage.app, order_hash)
    assert (asked.state, asked.cancel_requested_at is not None) == ("open", True)
    assert (await stage.auctions.cancel_order(stage.app, order_hash)).version == asked.version
    with pytest.raises(errors.OrderNotOpen):
        await stage.take_managed(order_hash)
    await stage.work()
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.validity) == ("open", "nonce_used")
    await stage.pass_time(1, blocks=4)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "cancelled"


async def test_cancel__reorganised_away__is_open_again(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32), nonce="9")
    node = stage.nodes[stage.source.chain]
    before = await node.call("evm_snapshot")
    await stage.invalidate_nonce(9)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).validity == "nonce_used"
    await node.call("evm_revert", before)
    for _ in range(6):
        await node.call("evm_mine")
    await stage.work()
    await BookKeeper(stage.database, _Later(), stage.chains, stage.book).look_once()
    order = await stage.auctions.get_order(order_hash)
    assert (order.state, order.validity) == ("open", "ok")


async def test_cancel__comes_first_on_the_branch_that_replaces_a_fill__is_cancelled(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32), nonce="10")
    node = stage.nodes[stage.source.chain]
    before = await node.call("evm_snapshot")
    await stage.create_source(order_hash)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "filled"
    await node.call("evm_revert", before)
    await stage.invalidate_nonce(10)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "open"
    await stage.pass_time(1, blocks=4)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "cancelled"


async def test_validity__token_that_a_node_cannot_run__does_not_hide_the_other_orders(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Address("0x" + "66" * 20)
    await stage.offer(secrets.token_bytes(32), sourceToken=poison)
    order_hash = await stage.offer(secrets.token_bytes(32))
    client = stage.chains.get(stage.source.chain)
    calls = client.calls

    async def refuse(asked: Sequence[tuple[Address, bytes]], block: BlockRef) -> list[bytes | CallReverted]:
        if any(to == poison for to, _ in asked):
            raise NodeError("return data out of bounds")  # as geth says it, without the word revert
        return await calls(asked, block)

    monkeypatch.setattr(client, "calls", refuse)
    await approve(stage, 0)
    await BookKeeper(stage.database, _Later(), stage.chains, stage.book).look_once()
    assert (await stage.auctions.get_order(order_hash)).validity == "allowance_low"


async def test_time__scheduled_then_open_then_expired__by_the_chain(stage: Stage) -> None:
    head = await stage.chains.get(stage.source.chain).head()
    price = {
        "startTime": head.timestamp + 100,
        "duration": 60,
        "endAmount": str(PRICE),
        "initialRateBump": 0,
        "points": [],
    }
    order_hash = await stage.offer(secrets.token_bytes(32), price=price, expiry=head.timestamp + 200)
    assert (await stage.auctions.get_order(order_hash)).state == "scheduled"
    with pytest.raises(errors.AuctionNotStarted):
        await stage.take_managed(order_hash)
    await stage.pass_time(110)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "open"
    await stage.pass_time(110)
    await stage.work()
    assert (await stage.auctions.get_order(order_hash)).state == "expired"
    with pytest.raises(errors.OrderNotOpen):
        await stage.take_managed(order_hash)


async def test_price_clock__new_head__tells_each_open_order_once(stage: Stage) -> None:
    order_hash = await stage.offer(secrets.token_bytes(32))
    clock = PriceClock(stage.database, SystemClock(), stage.chains)
    first = await clock.tick()
    assert [update.order_hash for update in first] == ["0x" + order_hash.hex()]
    assert await clock.tick() == []
    await stage.pass_time(20)
    (second,) = await clock.tick()
    assert int(second.data["destination_amount"]) < int(first[0].data["destination_amount"])
    price = await stage.auctions.get_price(order_hash, None)
    assert str(price.destination_amount) == second.data["destination_amount"]
    on_chain = await stage.chains.get(stage.source.chain).head()
    assert second.data["as_of"]["timestamp"] == on_chain.timestamp


async def test_list__filters_and_pages__newest_first(stage: Stage) -> None:
    hashes = [await stage.offer(secrets.token_bytes(32)) for _ in range(3)]
    maker = bytes.fromhex(stage.maker[2:])
    page = await stage.auctions.list_orders(OrderFilter(maker=maker, state="open"), None, 2)
    rest = await stage.auctions.list_orders(OrderFilter(maker=maker, state="open"), page.next_cursor, 2)
    assert [order.signed.hash for order in [*page.items, *rest.items]] == hashes[::-1]
    assert (await stage.auctions.list_orders(OrderFilter(maker=bytes(20)), None, 2)).items == []


class _Later(SystemClock):
    """A clock far enough ahead that every order is due for a look."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=1)
