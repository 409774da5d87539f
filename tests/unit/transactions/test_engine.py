"""The engine on a real node and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from tests.support.evm import address, code_that_reverts, config, deploy, send
from tests.support.transactions import APP, WALLET, Desk

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, Contract, Fees, NodeUnavailable, abi_encode, to_checksum
from lockstep.custody import TransactionIntent
from lockstep.kit import outbox
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry, Stop
from lockstep.transactions import (
    DoubleSignPrevented,
    EngineSettings,
    IdempotencyKeyReused,
    NonceTaken,
    State,
    TransactionsService,
)
from lockstep.transactions.evm import nonces
from lockstep.transactions.store import rows

TOKEN = Contract.load("DemoToken")
pytestmark = pytest.mark.chain


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Desk(database, chains)
    await chains.close()


@pytest.mark.parametrize("succeeds", [True, False])
async def test_finality__by_tag__success_and_failure_wait_until_the_node_calls_their_block_final(
    database: Database, anvil: Anvil, succeeds: bool
) -> None:
    chains = ChainRegistry([config(anvil, finality_blocks=0, finality_tag="finalized", block_seconds=0.2)])
    desk = Desk(database, chains)
    queued = await desk.submit() if succeeds else await desk.send_doomed(code_that_reverts("no"))
    mined = await desk.run_until(queued.id, State.MINED)
    assert mined.block_number == 1
    while (await desk.client.block("finalized")).number < mined.block_number:
        assert (await desk.get(queued.id)).state is State.MINED
        await desk.mine()
        await desk.engine.step()
    final = await desk.run_until(queued.id, State.FINAL, State.REVERTED_FINAL)
    assert final.state is (State.FINAL if succeeds else State.REVERTED_FINAL)
    await chains.close()


async def test_transfer__node_mines__final_after_confirmations_with_timeline_and_events(desk: Desk) -> None:
    queued = await desk.submit(value=7)
    mined = await desk.run_until(queued.id, State.MINED)
    assert mined.nonce == 0
    assert mined.succeeded
    await desk.mine(1)
    await desk.engine.step()
    assert (await desk.get(queued.id)).state is State.MINED  # one confirmation of two
    await desk.mine(1)
    final = await desk.run_until(queued.id, State.FINAL)
    assert final.due_at is None
    assert final.gas_used == 21_000
    assert final.fee_paid == 21_000 * (final.effective_gas_price or 0)
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 7
    expected = [State.QUEUED, State.RESERVED, State.SIGNED, State.BROADCAST, State.MINED, State.FINAL]
    assert await desk.states(queued.id) == expected
    await outbox.publish_batch(desk.database)
    async with desk.database.tenant(APP) as uow:
        events = await outbox.read_topic(uow, "transactions", APP, 0)
    assert [event.data["state"] for event in events] == [state.value for state in expected]
    assert [event.version for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1].data["to"] == to_checksum(address(5))


async def test_many__one_account__each_once_in_order(desk: Desk) -> None:
    submitted = [await desk.submit(value=index + 1) for index in range(30)]
    for transaction in submitted:
        await desk.run_until(transaction.id, State.MINED, State.FINAL)
    await desk.mine(2)
    finals = [await desk.run_until(transaction.id, State.FINAL) for transaction in submitted]
    assert [final.nonce for final in finals] == list(range(30))
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + sum(range(1, 31))
    assert len(desk.keys.signed) == 30


async def test_submit__same_key__same_row_and_other_content_refused(desk: Desk) -> None:
    first = await desk.submit("pay-1")
    assert (await desk.submit("pay-1")).id == first.id
    with pytest.raises(IdempotencyKeyReused):
        await desk.submit("pay-1", value=2)


async def test_revert__mined__reverted_final_with_the_reason_decoded(desk: Desk) -> None:
    queued = await desk.send_doomed(code_that_reverts("no"))
    await desk.run_until(queued.id, State.MINED)
    await desk.mine(2)
    final = await desk.run_until(queued.id, State.REVERTED_FINAL)
    assert final.succeeded is False
    assert final.reason == final.revert_reason == "no"


async def test_revert__replay_that_would_run_for_long__costs_no_more_than_the_transaction(desk: Desk) -> None:
    sent = await desk.send_doomed(code_that_reverts("no", loops_above=1_000_000))
    assert (await desk.run_until(sent.id, State.MINED)).revert_reason == "no"


async def test_revert__replay_that_no_node_answers__mined_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> bytes:
        raise NodeUnavailable

    monkeypatch.setattr(desk.client, "eth_call", away)
    sent = await desk.send_doomed(code_that_reverts("no"))
    assert "not available" in ((await desk.run_until(sent.id, State.MINED)).revert_reason or "")


async def test_estimate__no_gas_given__estimated_or_dropped_with_the_reason(desk: Desk) -> None:
    token = await deploy(desk.client, "DemoToken", ["Alpha", "ALP", 6])
    data = TOKEN.encode("mint", [address(3), 5])
    good = await desk.submit(to=token, value=0, data=data, gas_limit=None)
    bad = await desk.submit(to=token, value=0, data=data, gas_limit=None, index=2)
    assert (await desk.run_until(good.id, State.MINED)).succeeded
    dropped = await desk.run_until(bad.id, State.DROPPED)
    assert "would fail" in (dropped.reason or "")
    assert dropped.nonce is None


@pytest.mark.parametrize("gas_limit", [100_000, None])
async def test_revert__with_a_reason_that_no_column_takes__holds_up_nobody(desk: Desk, gas_limit: int | None) -> None:
    hostile = await _deploy_reverting(desk, "no\x00 \u202e" + "x" * 5_000)
    bad = await desk.submit(to=hostile, gas_limit=gas_limit)
    good = await desk.submit(index=1)

    await desk.run_until(good.id, State.MINED)
    ended = await desk.run_until(bad.id, State.MINED, State.DROPPED)

    reason = ended.revert_reason or ended.reason or ""
    assert "no\\x00 \\u202exxx" in reason
    assert len(reason) < 1_000


@pytest.mark.parametrize("gas_limit", [4_100_000, None])
async def test_batch__larger_than_a_node_reads_at_once__holds_up_nobody(desk: Desk, gas_limit: int | None) -> None:
    large = [await desk.submit(data=b"\x01" * 100_000, gas_limit=gas_limit, value=0) for _ in range(12)]
    good = await desk.submit(index=1)

    await desk.run_until(good.id, State.MINED, State.FINAL)
    await desk.run_until(large[-1].id, State.MINED, State.FINAL)


async def _deploy_reverting(desk: Desk, reason: str) -> str:
    """A contract that refuses every call with these words."""
    data = bytes.fromhex("08c379a0") + abi_encode(["string"], [reason])
    size = len(data).to_bytes(3, "big").hex()
    code = bytes.fromhex(f"62{size}80600d6000396000fd") + data
    size = len(code).to_bytes(3, "big").hex()
    return (
        await send(desk.client, None, bytes.fromhex(f"62{size}80600d6000396000f3") + code, index=9)
    ).contract_address or ""


async def test_estimate__one_that_the_node_does_not_finish__waits_and_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = code_that_reverts("endless")
    ask = desk.client.batch

    async def batch(calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if any(method == "eth_estimateGas" and params[0]["data"] == "0x" + endless.hex() for method, params in calls):
            raise NodeUnavailable("no node answered in time")
        return await ask(calls)

    monkeypatch.setattr(desk.client, "batch", batch)
    slow = await desk.submit(to=None, value=0, data=endless, gas_limit=None, index=1)
    with pytest.raises(NodeUnavailable):  # alone, it looks like a node that is away
        await desk.engine.step()
    good = await desk.submit(gas_limit=None)
    assert (await desk.run_until(good.id, State.MINED)).succeeded
    assert "in time" in ((await desk.get(slow.id)).reason or "")


async def test_balance_too_low__stays_queued_with_reason_and_holds_up_nobody(desk: Desk) -> None:
    poor = await desk.submit(value=10**24)
    fine = await desk.submit(value=3)
    await desk.run_until(fine.id, State.MINED)
    waiting = await desk.get(poor.id)
    assert waiting.state is State.QUEUED
    assert "insufficient funds" in (waiting.reason or "")
    await desk.client.call("anvil_setBalance", [address(0), hex(10**25)])
    assert (await desk.run_until(poor.id, State.MINED)).nonce == 1


async def test_queue__many_that_cannot_go_are_due_again__do_not_keep_a_fresh_one_out(desk: Desk) -> None:
    for _ in range(3):
        await desk.submit(value=10**24)
    await desk.engine.step()
    fresh = await desk.submit(value=3)
    async with desk.database.system("test") as uow:
        later = desk.clock.now() + timedelta(minutes=1)
        (first,) = await rows.list_queued(uow, fresh.chain, later, 1)
    assert first.id == fresh.id


async def test_fee_ceiling__below_the_base_fee__waits_and_then_goes(desk: Desk) -> None:
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**10)])
    await desk.mine()
    queued = await desk.submit(max_fee_per_gas=5 * 10**9)
    await desk.engine.step()
    waiting = await desk.get(queued.id)
    assert waiting.state is State.QUEUED
    assert "fee ceiling" in (waiting.reason or "")
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await desk.mine()
    mined = await desk.run_until(queued.id, State.MINED)
    assert (mined.max_fee_per_gas or 0) <= 5 * 10**9


async def test_intrinsic_gas__limit_below__dropped_without_a_nonce(desk: Desk) -> None:
    bad = await desk.submit(gas_limit=20_000)
    good = await desk.submit()
    assert (await desk.run_until(bad.id, State.DROPPED)).nonce is None
    assert (await desk.run_until(good.id, State.MINED)).nonce == 0


async def test_deadline__passed_in_the_queue__expired(desk: Desk) -> None:
    queued = await desk.submit(deadline_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (await desk.run_until(queued.id, State.EXPIRED)).nonce is None


async def test_list__pages__newest_first(desk: Desk) -> None:
    service = TransactionsService(desk.sender, authority=None, clock=desk.clock)  # type: ignore[arg-type]  # not asked
    first, second = await desk.submit(), await desk.submit()
    await desk.run_until(second.id, State.MINED)
    async with desk.database.tenant(APP) as uow:
        page = await service.list(uow, APP, limit=1)
        assert [t.id for t in page.items] == [second.id]
        rest = await service.list(uow, APP, cursor=page.next_cursor)
        assert [t.id for t in rest.items] == [first.id]
        assert len(await service.hashes(uow, APP, second.id)) == 1


async def test_signer_down__waits_and_goes_on(desk: Desk) -> None:
    desk.keys.refusals[1] = Retry("the signer is restarting")
    queued = await desk.submit()
    await desk.engine.step()
    assert (await desk.get(queued.id)).state is State.RESERVED
    desk.keys.refusals.clear()
    assert (await desk.run_until(queued.id, State.MINED)).nonce == 0


async def test_custody_stops__operator_needed__nothing_is_sent(desk: Desk) -> None:
    desk.keys.refusals[1] = Stop("the share does not fit")
    queued = await desk.submit()
    await desk.engine.step()
    waiting = await desk.get(queued.id)
    assert waiting.state is State.RESERVED
    assert "operator" in (waiting.reason or "")


async def test_reorganisation__mined_block_dropped__same_bytes_again(desk: Desk) -> None:
    queued = await desk.submit(value=9)
    mined = await desk.run_until(queued.id, State.MINED)
    await desk.client.call("anvil_reorg", [1, []])
    again = await desk.run_until(queued.id, State.BROADCAST)
    assert again.block_hash is None
    await desk.run_until(queued.id, State.MINED)
    await desk.mine(2)
    final = await desk.run_until(queued.id, State.FINAL)
    assert final.hash == mined.hash
    assert final.block_hash != mined.block_hash
    assert len(desk.keys.signed) == 1
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 9


async def test_reorganisation__deeper_than_finality__told_and_nothing_undone(desk: Desk) -> None:
    def told() -> float:
        return REGISTRY.get_sample_value("lockstep_final_blocks_reorganised_total", {"chain": desk.client.chain}) or 0

    before = told()
    queued = await desk.submit()
    await desk.run_until(queued.id, State.MINED)
    await desk.mine(2)
    await desk.run_until(queued.id, State.FINAL)
    await desk.mine(1)
    await desk.engine.step()
    assert told() == before
    await desk.client.call("anvil_reorg", [4, []])
    async with asyncio.timeout(15):
        while told() == before:
            await desk.engine.step()
            await desk.mine(1)
    await desk.engine.step()
    assert told() == before + 1
    assert (await desk.get(queued.id)).state is State.FINAL


async def test_dropped_from_the_pool__resent(desk: Desk) -> None:
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit()
    sent = await desk.run_until(queued.id, State.BROADCAST)
    assert sent.hash is not None
    await desk.client.call("anvil_dropTransaction", ["0x" + sent.hash.hex()])
    async with asyncio.timeout(15):
        while await desk.client.find_transaction(sent.hash) is None:
            await desk.engine.step()
    await desk.mine()
    assert (await desk.run_until(queued.id, State.MINED)).hash == sent.hash


async def test_replacement__unmined_for_long__dearer_form_and_all_hashes_watched(desk: Desk) -> None:
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit()
    first = await desk.run_until(queued.id, State.BROADCAST)
    assert first.hash is not None
    # Blocks go by without it: the base fee is above its cap.
    cap = first.max_fee_per_gas or 0
    for _ in range(desk.settings.replace_after_blocks):
        await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(cap * 2)])
        await desk.mine()
    async with asyncio.timeout(15):
        while (await desk.get(queued.id)).attempt < 2:
            await desk.engine.step()
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    replaced = await desk.run_until(queued.id, State.BROADCAST, State.MINED)
    assert replaced.hash != first.hash
    assert (replaced.max_fee_per_gas or 0) * 100 >= cap * 110
    await desk.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await desk.mine()
    mined = await desk.run_until(queued.id, State.MINED)
    assert mined.nonce == 0
    assert State.REPLACED in await desk.states(queued.id)
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 1


async def test_nonce_used_elsewhere__replaced_externally(desk: Desk) -> None:
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit()
    sent = await desk.run_until(queued.id, State.BROADCAST)
    assert sent.hash is not None
    await desk.client.call("anvil_dropTransaction", ["0x" + sent.hash.hex()])
    await desk.client.call("evm_setAutomine", [True])
    await send(desk.client, address(6), value=1, nonce=0)
    await desk.mine(3)
    ended = await desk.run_until(queued.id, State.REPLACED_EXTERNALLY)
    assert "not made here" in (ended.reason or "")


async def test_nonce_used__own_form_that_a_node_behind_does_not_show__is_mined(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.client.call("evm_setAutomine", [False])
    queued = await desk.submit()
    await desk.run_until(queued.id, State.BROADCAST)

    async def behind(hashes: Sequence[bytes]) -> list[None]:
        return [None] * len(hashes)

    monkeypatch.setattr(desk.client, "receipts", behind)
    await desk.mine(5)
    await desk.run_until(queued.id, State.MINED, State.FINAL)


async def test_node_down__raises_for_the_loop_and_goes_on_later(desk: Desk, anvil: Anvil) -> None:
    queued = await desk.submit()
    lost = ChainRegistry([config(anvil, rpc_urls=["http://127.0.0.1:9"])])
    with pytest.raises(NodeUnavailable):
        await Desk(desk.database, lost).engine.step()
    await lost.close()
    assert (await desk.get(queued.id)).state is State.QUEUED
    await desk.run_until(queued.id, State.MINED)


async def test_run__two_engines_and_a_database_that_cuts_connections__each_transfer_once(
    desk: Desk, database: Database, dsn: str, admin_dsn: str, anvil: Anvil
) -> None:
    other_database = Database(dsn, name="other")
    await other_database.open()
    other = Desk(other_database, desk.chains)
    stop = asyncio.Event()
    runs = [asyncio.create_task(one.engine.run(stop)) for one in (desk, other)]
    transactions = [await desk.submit(value=10, index=index % 3) for index in range(30)]
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()"
        )

    async def states() -> set[State]:
        return {(await desk.get(transaction.id)).state for transaction in transactions}

    async with asyncio.timeout(60):
        while True:
            try:
                if await states() == {State.FINAL}:
                    break
                await desk.mine()
            except (Retry, psycopg.Error):
                pass
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*runs)
    await other_database.close()
    head = await desk.client.head()
    assert await desk.client.balance(address(5), head) == 10**22 + 300
    assert await desk.client.nonces([address(0), address(1), address(2)], head) == [10, 10, 10]


async def test_wakes__mined_and_final__process_is_due(desk: Desk) -> None:
    async with desk.database.system("test") as uow:
        await uow.execute(
            "insert into processes (kind, id, app_id, state, due_at) values ('swap', 's1', %s, 'waiting', %s)",
            (APP, datetime.now(UTC) + timedelta(days=1)),
        )
    queued = await desk.submit(wakes=("swap", "s1"))
    await desk.run_until(queued.id, State.MINED)
    async with desk.database.system("test") as uow:
        row = await uow.get("select due_at from processes where id = 's1'")
    assert row["due_at"] <= datetime.now(UTC)


async def test_claim__nonce_of_the_caller__engine_goes_around_it(desk: Desk) -> None:
    chain = desk.client.chain
    async with desk.database.tenant(APP) as uow:
        assert await desk.sender.next_nonce(uow, chain, address(0)) == 0
        await desk.sender.claim(uow, chain, address(0), 0, b"\x01" * 32)
        await desk.sender.claim(uow, chain, address(0), 0, b"\x01" * 32)  # the same digest again is harmless
        for nonce, digest in ((0, b"\x02" * 32), (5, b"\x03" * 32)):
            with pytest.raises(NonceTaken):
                await desk.sender.claim(uow, chain, address(0), nonce, digest)
    queued = await desk.submit()
    await desk.run_until(queued.id, State.SIGNED, State.BROADCAST)
    assert (await desk.get(queued.id)).nonce == 1
    await send(desk.client, address(6), nonce=0)
    await desk.run_until(queued.id, State.MINED)
    async with desk.database.tenant(APP) as uow:
        with pytest.raises(NonceTaken):
            await desk.sender.claim(uow, chain, address(0), 0, b"\x04" * 32)


async def test_ledger__another_content_or_too_cheap__double_sign_prevented(desk: Desk) -> None:
    def entry(digest: int, content: int, fee: int) -> nonces.LedgerEntry:
        return nonces.LedgerEntry(
            chain=desk.client.chain,
            address=address(0),
            nonce=0,
            digest=bytes([digest]) * 32,
            app_id=APP,
            content=bytes([content]) * 32,
            fees=Fees(fee, fee),
        )

    now = desk.clock.now()
    async with desk.database.system("test") as uow:
        reservation = nonces.Reservation(
            chain=desk.client.chain, address=address(0), nonce=0, app_id=APP, transaction_id=None
        )
        await nonces.reserve(uow, [reservation], now)
        await nonces.enter_digests(uow, [entry(1, 1, 100)], now)
        await nonces.enter_digests(uow, [entry(1, 1, 100)], now)
        for bad in (entry(2, 2, 1_000), entry(2, 1, 109), entry(2, 1, 100)):
            with pytest.raises(DoubleSignPrevented):
                await nonces.enter_digests(uow, [bad], now)
        await nonces.enter_digests(uow, [entry(2, 1, 110)], now)


async def test_quote__transfer_revert_and_shortage__told(desk: Desk) -> None:
    def intent(**changes: object) -> TransactionIntent:
        fields: dict = {
            "app_id": APP,
            "wallet_id": WALLET,
            "chain": desk.client.chain,
            "from_address": address(0),
            "to": address(5),
            "value": 1,
            "data": b"",
            "idempotency_key": "q",
        }
        return TransactionIntent(**(fields | changes))

    quote = await desk.sender.quote(intent())
    assert (quote.gas_limit, quote.will_revert) == (21_000, None)
    assert quote.max_fee_per_gas > 0
    assert quote.simulation["transfers"] == [
        {
            "asset": f"{desk.client.chain}/slip44:60",
            "from": to_checksum(address(0)),
            "to": to_checksum(address(5)),
            "amount": "1",
        }
    ]
    token = await deploy(desk.client, "DemoToken", ["Alpha", "ALP", 6])
    bad = await desk.sender.quote(intent(to=token, value=0, data=TOKEN.encode("transfer", [address(3), 5])))
    assert bad.will_revert
    poor = await desk.sender.quote(intent(value=10**25))
    assert poor.will_revert or poor.simulation["insufficient_funds"]


def test_settings__defaults__sensible() -> None:
    assert EngineSettings().batch <= EngineSettings().max_in_flight
