"""What an order's own chain says about it: signature of a contract, balance, allowance, nonce and hashlock; at one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.auctions import codec
from lockstep.auctions.errors import OrderSignatureInvalid
from lockstep.auctions.rules import validity_of
from lockstep.auctions.types import Order, SignedOrder, Validity
from lockstep.chains.evm import (
    Address,
    BlockRef,
    CallReverted,
    EvmClient,
    MalformedCalldata,
    abi_decode,
    abi_encode_call,
    recover_address,
)

_VALID_1271 = bytes.fromhex("1626ba7e").ljust(32, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class MakerFacts:
    """An order on its chain, at one block."""

    balance: int
    allowance: int
    is_nonce_used: bool
    is_hashlock_used: bool
    minimum_window: int

    def validity(self, signed: SignedOrder) -> Validity:
        """Whether the order could be filled at that block, apart from its time."""
        return validity_of(
            signed.order,
            balance=self.balance,
            allowance=self.allowance,
            has_permit=bool(signed.permit),
            is_nonce_used=self.is_nonce_used,
        )


async def check_signature(client: EvmClient, signed: SignedOrder, block: BlockRef) -> None:
    """Whether the maker signed, in the way that the factory will ask: a maker with code is asked itself (EIP-1271).

    Raises:
        BadSignature: not 65 bytes, or malleated. OrderSignatureInvalid: another signer, or the wrong kind.
    """
    order = signed.order
    is_contract = await client.code(order.maker, block) != b""
    if is_contract != (signed.signature_kind == "eip1271"):
        expected = "eip1271: the maker is a contract" if is_contract else "eip712: the maker is no contract"
        raise OrderSignatureInvalid(f"expected the signature kind {expected}")
    if not is_contract:
        signer = recover_address(signed.hash, signed.signature)
        if signer != order.maker:
            raise OrderSignatureInvalid(f"expected the signature of {order.maker}, was by {signer}")
        return
    call = abi_encode_call("isValidSignature(bytes32,bytes)", [signed.hash, signed.signature])
    answer = (await client.calls([(order.maker, call)], block))[0]
    if answer != _VALID_1271:
        raise OrderSignatureInvalid("the maker's contract does not accept the signature")


async def read_makers(client: EvmClient, orders: Sequence[Order], block: BlockRef) -> list[MakerFacts]:
    """Facts of many orders of one chain, in one batch. A token that does not answer counts as empty."""
    calls: list[tuple[Address, bytes]] = []
    for order in orders:
        factory = codec.factory()
        calls += [
            (order.source_token, abi_encode_call("balanceOf(address)", [order.maker])),
            (
                order.source_token,
                abi_encode_call("allowance(address,address)", [order.maker, order.source_factory]),
            ),
            (order.source_factory, factory.encode("isNonceUsed", [order.maker, order.nonce])),
            (order.source_factory, factory.encode("isHashlockUsed", [order.maker, order.hashlock])),
            (order.source_factory, factory.encode("minimumWindow")),
        ]
    answers = await client.calls(calls, block)
    facts = []
    for index in range(0, len(answers), 5):
        balance, allowance, nonce, hashlock, window = (_number(answer) for answer in answers[index : index + 5])
        facts.append(
            MakerFacts(
                balance=balance,
                allowance=allowance,
                is_nonce_used=nonce != 0,
                is_hashlock_used=hashlock != 0,
                minimum_window=window,
            )
        )
    return facts


async def read_taker(client: EvmClient, token: Address, taker: Address, factory: Address, block: BlockRef) -> int:
    """How much of a token the factory could move from a taker now: the smaller of balance and allowance."""
    answers = await client.calls(
        [
            (token, abi_encode_call("balanceOf(address)", [taker])),
            (token, abi_encode_call("allowance(address,address)", [taker, factory])),
        ],
        block,
    )
    return min(_number(answer) for answer in answers)


def _number(answer: bytes | CallReverted) -> int:
    if isinstance(answer, CallReverted):
        return 0
    try:
        return int(abi_decode(["uint256"], answer)[0])
    except MalformedCalldata:
        return 0
