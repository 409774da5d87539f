"""What a roll-up of the OP stack takes for publishing a transaction on its parent chain, beside the gas.

Source: `GasPriceOracle.getL1Fee(bytes)` of the OP stack at its fixed address: takes the unsigned transaction and adds the
size of a signature itself. Knows no headroom: the fee moves with the parent chain until the transaction is mined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockstep.chains.evm.abi import abi_decode, abi_encode, function_selector
from lockstep.chains.evm.client import EvmClient
from lockstep.chains.evm.errors import MalformedCalldata, NodeError
from lockstep.chains.evm.profiles import DataFee
from lockstep.chains.evm.transactions import UnsignedTransaction
from lockstep.chains.evm.types import Address, BlockRef

GAS_PRICE_ORACLE: Final = Address("0x420000000000000000000000000000000000000f")
_GET_FEE: Final = function_selector("getL1Fee(bytes)")


async def read_data_fees(client: EvmClient, transactions: Sequence[UnsignedTransaction], block: BlockRef) -> list[int]:
    """Data fee of each transaction at a block, wei; 0 where the chain has none beside the gas.

    Raises:
        NodeError: the chain does not answer as one of the OP stack: its profile may be wrong. NodeUnavailable.
    """
    if client.config.data_fee is not DataFee.OP_STACK:
        return [0] * len(transactions)
    calls = [(GAS_PRICE_ORACLE, _GET_FEE + abi_encode(["bytes"], [tx.signing_payload()])) for tx in transactions]
    fees = []
    for answer in await client.calls(calls, block):
        try:
            fees.append(int(abi_decode(["uint256"], answer)[0]) if isinstance(answer, bytes) else -1)
        except MalformedCalldata:
            fees.append(-1)
    if -1 in fees:
        raise NodeError(
            f"{client.config.name}: no answer from the OP stack's fee oracle; is the chain's profile right?"
        )
    return fees
