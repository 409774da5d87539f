"""Speed-ups on a real node: a dearer form now, under ceilings that the caller may raise and custody decides on anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.evm import address, config
from tests.support.office import APP_ITSELF, Office
from tests.support.transactions import APP, WALLET

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import ChainRegistry
from lockstep.custody import PolicyDenied, Principal
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.transactions import FeeCeilingTooLow, NotReplaceable, State, Transaction, TransactionNotFound

pytestmark = pytest.mark.chain
GWEI = 10**9


@pytest.fixture
async def office(database: Database, anvil: Anvil) -> AsyncIterator[Office]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Office(database, chains)
    await chains.close()


async def speed_up(office: Office, transaction_id: str, principal: Principal = APP_ITSELF, **terms: int) -> Transaction:
    market = await office.service.fee_market(office.client.chain)
    async with office.database.tenant(principal.tenant) as uow:
        return await office.service.speed_up(uow, principal, transaction_id, market, **terms)


async def test_speed_up__in_the_pool__dearer_form_at_once_and_mined_once(office: Office) -> None:
    sent = await office.stuck(value=7)
    asked = await speed_up(office, sent.id)
    assert (asked.state, asked.reason) == (State.BROADCAST, "it was asked to be made dearer")
    ((caller, intent),) = office.custody.decided
    assert (caller, intent.to, intent.value) == (APP_ITSELF, address(5), 7)

    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    dearer = await office.run_until(sent.id, State.BROADCAST)
    assert (dearer.attempt, dearer.nonce) == (2, 0)
    assert (dearer.max_fee_per_gas or 0) * 100 >= (sent.max_fee_per_gas or 0) * 110
    await office.mine()
    assert (await office.run_until(sent.id, State.MINED)).hash == dearer.hash
    assert (await office.received(), len(office.keys.signed)) == (7, 2)


async def test_speed_up__repeated_with_the_attempt_that_was_seen__makes_one_dearer_form(office: Office) -> None:
    sent = await office.stuck()
    for _ in range(2):
        await speed_up(office, sent.id, attempt=sent.attempt)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    dearer = await office.run_until(sent.id, State.BROADCAST)
    late = await speed_up(office, sent.id, attempt=sent.attempt, max_fee_per_gas=90 * GWEI)
    await office.engine.step()
    assert (await office.get(sent.id)).attempt == dearer.attempt == sent.attempt + 1
    assert (late.max_fee_ceiling, len(office.custody.decided)) == (sent.max_fee_ceiling, 1)
    await speed_up(office, sent.id, attempt=dearer.attempt)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    assert (await office.run_until(sent.id, State.BROADCAST)).attempt == dearer.attempt + 1


async def test_speed_up__forms_that_custody_refused__do_not_make_the_next_one_dearer(office: Office) -> None:
    sent = await office.stuck(value=7)
    office.keys.refusals[7] = PolicyDenied("not now")
    for attempt in (2, 3, 4):
        await speed_up(office, sent.id)
        await office.run_until(sent.id, State.REPLACED)
        refused = await office.run_until(sent.id, State.BROADCAST)
        assert (refused.attempt, refused.max_fee_per_gas) == (attempt, sent.max_fee_per_gas)
    office.keys.refusals.clear()

    await speed_up(office, sent.id)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    dearer = await office.run_until(sent.id, State.BROADCAST)

    step = -(-(sent.max_fee_per_gas or 0) * 9 // 8)
    market = await office.service.fee_market(office.client.chain)
    assert dearer.attempt == 5
    assert dearer.max_fee_per_gas == max(step, market.offer(sent.speed, is_legacy=False).max_fee_per_gas)


async def test_speed_up__twice_at_once__one_dearer_form(office: Office) -> None:
    sent = await office.stuck()
    await asyncio.gather(*(speed_up(office, sent.id) for _ in range(3)))
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    await office.run_until(sent.id, State.BROADCAST)
    await office.engine.step()
    assert (await office.get(sent.id)).attempt == 2


async def test_speed_up__ceiling_leaves_no_room__refused_until_it_is_raised(office: Office) -> None:
    fee = 3 * GWEI
    sent = await office.stuck(max_fee_per_gas=fee)
    with pytest.raises(FeeCeilingTooLow, match="a tenth more"):
        for _ in range(20):
            await speed_up(office, sent.id)
            await office.run_until(sent.id, State.REPLACED, State.SIGNED)
            await office.run_until(sent.id, State.BROADCAST)
    with pytest.raises(FeeCeilingTooLow):  # lower than what it pays already
        await speed_up(office, sent.id, max_fee_per_gas=GWEI)
    assert (await office.get(sent.id)).max_fee_ceiling == fee

    await speed_up(office, sent.id, max_fee_per_gas=5 * fee)
    assert office.custody.decided[-1][1].max_fee_per_gas == 5 * fee
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    dearer = await office.run_until(sent.id, State.BROADCAST)
    assert fee < (dearer.max_fee_per_gas or 0) <= 5 * fee


async def test_speed_up__above_the_chains_ceiling__is_held_under_it(office: Office) -> None:
    sent = await office.stuck()
    await office.client.call("anvil_setNextBlockBaseFeePerGas", [hex(8 * 10**11)])
    await office.mine()
    await speed_up(office, sent.id, max_fee_per_gas=10**15)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    dearer = await office.run_until(sent.id, State.SIGNED, State.BROADCAST)
    assert dearer.attempt == 2
    assert (dearer.max_fee_per_gas or 0) <= office.client.config.max_fee_per_gas


async def test_speed_up__tip_ceiling_at_the_least_tip__is_outbid_once_it_is_raised(office: Office) -> None:
    sent = await office.stuck(max_priority_fee_per_gas=1_000_000)
    with pytest.raises(FeeCeilingTooLow, match="tip"):
        await speed_up(office, sent.id)
    await speed_up(office, sent.id, max_priority_fee_per_gas=GWEI)
    await office.run_until(sent.id, State.REPLACED, State.SIGNED)
    assert 0 < ((await office.run_until(sent.id, State.BROADCAST)).max_priority_fee_per_gas or 0) <= GWEI


async def test_speed_up__queued_below_the_market__goes_with_the_raised_ceiling(office: Office) -> None:
    await office.client.call("anvil_setNextBlockBaseFeePerGas", [hex(10 * GWEI)])
    await office.mine()
    queued = await office.submit(max_fee_per_gas=2 * GWEI)
    await office.engine.step()
    with pytest.raises(FeeCeilingTooLow, match="next block"):
        await speed_up(office, queued.id, max_fee_per_gas=3 * GWEI)

    await speed_up(office, queued.id, max_fee_per_gas=100 * GWEI)

    assert (await office.run_until(queued.id, State.MINED)).attempt == 1


async def test_speed_up__policy_denies_the_new_ceiling__nothing_changes(office: Office) -> None:
    sent = await office.stuck()
    office.custody.refusal = PolicyDenied("at most 5 gwei")
    with pytest.raises(PolicyDenied):
        await speed_up(office, sent.id, max_fee_per_gas=100 * GWEI)
    found = await office.get(sent.id)
    assert (found.version, found.max_fee_ceiling) == (sent.version, sent.max_fee_ceiling)


async def test_speed_up__reserved_cancelled_mined_or_anothers__refused(office: Office) -> None:
    office.keys.refusals[1] = Retry("the signer is restarting")
    reserved = await office.run_until((await office.submit(index=1)).id, State.RESERVED)
    mined = await office.run_until((await office.submit(index=2, value=2)).id, State.MINED)
    cancelled = await office.stuck(value=2)
    await office.cancel(cancelled.id)
    for transaction in (reserved, mined, cancelled):
        with pytest.raises(NotReplaceable):
            await speed_up(office, transaction.id)
    for stranger in (
        Principal(kind="app", app_id=AppId(new_id())),
        Principal(kind="session", app_id=APP, wallet_id=WalletId(new_id()), session_id=new_id()),
    ):
        with pytest.raises(TransactionNotFound):
            await speed_up(office, cancelled.id, stranger)
    assert (reserved.wallet_id, office.custody.decided) == (WALLET, [])
