"""Limits are hard: whoever asks at the same moment, and whoever dies in between, they are never passed."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.custody import BOB, CHAIN, GWEI, World, send
from tests.support.limits import ETHER, another_process, counted, limited_wallet, standing

from lockstep.custody import PolicyDenied, SignerUnavailable, claim_for
from lockstep.kit.database import Database
from lockstep.kit.errors import Retry
from lockstep.kit.ids import new_id


def typed(value: int, nonce: int) -> dict[str, object]:
    """What an owner of a Safe signs to have it pay so much native coin."""
    members = {
        "to": "address",
        "value": "uint256",
        "data": "bytes",
        "operation": "uint8",
        "safeTxGas": "uint256",
        "baseGas": "uint256",
        "gasPrice": "uint256",
        "gasToken": "address",
        "refundReceiver": "address",
        "nonce": "uint256",
    }
    zero = "0x" + "00" * 20
    message = dict.fromkeys(members, "0") | {
        "to": BOB,
        "value": str(value),
        "data": "0x",
        "gasToken": zero,
        "refundReceiver": zero,
        "nonce": str(nonce),
    }
    return {
        "method": "eth_signTypedData_v4",
        "params": {
            "typed_data": {
                "types": {"SafeTx": [{"name": name, "type": kind} for name, kind in members.items()]},
                "primary_type": "SafeTx",
                "domain": {"chainId": 31337, "verifyingContract": "0x" + "5a" * 20},
                "message": message,
            }
        },
    }


def raw(value: int, nonce: int) -> dict[str, object]:
    transaction = {
        "to": BOB,
        "value": str(value),
        "nonce": nonce,
        "gas_limit": 21_000,
        "max_fee_per_gas": str(2 * GWEI),
        "max_priority_fee_per_gas": str(GWEI),
    }
    return {"method": "eth_signTransaction", "caip2": CHAIN, "params": {"transaction": transaction}}


BODIES = {
    "typed data": lambda number: typed(ETHER, number),
    "transactions": lambda number: raw(ETHER, number),
    "sent": lambda number: send(BOB, ETHER),
    "all kinds": lambda number: (typed(ETHER, number), raw(ETHER, number), send(BOB, ETHER))[number % 3],
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("processes", [1, 2])
async def test_limits__50_at_once_against_a_cap_of_10__give_exactly_10(
    world: World, dsn: str, kind: str, processes: int
) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10 * ETHER)
    other = Database(dsn, name="second")
    await other.open()
    services = [world.custody, another_process(world, other)][:processes]

    async def ask(number: int) -> object:
        body = BODIES[kind](number)
        claim = claim_for(app, "POST", f"/v1/wallets/{wallet.id}/rpc", new_id(), body)
        while True:
            try:
                return (await services[number % processes].rpc(app, wallet.id, body, claim)).body
            except Retry:
                continue  # on a busy machine a pool may be exhausted

    results = await asyncio.gather(*[ask(number) for number in range(50)], return_exceptions=True)
    await other.close()

    denied = [result for result in results if isinstance(result, PolicyDenied)]
    assert [result for result in results if not isinstance(result, PolicyDenied | dict)] == []
    assert len(denied) == 40
    assert len(results) - len(denied) == 10 == len(world.executor.signed) + len(world.engine.queued)
    assert await counted(world) == [10 * ETHER]
    assert sorted({one.fields["limits"][0]["left"] for one in denied}) == ["0"]


async def test_limits__a_crash_between_reservation_and_signature__never_loosens_the_cap(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, ETHER)

    async def die() -> None:
        raise asyncio.CancelledError

    world.executor.meanwhile = die
    with pytest.raises(asyncio.CancelledError):
        await world.rpc(app, wallet, typed(ETHER, 0))
    world.executor.meanwhile = None

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, typed(1, 1))
    assert await standing(world) == [(ETHER, "reserved")]


async def test_limits__a_signature_that_failed__gives_its_part_back(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, ETHER)
    world.executor.failure = SignerUnavailable()
    with pytest.raises(SignerUnavailable):
        await world.rpc(app, wallet, typed(ETHER, 0))
    world.executor.failure = None

    await world.rpc(app, wallet, typed(ETHER, 0))

    assert await standing(world) == [(ETHER, "released"), (ETHER, "consumed")]
    assert await counted(world) == [ETHER]
