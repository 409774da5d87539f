"""What a deployment knows of its chains, its tokens, and the time between two chains."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Literal, Self

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from lockstep.app.settings.values import ChainName, EvmAddress, Section
from lockstep.assets import Token, erc20_asset
from lockstep.chains.evm import (
    PROFILES,
    Address,
    ChainConfig,
    ChainProfile,
    DataFee,
    FeeStyle,
    parse_chain,
)

TEST_CHAINS = frozenset(
    {31337, 31338, 1337, 11155111, 17000, 560048, 80002, 421614, 11155420, 84532, 300, 59141, 10200, 97}
)
"""Ids of local chains and of public test networks. On every other chain real money may move."""


class TokenSettings(Section):
    """A token of a chain."""

    address: EvmAddress
    symbol: str = Field(min_length=1, max_length=32)
    decimals: int = Field(ge=0, le=77)
    name: str = Field(min_length=1, max_length=128)


class ChainSettings(Section):
    """One EVM chain, its nodes, our contracts and the tokens we know there."""

    chain: ChainName
    """CAIP-2 name, for example "eip155:31337"."""
    name: str = Field(min_length=1, max_length=64)
    """What people are shown."""
    rpc_urls: tuple[SecretStr, ...] = Field(min_length=1)
    """Nodes, the preferred one first; secret, because many carry a key."""
    ws_url: SecretStr | None = None
    """WebSocket of a node that announces new blocks (`eth_subscribe`); without it the nodes are polled."""
    private_rpc_url: SecretStr | None = None
    """Node that keeps what it is sent out of the public pool, for private transactions; they go nowhere else."""
    private_by_default: bool = False
    """Whether transactions that say nothing about it are private."""
    private_fallback_blocks: int | None = Field(None, ge=1)
    """Blocks after which an unmined private transaction goes to all nodes; without it, never."""
    read_quorum: int = Field(1, ge=1)
    """How many of the nodes must agree where money depends on it: states of escrows, blocks that count as final."""
    profile: Literal["ethereum", "polygon", "arbitrum", "optimism", "zksync", "legacy"] = "ethereum"
    """Kind of chain; gives the defaults of what is left out below. `optimism` is every chain of the OP stack, Base too."""
    finality_blocks: int | None = Field(None, ge=0)
    """How deep a block must lie to be final."""
    finality_tag: Literal["finalized", "safe", "none"] | None = None
    """Name that nodes give to the highest final block; with `finality_blocks` both must hold. Only where neither is given, the profile decides."""
    block_seconds: float | None = Field(None, gt=0)
    """Usual time between blocks."""
    fee_style: FeeStyle | None = None
    """`eip1559`: transactions name a fee cap with a tip (type 2). `legacy`: one gas price (type 0)."""
    has_fee_auction: bool | None = None
    """Whether a higher fee gets a waiting transaction in sooner; without, it is raised only when the base fee has passed it."""
    data_fee: DataFee | None = None
    """How a roll-up charges for its parent chain: `in_gas`, or `op_stack` beside the gas."""
    transaction_gas_cap: int | None = Field(None, gt=0)
    """Most gas of one transaction; bounds the headroom over an estimate."""
    max_fee_per_gas: int = Field(gt=0)
    """Wei; the ceiling of every transaction that does not name a lower one."""
    min_priority_fee_per_gas: int | None = Field(None, ge=0)
    """Wei; the least tip that is offered, on legacy chains the least gas price."""
    log_range: int = Field(10_000, ge=1)
    """Most blocks that the nodes are asked for the logs of at once; found out where they allow less."""
    blooms: bool | None = None
    """Whether a block's bloom speaks of all its logs, so that a node which leaves some out is found out."""
    contracts: dict[str, EvmAddress] = Field(default_factory=dict)
    """Our contracts by name, for example {"EscrowFactory": "0x…"}."""
    first_block: int = Field(0, ge=0)
    """Block of our oldest contract."""
    low_balance_wei: int = Field(0, ge=0)
    """An account that sends and has less is counted in the metrics, logged, and named by `lockstep doctor`; 0: none is."""
    minimum_deposit_wei: int = Field(0, ge=0)
    """Least safety deposit of an order on this chain: a multiple of the gas of the public duties."""
    tokens: tuple[TokenSettings, ...] = ()
    """Each with `address`, `symbol`, `decimals`, `name`: previews show amounts of these in words."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.finality_tag == "none" and self.finality_blocks is None:
            raise ValueError("without a finality_tag, finality_blocks says how deep a final block lies")
        self.config()
        return self

    def config(self) -> ChainConfig:
        """The form in which the chain client wants it: what is given, and the profile's values for the rest."""
        given = {one.name: value for one in fields(ChainProfile) if (value := getattr(self, one.name)) is not None}
        if given.keys() & {"finality_blocks", "finality_tag"}:
            given = {"finality_blocks": 0, "finality_tag": None} | given
        if self.finality_tag == "none":
            given["finality_tag"] = None
        return ChainConfig(
            **asdict(replace(PROFILES[self.profile], **given)),
            chain=self.chain,
            chain_id=parse_chain(self.chain),
            name=self.name,
            rpc_urls=tuple(url.get_secret_value() for url in self.rpc_urls),
            ws_url=self.ws_url.get_secret_value() if self.ws_url is not None else None,
            private_rpc_url=None if self.private_rpc_url is None else self.private_rpc_url.get_secret_value(),
            private_by_default=self.private_by_default,
            private_fallback_blocks=self.private_fallback_blocks,
            read_quorum=self.read_quorum,
            max_fee_per_gas=self.max_fee_per_gas,
            contracts={name: Address(address) for name, address in self.contracts.items()},
            first_block=self.first_block,
            log_range=self.log_range,
        )

    def registered_tokens(self) -> list[Token]:
        """The tokens as the registry wants them."""
        return [
            Token(
                asset=erc20_asset(self.chain, Address(token.address)),
                chain=self.chain,
                address=Address(token.address),
                symbol=token.symbol,
                decimals=token.decimals,
                name=token.name,
            )
            for token in self.tokens
        ]


class ChainPairSettings(Section):
    """What is known about the time that a swap between two chains needs; whole seconds, one entry per direction."""

    source: ChainName
    """CAIP-2 name of the chain that the maker sells on."""
    destination: ChainName
    """CAIP-2 name of the chain that the maker is paid on."""
    source_finality: int = Field(ge=0)
    """Until a block of the source is final."""
    destination_finality: int = Field(ge=0)
    """Until a block of the destination is final."""
    source_inclusion: int = Field(ge=1)
    """How long a transaction of ours waits for its block, at the 99th percentile."""
    destination_inclusion: int = Field(ge=1)
    """The same on the destination."""
    clock_skew: int = Field(ge=0)
    """How far the clocks of both chains may stand apart, block interval included."""
    public_duty: int = Field(ge=1)
    """How long after its window opens the public withdrawal may need to start."""
