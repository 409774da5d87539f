"""Cancellations on a real node: unsigned ones end at once, signed ones race their own self-send, and the chain decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.evm import address, config
from tests.support.office import Office
from tests.support.transactions import APP, WALLET, decision_of

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry, Fees, parse_address
from lockstep.custody import CallerNotAllowed, Principal
from lockstep.custody.errors import SigningStopped, WalletFrozen
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError, Retry
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.transactions import (
    DoubleSignPrevented,
    NotCancellable,
    State,
    TransactionNotFound,
)
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.rules import content_hash
from lockstep.transactions.store import attempts as attempt_rows

pytestmark = pytest.mark.chain
GWEI = 10**9
LEAST_TIP = 1_000_000
"""Wei per gas; as a ceiling it leaves no room for a dearer form."""


@pytest.fixture
async def office(database: Database, anvil: Anvil) -> AsyncIterator[Office]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Office(database, chains)
    await chains.close()


async def test_cancel__queued__ends_at_once_without_a_nonce(office: Office) -> None:
    queued = await office.submit()

    assert (await office.cancel(queued.id)).state is State.CANCELLED
    assert (await office.cancel(queued.id)).version == 2

    after = await office.submit()
    assert (await office.run_until(after.id, State.MINED)).nonce == 0
    assert (await office.get(queued.id)).nonce is None


async def test_cancel__queued_and_a_process_waits__ends_and_wakes_it(office: Office) -> None:
    async with office.database.system("test") as uow:
        await uow.execute(
            "insert into processes (kind, id, app_id, state, due_at) values ('swap', 's1', %s, 'waiting', %s)",
            (APP, office.clock.now() + timedelta(days=1)),
        )
    queued = await office.submit(wakes=("swap", "s1"))
    await office.cancel(queued.id)

    await office.run_until(queued.id, State.CANCELLED)

    async with office.database.system("test") as uow:
        row = await uow.get("select due_at from processes where id = 's1'")
    assert row["due_at"] <= office.clock.now()


async def test_cancel__reserved__its_nonce_goes_to_the_next(office: Office) -> None:
    office.keys.refusals[1] = Retry("the signer is restarting")
    reserved = await office.run_until((await office.submit()).id, State.RESERVED)
    await office.cancel(reserved.id)
    office.keys.refusals.clear()

    await office.run_until(reserved.id, State.CANCELLED)

    assert office.keys.signed == []
    assert (await office.run_until((await office.submit(value=2)).id, State.MINED)).nonce == 0
    assert await office.received() == 2


async def test_cancel__broadcast__self_send_wins_and_is_final_before_it_counts(office: Office) -> None:
    sent = await office.stuck(value=7)

    asked = await office.cancel(sent.id)
    assert (asked.state, asked.cancel_requested_at is not None) == (State.BROADCAST, True)
    again = await office.cancel(sent.id)
    assert (again.version, len(office.keys.decided)) == (asked.version, 1)

    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    cancelled = await office.run_until(sent.id, State.BROADCAST)
    await office.mine()
    mined = await office.run_until(sent.id, State.MINED)
    assert (mined.succeeded, mined.reason, mined.hash) == (None, "its cancellation was mined", cancelled.hash)
    assert (await office.cancel(sent.id)).version == mined.version
    await office.mine(2)
    ended = await office.run_until(sent.id, State.CANCELLED)

    (original, self_send) = office.keys.signed
    assert (self_send.nonce, self_send.to, self_send.value, self_send.data) == (original.nonce, address(0), 0, b"")
    assert self_send.gas_limit == 21_000
    for name in ("max_fee_per_gas", "max_priority_fee_per_gas"):
        assert getattr(self_send, name) * 100 >= getattr(original, name) * 110
    assert (await office.received(), ended.fee_paid is not None) == (0, True)
    assert (await office.cancel(sent.id)).state is State.CANCELLED
    assert (await office.run_until((await office.submit()).id, State.BROADCAST)).nonce == 1


async def test_cancel__original_was_mined_meanwhile__goes_on_to_final(office: Office) -> None:
    sent = await office.stuck(value=7)
    await office.mine()
    await office.cancel(sent.id)  # nobody has seen the block yet

    await office.run_until(sent.id, State.MINED)
    with pytest.raises(NotCancellable, match="mined"):
        await office.cancel(sent.id)
    await office.mine(2)
    final = await office.run_until(sent.id, State.FINAL)

    assert (final.succeeded, len(office.keys.signed), await office.received()) == (True, 1, 7)
    with pytest.raises(NotCancellable, match="final"):
        await office.cancel(sent.id)


async def test_cancel__original_wins_after_the_self_send_was_sent__is_watched_and_goes_on(office: Office) -> None:
    sent = await office.stuck(value=7)
    original = "0x" + (await _raw(office, sent.id, 0)).hex()
    await office.cancel(sent.id)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    cancelled = await office.run_until(sent.id, State.BROADCAST)
    # A miner that holds the older form: it takes that one.
    await office.client.call("anvil_dropTransaction", ["0x" + (cancelled.hash or b"").hex()])
    await office.client.call("eth_sendRawTransaction", [original])
    await office.mine()

    mined = await office.run_until(sent.id, State.MINED)
    await office.mine(2)
    final = await office.run_until(sent.id, State.FINAL)

    assert (mined.hash, final.succeeded, await office.received()) == (sent.hash, True, 7)


async def test_cancel__its_block_is_dropped__the_self_send_goes_out_again_and_never_the_original(
    office: Office,
) -> None:
    sent = await office.stuck(value=7)
    await office.cancel(sent.id)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    await office.run_until(sent.id, State.BROADCAST)
    await office.mine()
    await office.run_until(sent.id, State.MINED)
    await office.client.call("anvil_reorg", [1, []])

    await office.run_until(sent.id, State.BROADCAST)
    await office.mine_until(sent.id, State.CANCELLED)

    assert [tx.value for tx in office.keys.signed].count(7) == 1
    assert await office.received() == 0


async def test_cancel__original_was_mined_and_its_block_dropped__is_cancelled_after_all(office: Office) -> None:
    sent = await office.stuck(value=7)
    await office.mine()
    await office.cancel(sent.id)
    await office.run_until(sent.id, State.MINED)
    await office.client.call("anvil_reorg", [1, []])

    await office.mine_until(sent.id, State.CANCELLED)

    assert await office.received() == 0


async def test_cancel__two_at_once__one_self_send(office: Office) -> None:
    sent = await office.stuck()

    answers = await asyncio.gather(*(office.cancel(sent.id) for _ in range(4)))

    assert len({answer.version for answer in answers}) == 1
    assert len(office.keys.decided) == 1
    await office.let_it_win(sent.id)
    assert [tx.to for tx in office.keys.signed] == [address(5), address(0)]


async def test_cancel__signed_but_never_taken_by_a_node__self_send_goes_instead(office: Office) -> None:
    await office.client.call("anvil_setNextBlockBaseFeePerGas", [hex(GWEI)])
    await office.mine()
    office.keys.refusals[1] = Retry("the signer is restarting")
    reserved = await office.run_until((await office.submit(max_fee_per_gas=2 * GWEI)).id, State.RESERVED)
    await office.client.call("anvil_setNextBlockBaseFeePerGas", [hex(100 * GWEI)])
    await office.mine()
    office.keys.refusals.clear()
    async with asyncio.timeout(20):
        while "base fee" not in ((await office.get(reserved.id)).reason or ""):
            await office.engine.step()

    await office.cancel(reserved.id)
    await office.mine_until(reserved.id, State.CANCELLED)

    assert await office.received() == 0


@pytest.mark.parametrize("ceilings", [{"max_priority_fee_per_gas": LEAST_TIP}, {"max_fee_per_gas": 10**12}])
async def test_cancel__ceilings_that_leave_no_room_for_a_bump__is_cancelled_all_the_same(
    office: Office, ceilings: dict[str, int]
) -> None:
    # 10**12 is the ceiling of the chain: base fee and tip take all of it.
    if "max_fee_per_gas" in ceilings:
        await office.client.call("anvil_setNextBlockBaseFeePerGas", [hex(6 * 10**11)])
        await office.mine()
    await office.client.call("evm_setAutomine", [False])
    sent = await office.run_until((await office.submit(**ceilings)).id, State.BROADCAST)
    await office.cancel(sent.id)

    await office.let_it_win(sent.id)

    original, self_send = office.keys.signed
    assert self_send.max_priority_fee_per_gas > original.max_priority_fee_per_gas
    assert self_send.max_fee_per_gas <= 10**12 * 9 // 8
    assert await office.received() == 0


async def test_cancel__signature_of_the_self_send_is_refused__older_form_goes_on_and_can_be_cancelled_again(
    office: Office,
) -> None:
    sent = await office.stuck(value=7)
    office.keys.refusals[0] = WalletFrozen()
    await office.cancel(sent.id)
    async with asyncio.timeout(20):
        while "refused" not in ((found := await office.get(sent.id)).reason or ""):
            await office.engine.step()
    assert (found.state, found.cancel_requested_at, found.hash) == (State.BROADCAST, None, sent.hash)

    office.keys.refusals.clear()
    await office.cancel(sent.id)
    await office.let_it_win(sent.id)
    assert await office.received() == 0


async def test_cancel__wallet_is_frozen__unsigned_ends_and_signed_is_refused(office: Office) -> None:
    queued = await office.submit(max_fee_per_gas=1)
    sent = await office.stuck(value=7)
    office.custody.refusal = WalletFrozen()

    assert (await office.cancel(queued.id)).state is State.CANCELLED
    with pytest.raises(WalletFrozen):
        await office.cancel(sent.id)

    assert (await office.get(sent.id)).cancel_requested_at is None


async def test_cancel__stranger_or_other_session__sees_nothing_or_is_refused(office: Office) -> None:
    sent = await office.submit()
    strangers = [
        Principal(kind="app", app_id=AppId(new_id())),
        Principal(kind="session", app_id=APP, wallet_id=WalletId(new_id()), session_id=decision_of(0).id),
    ]
    for stranger in strangers:
        with pytest.raises(TransactionNotFound):
            await office.cancel(sent.id, stranger)
    with pytest.raises(TransactionNotFound):
        await office.cancel(new_id())
    other = Principal(kind="session", app_id=APP, wallet_id=WALLET, session_id=new_id())
    with pytest.raises(CallerNotAllowed):
        await office.cancel(sent.id, other)
    assert (await office.get(sent.id)).cancel_requested_at is None
    sender = Principal(kind="session", app_id=APP, wallet_id=WALLET, session_id=decision_of(0).id)
    assert (await office.cancel(sent.id, sender)).state is State.CANCELLED


async def test_ledger__after_a_self_send__takes_only_a_dearer_self_send(office: Office) -> None:
    def entry(digest: int, content: bytes, fee: int) -> nonces.LedgerEntry:
        return nonces.LedgerEntry(
            chain=office.client.chain,
            address=parse_address(address(0)),
            nonce=0,
            digest=bytes([digest]) * 32,
            app_id=APP,
            content=content,
            fees=Fees(fee, fee),
        )

    payment, self_send = (
        content_hash(parse_address(address(5)), 1, b""),
        content_hash(parse_address(address(0)), 0, b""),
    )
    now = office.clock.now()
    async with office.database.system("test") as uow:
        reservation = nonces.Reservation(
            chain=office.client.chain, address=parse_address(address(0)), nonce=0, app_id=APP, transaction_id=None
        )
        await nonces.reserve(uow, [reservation], now)
        await nonces.enter_digests(uow, [entry(1, payment, 100)], now)
        with pytest.raises(DoubleSignPrevented):
            await nonces.enter_digests(uow, [entry(2, self_send, 109)], now)
        await nonces.enter_digests(uow, [entry(2, self_send, 110)], now)
        for bad in (entry(3, payment, 1_000), entry(3, b"\x07" * 32, 1_000), entry(3, self_send, 120)):
            with pytest.raises(DoubleSignPrevented):
                await nonces.enter_digests(uow, [bad], now)
        await nonces.enter_digests(uow, [entry(3, self_send, 121)], now)


async def _raw(office: Office, transaction_id: str, attempt: int) -> bytes:
    async with office.database.system("test") as uow:
        raw = (await attempt_rows.list_attempts(uow, [transaction_id]))[transaction_id][attempt].raw
    assert raw is not None
    return raw


async def test_deadline__passes_while_it_is_reserved__expired_and_its_nonce_is_free(office: Office) -> None:
    office.keys.refusals[1] = Retry("the signer is restarting")
    late = await office.submit(deadline_at=office.clock.now() + timedelta(seconds=0.5))
    await office.run_until(late.id, State.RESERVED)

    ended = await office.run_until(late.id, State.EXPIRED)

    assert "before it was signed" in (ended.reason or "")
    assert (office.keys.signed, office.keys.decided) == ([], [])
    assert (await office.run_until((await office.submit(value=2)).id, State.MINED)).nonce == 0


async def test_deadline__passes_while_it_is_in_the_pool__cancelled_by_the_engine_itself(office: Office) -> None:
    sent = await office.stuck(value=7, deadline_at=office.clock.now() + timedelta(seconds=0.5))

    ended = await office.let_it_win(sent.id)

    ((caller, intent),) = office.keys.decided
    assert (caller.label, caller.app_id, intent.value, intent.to) == ("module:engine", APP, 0, address(0))
    assert ended.cancel_requested_at is not None
    async with office.database.tenant(APP) as uow:
        reasons = [step.reason for step in await office.service.timeline(uow, APP, sent.id)]
    assert "its deadline passed before it was mined; cancelled" in reasons
    assert await office.received() == 0


async def test_deadline__of_what_is_better_late_than_half_done__goes_on(office: Office) -> None:
    sent = await office.stuck(value=7, deadline_at=office.clock.now() + timedelta(seconds=0.3), cancels_late=False)
    async with asyncio.timeout(10):
        while office.clock.now() < (sent.deadline_at or office.clock.now()):
            await office.engine.step()

    assert (await office.mine_until(sent.id, State.FINAL)).succeeded
    assert (office.keys.decided, await office.received()) == ([], 7)


@pytest.mark.parametrize("stop", [WalletFrozen(), SigningStopped("frozen by a kill switch")])
async def test_deadline__wallet_is_stopped__waits_with_the_reason_and_is_cancelled_later(
    office: Office, stop: LockstepError
) -> None:
    office.keys.no_cancellations = stop
    sent = await office.stuck(value=7, deadline_at=office.clock.now() + timedelta(seconds=0.3))
    async with asyncio.timeout(20):
        while "frozen" not in ((await office.get(sent.id)).reason or ""):
            await office.engine.step()
    assert (await office.get(sent.id)).cancel_requested_at is None

    office.keys.no_cancellations = None
    await office.let_it_win(sent.id)
    assert await office.received() == 0


async def test_priority__higher__overtakes_in_the_queue_and_equals_stay_in_order(office: Office) -> None:
    await office.client.call("evm_setAutomine", [False])
    priorities = (0, 0, 5, 0, 10, 5)
    submitted = [await office.submit(value=n + 1, priority=priority) for n, priority in enumerate(priorities)]
    other = await office.submit(index=1)

    found = [await office.run_until(one.id, State.BROADCAST) for one in submitted]

    assert [one.nonce for one in found] == [3, 4, 1, 5, 0, 2]
    assert (await office.get(other.id)).nonce == 0


async def test_priority__what_has_a_nonce__is_not_overtaken(office: Office) -> None:
    await office.client.call("evm_setAutomine", [False])
    first = await office.run_until((await office.submit()).id, State.BROADCAST)
    urgent = await office.run_until((await office.submit(priority=99)).id, State.BROADCAST)
    assert (first.nonce, urgent.nonce) == (0, 1)
