"""What differs between kinds of EVM chains, as data: fees, gas, finality. A deployment names a kind and may override each
value; nothing else in Lockstep asks which chain it is on.

Sources: EIP-1559, EIP-7825; the OP stack's `GasPriceOracle`; the gas chapters of the Arbitrum, Polygon PoS and ZKsync
documentation. Does not know addresses of nodes or contracts of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

MAX_TRANSACTION_GAS: Final = 2**24
"""Cap per transaction of EIP-7825."""

FinalityTag = Literal["finalized", "safe"]


class FeeStyle(StrEnum):
    """How a transaction names what it pays."""

    EIP1559 = "eip1559"
    """Type 2: a fee cap and a tip cap."""
    LEGACY = "legacy"
    """Type 0: one gas price."""


class DataFee(StrEnum):
    """How a roll-up charges for publishing a transaction on its parent chain."""

    IN_GAS = "in_gas"
    """In the gas estimate, or not at all: nothing to add."""
    OP_STACK = "op_stack"
    """Taken from the balance beside the gas; `GasPriceOracle.getL1Fee` says how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainProfile:
    """The defaults of one kind of chain."""

    block_seconds: float
    finality_blocks: int
    """A final block lies at least this deep …"""
    finality_tag: FinalityTag | None
    """… and is not above the block that nodes give this name."""
    fee_style: FeeStyle = FeeStyle.EIP1559
    min_priority_fee_per_gas: int
    """Wei; the least tip that gets a transaction in."""
    has_fee_auction: bool = True
    """Whether paying more gets a waiting transaction in sooner. Where a sequencer takes what covers the base fee in the order
    of arrival, a dearer form is made only when the fee cap lies below the base fee."""
    data_fee: DataFee = DataFee.IN_GAS
    transaction_gas_cap: int | None = MAX_TRANSACTION_GAS
    """Most gas of one transaction; None: only the block's own limit. Bounds the headroom over an estimate."""
    blooms: bool = True
    """Whether a block's bloom speaks of all its logs."""


PROFILES: Final[Mapping[str, ChainProfile]] = MappingProxyType(
    {
        "ethereum": ChainProfile(
            block_seconds=12.0,
            finality_blocks=0,
            finality_tag="finalized",
            min_priority_fee_per_gas=1_000_000,
        ),
        "polygon": ChainProfile(
            block_seconds=2.0,
            finality_blocks=0,
            finality_tag="finalized",  # milestones
            min_priority_fee_per_gas=25_000_000_000,  # PIP-35
            blooms=False,  # logs of state syncs are in none
        ),
        "arbitrum": ChainProfile(
            block_seconds=0.25,
            finality_blocks=0,
            finality_tag="finalized",
            min_priority_fee_per_gas=0,  # tips are not collected
            has_fee_auction=False,
            transaction_gas_cap=None,
        ),
        "optimism": ChainProfile(
            block_seconds=2.0,
            finality_blocks=0,
            finality_tag="finalized",
            min_priority_fee_per_gas=1,  # its pools want a tip above 0
            data_fee=DataFee.OP_STACK,
        ),
        "zksync": ChainProfile(
            block_seconds=1.0,
            finality_blocks=0,
            finality_tag="finalized",
            min_priority_fee_per_gas=0,  # tips are not collected
            has_fee_auction=False,
            transaction_gas_cap=None,
            blooms=False,  # nodes show none
        ),
        "legacy": ChainProfile(
            block_seconds=3.0,
            finality_blocks=64,
            finality_tag=None,
            fee_style=FeeStyle.LEGACY,
            min_priority_fee_per_gas=0,
        ),
    }
)
"""`optimism` stands for all chains of the OP stack, Base among them; `legacy` for chains without EIP-1559."""
