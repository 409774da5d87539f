"""The state around a mined transaction: kept in its timeline, just before and at its block, and never in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from tests.support.evm import address, config, deploy, send
from tests.support.transactions import APP, Desk, evm_engine

from lockstep.app.devnet.anvil import Anvil
from lockstep.assets import Token, TokenRegistry, approve_call, erc20_asset, transfer_call
from lockstep.chains.evm import Address, BlockRef, ChainRegistry, EvmClient, NodeUnavailable, abi_encode_call
from lockstep.kit.database import Database
from lockstep.transactions import EngineSettings, State, TokenBalances, Transaction
from lockstep.transactions.store import rows

pytestmark = pytest.mark.chain


@pytest.fixture
async def desk(database: Database, anvil: Anvil) -> AsyncIterator[Desk]:
    chains = ChainRegistry([config(anvil, block_seconds=0.2)])
    yield Desk(database, chains)
    await chains.close()


async def token_of(desk: Desk) -> Address:
    """A registered token of which account 0 has 100; the engine observes it."""
    token = await deploy(desk.client, "DemoToken", ["Demo", "DMO", 6])
    await send(desk.client, token, abi_encode_call("mint(address,uint256)", [address(0), 100]))
    chain = desk.client.chain
    known = Token(asset=erc20_asset(chain, token), chain=chain, address=token, symbol="DMO", decimals=6, name="Demo")
    watch(desk, TokenBalances(TokenRegistry([known])))
    return token


def watch(desk: Desk, observer: object) -> None:
    desk.engine = evm_engine(desk.database, desk.chains, desk.keys, desk.clock, desk.settings, observer=observer)


async def mined(desk: Desk, **changes: object) -> Mapping[str, object]:
    """What the timeline says about the block of inclusion."""
    queued = await desk.submit(**({"value": 0, "gas_limit": 200_000} | changes))
    await desk.run_until(queued.id, State.MINED, State.FINAL)
    async with desk.database.tenant(APP) as uow:
        steps = await rows.list_steps(uow, APP, queued.id)
    return next(step.facts for step in steps if step.to_state is State.MINED)


async def test_observed__transfer_of_a_registered_token__balances_of_both_sides_before_and_after(desk: Desk) -> None:
    token = await token_of(desk)
    facts = await mined(desk, to=token, data=transfer_call(address(5), 30))
    assert facts["before"] == {"token": token, "balances": {address(0): "100", address(5): "0"}}
    assert facts["after"] == {"token": token, "balances": {address(0): "70", address(5): "30"}}


async def test_observed__two_in_one_block__each_against_the_block_before(desk: Desk) -> None:
    token = await token_of(desk)
    await desk.client.call("evm_setAutomine", [False])
    both = [
        await desk.submit(to=token, data=transfer_call(address(5), n), value=0, gas_limit=200_000) for n in (10, 20)
    ]
    for one in both:
        await desk.run_until(one.id, State.BROADCAST)
    await desk.mine()
    for one in both:
        await desk.run_until(one.id, State.MINED, State.FINAL)
        async with desk.database.tenant(APP) as uow:
            steps = await rows.list_steps(uow, APP, one.id)
        facts = next(step.facts for step in steps if step.to_state is State.MINED)
        assert facts["after"] == {"token": token, "balances": {address(0): "70", address(5): "30"}}


async def test_observed__moved_for_somebody_else__balances_of_the_two_whose_they_are(desk: Desk) -> None:
    token = await token_of(desk)
    await send(desk.client, token, approve_call(address(1), 50))
    call = abi_encode_call("transferFrom(address,address,uint256)", [address(0), address(6), 50])
    facts = await mined(desk, index=1, to=token, data=call)
    assert facts["after"] == {"token": token, "balances": {address(0): "50", address(6): "50"}}


@pytest.mark.parametrize("data", [approve_call(address(5), 1), b"", transfer_call(address(5), 1)[:40]], ids=len)
async def test_observed__no_transfer__nothing_is_kept(desk: Desk, data: bytes) -> None:
    desk.settings = EngineSettings(resend_seconds=0.3, simulates=False)  # what reverts there must get mined
    token = await token_of(desk)
    facts = await mined(desk, to=token, data=data)
    assert not {"before", "after"} & facts.keys()


class Faulty:
    """An observer whose node is away."""

    async def observe(
        self, client: EvmClient, transactions: Sequence[Transaction], block: BlockRef
    ) -> Mapping[str, Mapping[str, object]]:
        raise NodeUnavailable("no answer in time")


async def test_observed__node_is_away__mined_all_the_same(desk: Desk) -> None:
    watch(desk, Faulty())
    facts = await mined(desk, value=1, gas_limit=21_000)
    assert facts["succeeded"] is True
    assert "before" not in facts
