"""What tests of chain code need: a client for an anvil, its funded accounts, a deployed token, plain sends."""

from __future__ import annotations

import asyncio
from functools import cache

from eth_account import Account
from eth_account.signers.local import LocalAccount

from lockstep.app.devnet.anvil import Anvil
from lockstep.chains.evm import (
    Address,
    ChainConfig,
    Contract,
    EvmClient,
    Receipt,
    UnsignedTransaction,
    abi_encode,
    encode_signed,
    transaction_hash,
)

Account.enable_unaudited_hdwallet_features()
_PHRASE = "test test test test test test test test test test test junk"


@cache
def account(index: int = 0) -> LocalAccount:
    """One of anvil's ten funded accounts."""
    return Account.from_mnemonic(_PHRASE, account_path=f"m/44'/60'/0'/0/{index}")


def address(index: int = 0) -> Address:
    return Address(account(index).address.lower())


def config(anvil: Anvil, **changes: object) -> ChainConfig:
    fields: dict = {
        "chain": f"eip155:{anvil.chain_id}",
        "chain_id": anvil.chain_id,
        "name": "Local",
        "rpc_urls": [anvil.url],
        "finality_blocks": 2,
        "block_seconds": 1.0,
        "max_fee_per_gas": 10**12,
    }
    return ChainConfig(**(fields | changes))


def sign(signer: LocalAccount, tx: UnsignedTransaction) -> bytes:
    signature = signer.unsafe_sign_hash(tx.digest())
    return encode_signed(tx, signature.r, signature.s, signature.v - 27)


async def send(
    client: EvmClient,
    to: Address | None,
    data: bytes = b"",
    value: int = 0,
    *,
    index: int = 0,
    nonce: int | None = None,
) -> Receipt:
    """Send a transaction of one of anvil's accounts and wait for it: the node mines at once, but answers before it has."""
    head = await client.head()
    if nonce is None:
        nonce = (await client.nonces([address(index)], head))[0]
    tx = UnsignedTransaction(
        chain_id=client.config.chain_id,
        nonce=nonce,
        to=to,
        value=value,
        data=data,
        gas_limit=5_000_000,
        max_fee_per_gas=10**11,
        max_priority_fee_per_gas=10**9,
    )
    raw = sign(account(index), tx)
    result = await client.send_raw(raw)
    assert result.is_in_pool, result
    async with asyncio.timeout(10):
        while (receipt := (await client.receipts([transaction_hash(raw)]))[0]) is None:
            await asyncio.sleep(0.005)
    return receipt


def code_that_reverts(reason: str, loops_above: int = 2**32 - 1) -> bytes:
    """Code that reverts with a reason, or runs until its gas is used up when it gets more gas than that."""
    data = bytes.fromhex("08c379a0") + abi_encode(["string"], [reason])
    size = len(data).to_bytes(2, "big").hex()
    gas_check = f"63{loops_above:08x}5a11601857"
    copy_and_revert = f"61{size}601c600039" + f"61{size}6000fd"
    return bytes.fromhex(gas_check + copy_and_revert + "5b601856") + data


async def deploy(client: EvmClient, name: str, args: list[object]) -> Address:
    receipt = await send(client, None, Contract.load(name).encode_deploy(args))
    assert receipt.succeeded
    assert receipt.contract_address
    return receipt.contract_address
