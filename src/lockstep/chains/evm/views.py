"""Many view calls at one block in a handful of requests: Multicall3 where the chain has it, JSON-RPC batches otherwise.

The contracts that are called may be anybody's. One that uses up the gas of a whole request makes its neighbours fail, so a
call that failed among others is asked again by itself, and only that counts: nobody's answer depends on his company, and
a revert carries the reason that it has alone. What changes is `msg.sender`, which is the multicall's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from lockstep.chains.evm.abi import abi_decode, function_selector
from lockstep.chains.evm.addresses import address_to_bytes
from lockstep.chains.evm.errors import CallReverted, MalformedCalldata
from lockstep.chains.evm.nodes import Call, RpcFault
from lockstep.chains.evm.types import Address, BlockRef
from lockstep.chains.evm.wire import to_bytes, to_hex

MULTICALL = Address("0xca11bde05977b3631167028862be2a173976ca11")
"""Multicall3: the same address on nearly all chains."""

Ask = Callable[[Sequence[Call]], Awaitable[list[Any | RpcFault]]]
View = tuple[Address, bytes]
"""Contract and calldata."""

_FEWEST = 8
"""Fewer calls than this cost a node no more as a batch."""
_MOST = 400
_MOST_BYTES = 128 * 1024
"""Of one aggregate: with 60,000 gas for each call it stays within the 30 to 50 million that nodes spend on one eth_call."""
_SELECTOR = function_selector("aggregate3((address,bool,bytes)[])")


class ViewReader:
    """View calls of one chain."""

    def __init__(self) -> None:
        self._has_multicall: bool | None = None

    async def read(self, views: Sequence[View], block: BlockRef, ask: Ask) -> list[bytes | CallReverted]:
        """The results in the order of the calls, all of them at this block; a revert stands in its place.

        Args:
            ask: has nodes answer a batch, in few requests.
        Raises:
            NodeUnavailable, NodeError: the block is gone or not there yet, or a call cannot be answered at all.
            What `ask` raises.
        """
        results: dict[int, bytes | CallReverted] = {}
        if len(views) >= _FEWEST and await self._is_there(block, ask):
            results |= await self._aggregate(views, block, ask)
        rest = [index for index in range(len(views)) if index not in results]
        answers = await ask([_eth_call(*views[index], block) for index in rest]) if rest else []
        for index, answer in zip(rest, answers, strict=True):
            results[index] = _result(answer)
        return [results[index] for index in range(len(views))]

    async def _is_there(self, block: BlockRef, ask: Ask) -> bool:
        """Whether the chain has Multicall3; asked once."""
        if self._has_multicall is None:
            code = (await ask([("eth_getCode", [MULTICALL, block_param(block)])]))[0]
            if isinstance(code, RpcFault):
                raise code.error()
            self._has_multicall = to_bytes(code) != b""
        return self._has_multicall

    async def _aggregate(self, views: Sequence[View], block: BlockRef, ask: Ask) -> dict[int, bytes | CallReverted]:
        """Results by index of the calls that succeeded; what is missing failed, or could not be asked in this way."""
        parts = _parts(views)
        answers = await ask([_eth_call(MULTICALL, encode_aggregate(views[a:b]), block) for a, b in parts])
        results: dict[int, bytes | CallReverted] = {}
        for (start, end), answer in zip(parts, answers, strict=True):
            if isinstance(answer, RpcFault):
                continue
            try:
                (outcomes,) = abi_decode(["(bool,bytes)[]"], to_bytes(answer))
            except MalformedCalldata:
                continue  # an older block, from before it was deployed
            if len(outcomes) == end - start:
                results |= {start + at: data for at, (succeeded, data) in enumerate(outcomes) if succeeded}
        return results


def encode_aggregate(views: Sequence[View]) -> bytes:
    """Calldata of Multicall3's aggregate3; each call may fail. By hand: a general encoder takes longer than the node."""
    heads, tails, offset = [], [], 32 * len(views)
    for address, data in views:
        padded = data + bytes(-len(data) % 32)
        heads.append(offset.to_bytes(32, "big"))
        tails += [bytes(12), address_to_bytes(address), _ALLOWED, _DATA_AT, len(data).to_bytes(32, "big"), padded]
        offset += 128 + len(padded)
    return b"".join([_SELECTOR, _ARRAY_AT, len(views).to_bytes(32, "big"), *heads, *tails])


_ARRAY_AT, _ALLOWED, _DATA_AT = (number.to_bytes(32, "big") for number in (32, 1, 96))


def block_param(block: BlockRef) -> dict[str, object]:
    """A block by hash (EIP-1898), so that a reorganisation is an error and not a silent change of state."""
    return {"blockHash": to_hex(block.hash), "requireCanonical": True}


def _parts(views: Sequence[View]) -> list[tuple[int, int]]:
    """First and last (excluded) of each aggregate, within the bounds of calls and bytes."""
    parts, start, size = [], 0, 0
    for index, (_, data) in enumerate(views):
        if index > start and (index - start == _MOST or size + len(data) > _MOST_BYTES):
            parts.append((start, index))
            start, size = index, 0
        size += len(data)
    return [*parts, (start, len(views))]


def _eth_call(to: Address, data: bytes, block: BlockRef) -> Call:
    return "eth_call", [{"to": to, "data": to_hex(data)}, block_param(block)]


def _result(answer: Any | RpcFault) -> bytes | CallReverted:
    if not isinstance(answer, RpcFault):
        return to_bytes(answer)
    error = answer.error()
    if not isinstance(error, CallReverted):
        raise error
    return error
