"""What the engine offers for gas, on a real node: speeds, ceilings, chains without EIP-1559, chains without an auction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.support.custody import build, send
from tests.support.evm import address, config
from tests.support.transactions import APP, WALLET, Desk, evm_engine

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import GAS_PRICE_ORACLE, ChainRegistry, DataFee, FeeStyle, NodeError, Speed, decode_signed
from lockstep.custody import PolicyDenied, TransactionIntent
from lockstep.kit.database import Database
from lockstep.transactions import State, TransactionSender
from lockstep.transactions.store import attempts

pytestmark = pytest.mark.chain

OpenDesk = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def open_desk(database: Database, anvil: Anvil) -> AsyncIterator[OpenDesk]:
    """A desk on a chain with these settings."""
    opened: list[ChainRegistry] = []

    async def open_(**changes: object) -> Desk:
        opened.append(ChainRegistry([config(anvil, block_seconds=0.2, **changes)]))
        return Desk(database, opened[-1])

    yield open_
    for chains in opened:
        await chains.close()


async def set_base_fee(desk: Desk, wei: int) -> None:
    """Mine a block, so that the next one has this base fee; the one after may differ."""
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(wei)])


async def let_blocks_pass(desk: Desk, count: int, base_fee: int) -> None:
    """Blocks whose base fee is too high for what waits."""
    for _ in range(count):
        await set_base_fee(desk, base_fee)
        await desk.mine()


async def test_speed__slow_standard_fast__covers_more_of_the_base_fee(open_desk: OpenDesk) -> None:
    desk = await open_desk(min_priority_fee_per_gas=7)
    await desk.client.call("evm_setAutomine", [False])
    sent = [await desk.submit(speed=speed, index=index) for index, speed in enumerate(Speed)]
    await desk.engine.step()
    base = (await desk.client.fee_history()).next_base_fee
    caps = [(await desk.get(t.id)).max_fee_per_gas for t in sent]
    assert caps == [-(-base * 5 // 4) + 7, 2 * base + 7, 2 * base + 7]
    assert [(await desk.get(t.id)).speed for t in sent] == list(Speed)


async def test_legacy__transfer__one_gas_price_from_queue_to_final(open_desk: OpenDesk) -> None:
    desk = await open_desk(fee_style=FeeStyle.LEGACY)
    queued = await desk.submit(type=0, value=9)
    await desk.run_until(queued.id, State.MINED)
    await desk.mine(2)
    final = await desk.run_until(queued.id, State.FINAL)
    assert final.max_fee_per_gas == final.max_priority_fee_per_gas == final.effective_gas_price
    assert final.hash is not None
    on_chain = await desk.client.find_transaction(final.hash)
    assert on_chain is not None
    assert (on_chain["type"], int(on_chain["gasPrice"], 16)) == ("0x0", final.max_fee_per_gas)
    async with desk.database.system("test") as uow:
        (attempt,) = (await attempts.list_attempts(uow, [final.id]))[final.id]
    assert attempt.raw is not None
    read = decode_signed(attempt.raw)
    assert (read.transaction.type, read.sender, read.hash) == (0, address(0), final.hash)
    assert await desk.client.balance(address(5), await desk.client.head()) == 10**22 + 9


async def test_legacy__unmined_for_long__replaced_at_a_tenth_more(open_desk: OpenDesk) -> None:
    desk = await open_desk(fee_style=FeeStyle.LEGACY)
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit(type=0, speed=Speed.SLOW)
    first = await desk.run_until(queued.id, State.BROADCAST)
    price = first.max_fee_per_gas or 0
    await let_blocks_pass(desk, desk.settings.replace_after_blocks, 2 * price)
    async with asyncio.timeout(15):
        while (await desk.get(queued.id)).attempt < 2:
            await desk.engine.step()
    replaced = await desk.run_until(queued.id, State.BROADCAST)
    assert (replaced.max_fee_per_gas or 0) * 100 >= price * 110
    assert replaced.max_fee_per_gas == replaced.max_priority_fee_per_gas
    await set_base_fee(desk, price)
    await desk.mine()
    assert (await desk.run_until(queued.id, State.MINED)).succeeded


async def test_legacy__price_above_the_ceiling__waits_with_the_reason_and_then_goes(open_desk: OpenDesk) -> None:
    desk = await open_desk(fee_style=FeeStyle.LEGACY)
    asked = (await desk.client.fee_market()).least_fee
    queued = await desk.submit(type=0, max_fee_per_gas=asked - 1)
    await desk.engine.step()
    waiting = await desk.get(queued.id)
    assert (waiting.state, waiting.nonce) == (State.QUEUED, None)
    assert "gas price" in (waiting.reason or "")
    await set_base_fee(desk, 10**8)
    await desk.mine()
    assert ((await desk.run_until(queued.id, State.MINED)).max_fee_per_gas or asked) < asked


async def test_legacy__through_custody__policy_sees_type_0_and_the_signer_signs_it(
    database: Database, anvil: Anvil
) -> None:
    world = build(database)
    chains = ChainRegistry([config(anvil, fee_style=FeeStyle.LEGACY)])
    (client,) = chains
    sender = TransactionSender(chains, world.clock)
    world.custody.connect(sender, sender)
    engine = evm_engine(database, chains, world.custody, world.clock)
    app = await world.app()

    def only_type(number: int) -> list[dict[str, object]]:
        condition = {"field_source": "ethereum_transaction", "field": "type", "operator": "eq", "value": str(number)}
        return [{"name": "type", "method": "*", "action": "ALLOW", "conditions": [condition]}]

    wallet = await world.wallet(app, only_type(0))
    other = await world.wallet(app, only_type(2))
    await client.call("anvil_setBalance", [wallet.address, hex(10**18)])
    shown = await world.custody.preview(app, wallet.id, send())
    assert shown.quote is not None
    assert shown.quote.max_fee_per_gas == shown.quote.max_priority_fee_per_gas
    answer = await world.rpc(app, wallet, send(preview_digest=shown.digest))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, other, send())
    async with asyncio.timeout(15):
        while True:
            await engine.step()
            (row,) = await world.rows(
                "select state, type, hash from transactions where id = %s", answer["data"]["transaction_id"]
            )
            if row["state"] == "mined":
                break
    on_chain = await client.find_transaction(bytes(row["hash"]))
    assert on_chain is not None
    assert (on_chain["type"], on_chain["from"]) == ("0x0", wallet.address)
    await chains.close()


async def test_tip_ceiling__below_what_pools_take__waits_without_a_nonce_and_holds_up_nobody(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(min_priority_fee_per_gas=25 * 10**9)
    low = await desk.submit(max_priority_fee_per_gas=24 * 10**9)
    good = await desk.submit(max_priority_fee_per_gas=25 * 10**9)
    assert (await desk.run_until(good.id, State.MINED, State.FINAL)).max_priority_fee_per_gas == 25 * 10**9
    waiting = await desk.get(low.id)
    assert (waiting.state, waiting.nonce) == (State.QUEUED, None)
    assert "least tip is 25000000000 wei" in (waiting.reason or "")


async def place_fee_oracle(desk: Desk, wei_per_byte: int) -> None:
    """Stand for the OP stack's fee oracle: a contract that answers with a fee for each byte of its calldata."""
    code = f"3663{wei_per_byte:08x}0260005260206000f3"
    await desk.client.call("anvil_setCode", [GAS_PRICE_ORACLE, "0x" + code])


async def test_data_fee__op_stack__kept_back_before_signing_and_shown(open_desk: OpenDesk) -> None:
    desk = await open_desk(data_fee=DataFee.OP_STACK)
    await place_fee_oracle(desk, 10**9)
    head = await desk.client.head()
    await desk.client.call("evm_setAutomine", [False])
    quote = await desk.sender.quote(intent())
    # selector, offset, length and the payload in words of 32 bytes; half more is kept back
    assert quote.data_fee in [3 * 10**9 * size // 2 for size in (4 + 64 + 32, 4 + 64 + 64)]
    assert quote.max_fee == quote.gas_limit * quote.max_fee_per_gas + quote.data_fee
    gas_costs = quote.gas_limit * quote.max_fee_per_gas
    await desk.client.call("anvil_setBalance", [address(0), hex(1 + gas_costs + quote.data_fee - 1)])
    queued = await desk.submit()
    await desk.engine.step()
    waiting = await desk.get(queued.id)
    assert (waiting.state, waiting.nonce) == (State.QUEUED, None)
    assert "insufficient funds" in (waiting.reason or "")
    assert (await desk.sender.quote(intent())).simulation["insufficient_funds"]
    await desk.client.call("anvil_setBalance", [address(0), hex(2 * (1 + gas_costs + quote.data_fee) - 1)])
    await desk.run_until(queued.id, State.BROADCAST)
    assert (await desk.get(queued.id)).data_fee == quote.data_fee
    second = await desk.submit()
    await desk.engine.step()
    assert (await desk.get(second.id)).state is State.QUEUED  # what is in flight counts with its data fee
    assert head == await desk.client.head()


async def test_data_fee__chain_that_is_not_of_the_op_stack__waits_for_the_operator(open_desk: OpenDesk) -> None:
    desk = await open_desk(data_fee=DataFee.OP_STACK)
    queued = await desk.submit()
    with pytest.raises(NodeError, match="profile"):
        await desk.engine.step()
    assert (await desk.get(queued.id)).state is State.QUEUED


def intent(**changes: object) -> TransactionIntent:
    fields: dict = {
        "app_id": APP,
        "wallet_id": WALLET,
        "chain": "eip155:31337",
        "from_address": address(0),
        "to": address(5),
        "value": 1,
        "data": b"",
        "idempotency_key": "q",
    }
    return TransactionIntent(**(fields | changes))


async def test_ceiling__offer_above_it__room_is_left_and_used_for_one_replacement(open_desk: OpenDesk) -> None:
    desk = await open_desk()
    await desk.client.call("evm_setAutomine", [False])
    base = (await desk.client.fee_history()).next_base_fee
    ceiling = 3 * base // 2
    queued = await desk.submit(max_fee_per_gas=ceiling)
    first = await desk.run_until(queued.id, State.BROADCAST)
    assert first.max_fee_per_gas == ceiling * 8 // 9
    await let_blocks_pass(desk, desk.settings.replace_after_blocks, 2 * ceiling)
    async with asyncio.timeout(15):
        while (await desk.get(queued.id)).attempt < 2:
            await desk.engine.step()
    async with asyncio.timeout(15):  # at its ceiling it waits and says so; the account goes on when the fee falls
        while "waits for a lower one" not in ((await desk.get(queued.id)).reason or ""):
            await let_blocks_pass(desk, 1, 2 * ceiling)
            await desk.engine.step()
    replaced = await desk.get(queued.id)
    assert (replaced.max_fee_per_gas or 0) * 100 >= (first.max_fee_per_gas or 0) * 110
    assert (replaced.max_fee_per_gas or 0) <= ceiling
    await set_base_fee(desk, base)
    await desk.mine()
    await desk.run_until(queued.id, State.BROADCAST)
    await desk.mine()
    assert (await desk.run_until(queued.id, State.MINED)).succeeded


async def test_sequencer__unmined_although_it_pays__sent_again_and_made_dearer_only_below_the_base_fee(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(has_fee_auction=False)
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit()
    first = await desk.run_until(queued.id, State.BROADCAST)
    assert first.hash is not None
    await desk.client.call("anvil_dropTransaction", ["0x" + first.hash.hex()])
    await desk.mine(desk.settings.replace_after_blocks + 1)
    async with asyncio.timeout(15):
        while await desk.client.find_transaction(first.hash) is None:
            await desk.engine.step()
    assert (await desk.get(queued.id)).attempt == 1
    await let_blocks_pass(desk, 2, 2 * (first.max_fee_per_gas or 0))
    await set_base_fee(desk, 2 * (first.max_fee_per_gas or 0))
    async with asyncio.timeout(15):
        while (await desk.get(queued.id)).attempt < 2:
            await desk.engine.step()
    async with desk.database.tenant(APP) as uow:
        assert len(await attempts.list_hashes(uow, APP, queued.id)) <= 2
