"""Blind signing on the one road: only where a rule names it, audited, withheld like everything else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.custody import World

from lockstep.chains.evm import keccak256, recover_address
from lockstep.custody import PolicyDenied, Principal, Wallet, claim_for
from lockstep.custody.errors import WalletFrozen
from lockstep.kit.ids import new_id

NAMED = [
    {"name": "blind", "method": "secp256k1_sign", "action": "ALLOW", "conditions": [], "unconditional": True},
]
HASH = bytes(range(32))
ASKED = {"method": "secp256k1_sign", "params": {"hash": "0x" + HASH.hex()}}


async def raw(
    world: World, caller: Principal, wallet: Wallet, params: dict[str, Any], key: str | None = None
) -> dict[str, Any]:
    body = {"params": params}
    claim = claim_for(caller, "POST", f"/v1/wallets/{wallet.id}/raw_sign", key or new_id(), body)
    return (await world.custody.raw_sign(caller, wallet.id, body, claim)).body


async def test_hash__that_a_rule_allows_by_name__is_signed_and_recorded(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, NAMED)

    answer = await world.rpc(app, wallet, ASKED)
    same = await raw(world, app, wallet, {"hash": "0x" + HASH.hex()})

    assert (answer["method"], same["method"]) == ("secp256k1_sign", "raw_sign")
    assert answer["data"] == same["data"]
    assert recover_address(HASH, bytes.fromhex(answer["data"]["signature"][2:])) == wallet.address
    decisions = await world.rows("select method, request_digest from signing_decisions")
    assert [(row["method"], bytes(row["request_digest"])) for row in decisions] == [("secp256k1_sign", HASH)] * 2


async def test_bytes__are_hashed_by_the_signer(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, NAMED)
    params = {"bytes": "hello", "encoding": "utf-8", "hash_function": "keccak256"}

    first = await raw(world, app, wallet, params, key="one")

    assert recover_address(keccak256(b"hello"), bytes.fromhex(first["data"]["signature"][2:])) == wallet.address
    assert world.executor.signed[-1].payload.encode() == b"\x01hello"
    assert await raw(world, app, wallet, params, key="one") == first
    assert len(world.executor.signed) == 1


async def test_trap_11__blind_signing__is_not_covered_by_a_rule_for_everything(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, ASKED)
    with pytest.raises(PolicyDenied):
        await raw(world, app, wallet, {"hash": "0x" + HASH.hex()})
    assert world.executor.signed == []
    denied = await world.rows("select reason_code from signing_decisions where not allowed")
    assert [row["reason_code"] for row in denied] == ["no_matching_rule"] * 2


async def test_trap_12__frozen_while_the_signer_works__releases_nothing(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, NAMED)

    async def freeze() -> None:
        await world.custody.update_wallet(app, wallet.id, status="frozen")

    world.executor.meanwhile = freeze
    with pytest.raises(WalletFrozen):
        await raw(world, app, wallet, {"hash": "0x" + HASH.hex()})
    assert await world.rows("select 1 as x from released_signatures") == []
