"""What is known about a chain before the first question to a node: names, addresses of nodes, finality and fee bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lockstep.chains.evm.addresses import parse_chain
from lockstep.chains.evm.profiles import MAX_TRANSACTION_GAS, DataFee, FeeStyle, FinalityTag
from lockstep.chains.evm.transactions import TransactionType
from lockstep.chains.evm.types import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig:
    """One configured chain.

    Raises:
        ValueError: name and id do not fit, no node, or a bound that makes no sense.
    """

    chain: str
    """CAIP-2 name, for example "eip155:31337"."""
    chain_id: int
    name: str
    rpc_urls: Sequence[str] = field(repr=False)
    """Nodes, the preferred one first. May carry keys, so they never show."""
    private_rpc_url: str | None = field(default=None, repr=False)
    """A node that keeps what it is sent out of the public pool; may carry a key."""
    private_by_default: bool = False
    """Whether transactions that say nothing about it are sent to the private node only."""
    private_fallback_blocks: int | None = None
    """Blocks after which an unmined private transaction is sent to all nodes; None: never."""
    finality_blocks: int
    """A block is final when it lies at least this deep below the head …"""
    finality_tag: FinalityTag | None = None
    """… and, where this is given, not above the block that `read_quorum` nodes give this name."""
    block_seconds: float
    """Usual time between blocks; only paces polling."""
    max_fee_per_gas: int
    """Wei; the ceiling of every transaction that does not name a lower one. Above it we wait."""
    min_priority_fee_per_gas: int = 1_000_000
    """Wei; floor of the tip, on legacy chains of the gas price."""
    fee_style: FeeStyle = FeeStyle.EIP1559
    has_fee_auction: bool = True
    data_fee: DataFee = DataFee.IN_GAS
    transaction_gas_cap: int | None = MAX_TRANSACTION_GAS
    """These four as in `ChainProfile`."""
    contracts: Mapping[str, Address] = field(default_factory=dict)
    first_block: int = 0
    """Where followers begin that have no checkpoint yet: the block of our oldest contract."""
    read_quorum: int = 1
    """How many nodes must give the same answer to a reading that money depends on; 1: one node is believed."""
    ws_url: str | None = field(default=None, repr=False)
    """WebSocket of a node that announces new blocks; None: heads are polled."""
    request_seconds: float = 5.0
    batch_size: int = 200
    """Most calls in one JSON-RPC batch."""
    log_range: int = 10_000
    """Most blocks in one eth_getLogs; less where the nodes refuse it."""
    blooms: bool = True
    """Whether the bloom of a block speaks of all its logs."""

    @property
    def stale_seconds(self) -> float:
        """Age of a head from which on its node, or the chain, counts as standing still."""
        return max(60.0, 20 * self.block_seconds)

    @property
    def transaction_type(self) -> TransactionType:
        """Type of the transactions that are sent here."""
        return 0 if self.fee_style is FeeStyle.LEGACY else 2

    def __post_init__(self) -> None:
        if parse_chain(self.chain) != self.chain_id:
            raise ValueError(f"{self.chain} does not have the chain id {self.chain_id}")
        if not self.rpc_urls:
            raise ValueError(f"{self.chain} has no node")
        if not 1 <= self.read_quorum <= len(self.rpc_urls):
            raise ValueError(f"{self.chain}: a read quorum of {self.read_quorum} needs as many nodes")
        if self.private_by_default and self.private_rpc_url is None:
            raise ValueError(f"{self.chain}: private_by_default needs a private_rpc_url")
        if self.finality_blocks < 0:
            raise ValueError(f"{self.chain}: finality_blocks is negative")
        if self.max_fee_per_gas < self.min_priority_fee_per_gas:
            raise ValueError(f"{self.chain}: max_fee_per_gas lies below min_priority_fee_per_gas")
        if self.ws_url is not None and not self.ws_url.startswith(("ws://", "wss://")):
            raise ValueError(f"{self.chain}: expected ws:// or wss:// in ws_url")
        if self.log_range < 1:
            raise ValueError(f"{self.chain}: log_range is below 1")
        if self.batch_size < 1:
            raise ValueError(f"{self.chain}: batch_size is below 1")
