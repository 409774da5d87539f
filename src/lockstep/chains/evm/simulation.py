"""What a transaction would move, as the nodes' `eth_simulateV1` tells it, coins that contracts send included.

Source: execution-apis, `eth_simulateV1` with `traceTransfers`: moves of the native coin appear as ERC-20 `Transfer` logs of the
address 0xeeee…. Knows fungible tokens only: a `Transfer` with an indexed third argument is an NFT's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.chains.evm.abi import event_topic
from lockstep.chains.evm.addresses import address_from_word
from lockstep.chains.evm.client import EvmClient
from lockstep.chains.evm.errors import BadAddress
from lockstep.chains.evm.nodes import RpcFault
from lockstep.chains.evm.types import Address, BlockRef
from lockstep.chains.evm.views import block_param
from lockstep.chains.evm.wire import to_bytes, to_hex

_TRANSFER: Final = event_topic("Transfer(address,address,uint256)")
_NATIVE: Final = "0x" + "ee" * 20
_MISSING_CODE: Final = -32601
_MISSING_TEXTS: Final = ("method not found", "does not exist", "not supported", "unsupported", "not available")


@dataclass(frozen=True, slots=True)
class Transfer:
    """A move of coins or tokens, smallest unit."""

    token: Address | None
    """None: the native coin."""
    sender: Address
    recipient: Address
    amount: int


class TransferSimulator:
    """Asks the nodes of one chain; one that said that it does not know the method is not asked again by this process."""

    def __init__(self, client: EvmClient) -> None:
        self._client = client
        self._is_offered = True

    async def transfers(
        self, sender: Address, to: Address | None, data: bytes, value: int, block: BlockRef
    ) -> list[Transfer] | None:
        """What would move if the transaction were the first of the next block; None when no node can say, and when it would
        fail.

        Raises:
            NodeUnavailable: no node answered.
        """
        if not self._is_offered:
            return None
        call = {"from": sender, "input": to_hex(data), "value": to_hex(value)} | ({} if to is None else {"to": to})
        asked = {"blockStateCalls": [{"calls": [call]}], "traceTransfers": True, "validation": False}
        (answer,) = await self._client.batch([("eth_simulateV1", [asked, block_param(block)])])
        if isinstance(answer, RpcFault):
            text = answer.message.lower()
            self._is_offered = answer.code != _MISSING_CODE and not any(part in text for part in _MISSING_TEXTS)
            return None
        return _read(answer)


def _read(answer: Any) -> list[Transfer] | None:
    """Transfers of the one simulated call; None when it failed or the answer has another shape."""
    try:
        (block,) = answer
        (call,) = block["calls"]
        if call["status"] != "0x1":
            return None
        found = [_transfer(log) for log in call["logs"]]
    except (KeyError, TypeError, ValueError):
        return None
    return [transfer for transfer in found if transfer is not None]


def _transfer(log: Mapping[str, Any]) -> Transfer | None:
    topics: Sequence[bytes] = [to_bytes(topic) for topic in log["topics"]]
    data = to_bytes(log["data"])
    if len(topics) != 3 or topics[0] != _TRANSFER or len(data) != 32:
        return None
    try:
        sender, recipient = address_from_word(topics[1]), address_from_word(topics[2])
    except BadAddress:  # a contract logs what it likes
        return None
    token = str(log["address"]).lower()
    return Transfer(None if token == _NATIVE else Address(token), sender, recipient, int.from_bytes(data, "big"))
