"""Cardano wallets from making to signature: their own methods only, on the same road as everything else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.custody import ALLOW_ALL, BOB, CHAIN, World, message, pure, send

from lockstep.chains.cardano import address_text, enterprise_address, key_hash, message_payload, read_address, read_body
from lockstep.chains.cardano import cbor as _cbor  # reads and writes envelopes; not part of the public names
from lockstep.custody import NewWallet, PolicyDenied, Principal, TransactionIntent, Wallet, claim_for
from lockstep.custody.errors import FamilyMismatch, SignatureMismatch, WalletFrozen
from lockstep.custody.execution import fingerprint, is_signed_by
from lockstep.custody.views import describe_wallet
from lockstep.kit.ids import new_id

SHOP = enterprise_address(bytes(32), "testnet")


def fee() -> dict[str, str]:
    return {"field_source": "cardano_transaction", "field": "fee", "operator": "lte", "value": "300000"}


def pays(most: int) -> list[dict[str, Any]]:
    def allow(name: str, *conditions: dict[str, str]) -> dict[str, Any]:
        return {
            "name": name,
            "method": "cardano_signTransaction",
            "action": "ALLOW",
            "conditions": [*conditions, fee()],
        }

    def tx(field: str, operator: str, value: str) -> dict[str, str]:
        return {"field_source": "cardano_transaction", "field": field, "operator": operator, "value": value}

    return [
        allow("pay", tx("address", "eq", address_text(SHOP)), tx("lovelace", "lte", str(most))),
        allow("keep", tx("is_own", "eq", "true")),
    ]


async def cardano_wallet(world: World, rules: list[dict[str, Any]] | None = None) -> tuple[Principal, Wallet]:
    app = await world.app()
    document = {"version": "1.0", "name": "p", "chain_type": "cardano", "rules": rules or ALLOW_ALL}
    async with world.database.tenant(app.tenant) as uow:
        policy = await world.custody.create_policy(uow, app, document)
    wanted = NewWallet(chain_type="cardano", policy_ids=(policy.id,))
    return app, await world.custody.create_wallet(app, wanted)


def body(wallet: Wallet, paid: int, **more: Any) -> bytes:
    own = read_address(wallet.native_address or "")
    return _cbor.write({0: [[bytes(32), 1]], 1: [[SHOP, paid], [own, 10**9]], 2: 200_000, **more})


def sign(content: bytes, **more: Any) -> dict[str, Any]:
    return {"method": "cardano_signTransaction", "params": {"body": "0x" + content.hex()}, **more}


async def test_create__cardano_wallet__has_an_enterprise_address_of_its_key(world: World) -> None:
    _, wallet = await cardano_wallet(world)

    assert (wallet.chain_type, len(wallet.public_key)) == ("cardano", 32)
    assert wallet.native_address == address_text(enterprise_address(wallet.public_key, "testnet"))
    assert wallet.address == fingerprint(wallet.public_key)
    assert describe_wallet(wallet)["address"] == wallet.native_address


async def test_transaction__that_is_allowed__is_signed_over_the_hash_of_its_bytes(world: World) -> None:
    app, wallet = await cardano_wallet(world, pays(5_000_000))
    content = body(wallet, 5_000_000)
    shown = await world.custody.preview(app, wallet.id, sign(content))
    assert shown.words.sentence == f"Send 5 ADA to {address_text(SHOP)} on Cardano, for a fee of 0.2 ADA"

    data = (await world.rpc(app, wallet, sign(content, preview_digest=shown.digest)))["data"]

    digest = read_body(content).id
    assert data["transaction_id"] == digest.hex()
    assert data["public_key"] == "0x" + wallet.public_key.hex()
    assert is_signed_by(wallet.public_key, digest, bytes.fromhex(data["signature"][2:]))
    (decision,) = await world.rows("select * from signing_decisions")
    assert (decision["method"], bytes(decision["request_digest"])) == ("cardano_signTransaction", digest)


async def test_transaction__that_pays_too_much__is_denied(world: World) -> None:
    app, wallet = await cardano_wallet(world, pays(5_000_000))

    with pytest.raises(PolicyDenied, match="Part 1 of 2"):
        await world.rpc(app, wallet, sign(body(wallet, 5_000_001)))
    assert world.executor.signed == []


async def test_data__is_signed_as_cip_8_says(world: World) -> None:
    app, wallet = await cardano_wallet(world)
    asked = {"method": "cardano_signData", "params": {"message": "hello", "encoding": "utf-8"}}

    data = (await world.rpc(app, wallet, asked))["data"]

    address = read_address(wallet.native_address or "")
    protected, _, content, signature = _cbor.read(bytes.fromhex(data["signature"][2:]))
    assert (_cbor.read(protected), content) == ({1: -8, "address": address}, b"hello")
    assert _cbor.read(bytes.fromhex(data["key"][2:]))[-2] == wallet.public_key
    assert is_signed_by(wallet.public_key, message_payload(address, b"hello"), signature)
    assert address[1:] == key_hash(wallet.public_key)


async def test_families__methods_of_the_other_one__are_refused_also_blind_ones(world: World) -> None:
    app, wallet = await cardano_wallet(world)
    blind = {"params": {"hash": "0x" + "ab" * 32}}

    for asked in (message(), send(), pure(), {"method": "secp256k1_sign", **blind}):
        with pytest.raises(FamilyMismatch):
            await world.rpc(app, wallet, asked)
        with pytest.raises(FamilyMismatch):
            await world.custody.preview(app, wallet.id, asked)
    claim = claim_for(app, "POST", f"/v1/wallets/{wallet.id}/raw_sign", new_id(), blind)
    with pytest.raises(FamilyMismatch):
        await world.custody.raw_sign(app, wallet.id, blind, claim)
    evm = await world.wallet(app)
    with pytest.raises(FamilyMismatch):
        await world.rpc(app, evm, sign(body(wallet, 1)))
    assert world.executor.signed == []
    assert world.engine.queued == []


async def test_transaction_of_a_module__from_a_cardano_wallet__is_not_decided_on(world: World) -> None:
    app, wallet = await cardano_wallet(world)
    intent = TransactionIntent(
        app_id=wallet.app_id,
        wallet_id=wallet.id,
        chain=CHAIN,
        from_address=wallet.address,
        to=BOB,
        value=1,
        data=b"",
        idempotency_key=new_id(),
    )
    with pytest.raises(FamilyMismatch):
        async with world.database.tenant(wallet.app_id) as uow:
            await world.custody.decide_transaction(uow, app, wallet, intent)


async def test_attack__public_key_swapped_in_the_row__makes_nothing_the_wallets_own(world: World) -> None:
    app, wallet = await cardano_wallet(world, pays(1))
    thief = bytes(range(32))
    stolen = address_text(enterprise_address(thief, "testnet"))
    async with world.database.system("attack") as uow:
        await uow.execute(
            "update wallets set public_key = %s, native_address = %s where id = %s", (thief, stolen, wallet.id)
        )
    content = _cbor.write({0: [[bytes(32), 1]], 1: [[read_address(stolen), 10**9]], 2: 200_000})

    with pytest.raises(SignatureMismatch):
        await world.rpc(app, wallet, sign(content))
    assert world.executor.signed == []


async def test_trap_12__frozen_while_the_signer_works__releases_nothing(world: World) -> None:
    app, wallet = await cardano_wallet(world)

    async def freeze() -> None:
        await world.custody.update_wallet(app, wallet.id, status="frozen")

    world.executor.meanwhile = freeze
    with pytest.raises(WalletFrozen):
        await world.rpc(app, wallet, sign(body(wallet, 1)))
    assert await world.rows("select 1 as x from released_signatures") == []
