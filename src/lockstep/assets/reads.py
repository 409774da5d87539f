"""Reads of tokens on their chain, all at one block: balances, allowances, what a token says about itself.

Knows ERC-20 and native coins; does not sign, send or cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.assets.types import Token, erc20_asset
from lockstep.chains.evm import (
    Address,
    BlockRef,
    CallReverted,
    EvmClient,
    MalformedCalldata,
    abi_decode,
    abi_encode_call,
)


def transfer_call(to: Address, amount: int) -> bytes:
    """Calldata of ERC-20 transfer."""
    return abi_encode_call("transfer(address,uint256)", [to, amount])


def approve_call(spender: Address, amount: int) -> bytes:
    """Calldata of ERC-20 approve."""
    return abi_encode_call("approve(address,uint256)", [spender, amount])


async def read_balance(client: EvmClient, token: Token, owner: Address, block: BlockRef) -> int:
    """Balance in the smallest unit at a block."""
    return (await read_balances(client, [(token, owner)], block))[0]


async def read_balances(client: EvmClient, wanted: Sequence[tuple[Token, Address]], block: BlockRef) -> list[int]:
    """Balances in the smallest unit at one block, in one batch per kind.

    A token contract that reverts or answers with something else holds nothing that we could count: 0.
    """
    natives = [owner for token, owner in wanted if token.address is None]
    erc20s = [(token.address, owner) for token, owner in wanted if token.address is not None]
    native_amounts = iter(await client.balances(natives, block) if natives else [])
    answers = await client.calls(
        [(address, abi_encode_call("balanceOf(address)", [owner])) for address, owner in erc20s], block
    )
    erc20_amounts = iter(_amount(answer) for answer in answers)
    return [next(native_amounts if token.address is None else erc20_amounts) for token, _ in wanted]


async def read_allowance(client: EvmClient, token: Token, owner: Address, spender: Address, block: BlockRef) -> int:
    """What `spender` may move of the owner's tokens at a block, smallest unit; 0 for a native coin."""
    if token.address is None:
        return 0
    call = abi_encode_call("allowance(address,address)", [owner, spender])
    return _amount((await client.calls([(token.address, call)], block))[0])


async def read_token(client: EvmClient, address: Address, block: BlockRef) -> Token:
    """What an ERC-20 contract says about itself at a block.

    Raises:
        CallReverted, MalformedCalldata: it is no ERC-20 token with metadata.
    """
    calls = [(address, abi_encode_call(f"{name}()", [])) for name in ("symbol", "name", "decimals")]
    answers = await client.calls(calls, block)
    for answer in answers:
        if isinstance(answer, CallReverted):
            raise answer
    symbol, name, decimals = (answer for answer in answers if isinstance(answer, bytes))
    return Token(
        asset=erc20_asset(client.chain, address),
        chain=client.chain,
        address=address,
        symbol=str(abi_decode(["string"], symbol)[0])[:32],
        name=str(abi_decode(["string"], name)[0])[:64],
        decimals=int(abi_decode(["uint8"], decimals)[0]),
    )


def _amount(answer: bytes | CallReverted) -> int:
    if isinstance(answer, CallReverted):
        return 0
    try:
        return int(abi_decode(["uint256"], answer)[0])
    except MalformedCalldata:
        return 0
