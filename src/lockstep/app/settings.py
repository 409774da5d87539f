"""The settings of each role, read once from ``LOCKSTEP_*`` variables, frozen, with all faults reported together.

One class per role, so that a process reads only what it may know: the signer never sees the key of the auth shares, and
`serve` and `work` never see that of the exec shares. Nested values join their names with two underscores
(``LOCKSTEP_HTTP__PORT``). Every top-level value may stand in a file instead, named by ``…_FILE``, written the
same way (lists of things are JSON). Load with ``load_settings(Settings, PREFIX)`` of `lockstep.kit.settings`. Opens no connection.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from limits import parse_many
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lockstep.assets import Token, erc20_asset
from lockstep.chains.evm import (
    PROFILES,
    Address,
    BadAddress,
    ChainConfig,
    ChainProfile,
    DataFee,
    FeeStyle,
    UnknownChain,
    parse_address,
    parse_chain,
)

T = TypeVar("T")

PREFIX = "LOCKSTEP_"

TEST_CHAINS = frozenset(
    {31337, 31338, 1337, 11155111, 17000, 560048, 80002, 421614, 11155420, 84532, 300, 59141, 10200, 97}
)
"""Ids of local chains and of public test networks. On every other chain real money may move."""


class _Unreadable:
    """Stands for a value whose file could not be read, so that the fault is reported with the others."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _refuse_unreadable(value: object) -> object:
    if isinstance(value, _Unreadable):
        raise ValueError(value.reason)
    return value


def _read_json(value: object) -> object:
    value = _refuse_unreadable(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"expected JSON: {error}") from error


def _read_words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _check_address(text: str) -> Address:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(error.detail) from error


def _check_chain(text: str) -> str:
    try:
        parse_chain(text)
    except UnknownChain as error:
        raise ValueError(error.detail) from error
    return text


def _check_rate(text: str) -> str:
    try:
        parse_many(text)
    except ValueError:
        raise ValueError('expected a rate, for example "100/second" or "50/second;1000/minute"') from None
    return text


EvmAddress = Annotated[str, AfterValidator(_check_address)]
"""A contract's address; a wrong checksum is refused, lower case is kept."""
ChainName = Annotated[str, AfterValidator(_check_chain)]
Rate = Annotated[str, AfterValidator(_check_rate)]
"""Requests per time, in the notation of `RateLimits`."""
FileableSecret = Annotated[SecretStr, BeforeValidator(_refuse_unreadable), Field(min_length=1)]
Json = (NoDecode, BeforeValidator(_read_json))
"""A value that is written as JSON, with a fault of its own instead of one that hides all others."""
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_words)]
"""Several words, divided by commas."""


def _named() -> Any:
    """A required group: what is missing is reported by the names of its values, not as the group."""
    return Field(default_factory=dict, validate_default=True)


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class HttpSettings(Section):
    """How `serve` listens and whom it trusts."""

    host: str = "127.0.0.1"
    """Address that `serve` listens on."""
    port: int = Field(8080, ge=1, le=65535)
    """Port that `serve` listens on."""
    public_url: str = Field("http://127.0.0.1:8080", pattern=r"^https?://[^\s/]+$")
    """Where browsers and other machines reach us; without a path."""
    trusted_hosts: Words = ("127.0.0.1", "localhost", "[::1]")
    """Host headers that are answered."""
    cors_origins: Words = ()
    """Origins whose scripts may call us."""
    trusted_proxies: Words = ("127.0.0.1",)
    """Addresses whose X-Forwarded-For is believed."""
    max_body_bytes: int = Field(1 << 20, ge=1 << 10)
    """Largest body of a request."""
    shutdown_seconds: float = Field(10.0, gt=0)
    """How long requests may still run when we are told to stop."""


class RateLimits(Section):
    """Requests per caller, in the notation "100/second" or "1000/minute"; several are joined by ";"."""

    per_address: Rate = "50/second;1000/minute"
    """Callers without valid credentials, by network address."""
    per_app: Rate = "2000/second"
    """Callers of an app, all together."""
    per_user: Rate = "100/second"
    """One user, session signer or wallet login."""
    storage_url: SecretStr | None = None
    """Redis or Valkey, where several processes share the counts; without it each one counts for itself."""


class SignerLink(Section):
    """How `serve` and `work` reach the signer."""

    socket_path: Path
    """Unix socket on which the signer listens."""
    connections: int = Field(2, ge=1, le=64)
    """Connections of this process to the signer."""
    deadline_seconds: float = Field(5.0, gt=0)
    """How long a request waits for the signer."""


class ServiceKeys(Section):
    """Key files of `serve` and `work`: 64 hex digits, readable by their user only."""

    auth_shares_file: Path
    """Opens the auth shares of wallets."""
    authorization_file: Path
    """Authenticates execution authorizations; the signer has the same one."""
    audit_file: Path
    """Authenticates the entries of the audit log."""


class SignerKeys(Section):
    """Key files of the signer."""

    exec_shares_file: Path
    """Opens the exec shares of wallets."""
    authorization_file: Path
    """Checks execution authorizations; `serve` and `work` have the same one."""
    transport_seed_file: Path
    """Seed of the keys of the signing class ``transport``."""
    recovery_public_file: Path
    """Public key that recovery shares are sealed to."""


class AuditSettings(Section):
    """Where the heads of the audit chains are anchored outside the database."""

    checkpoints_file: Path
    """Where signed checkpoints are appended; the database's administrators should not be able to write there."""
    every_seconds: float = Field(10.0, gt=0)
    """How often a checkpoint is written, if anything was appended."""


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


class IssuerSettings(Section):
    """An issuer of user tokens that apps may name without its keys; they come from a file or an address."""

    issuer: str = Field(min_length=1, max_length=255)
    """The `iss` of its tokens."""
    audience: str = Field(min_length=1, max_length=255)
    """The `aud` that its tokens must name."""
    jwks_file: Path | None = None
    """File with its key set; read again every five minutes."""
    jwks_url: str | None = Field(None, pattern=r"^https?://\S+$")
    """Address of its key set; exactly one of both."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("expected the keys of the issuer from exactly one of jwks_file and jwks_url")
        return self


class CoordinatorSettings(Section):
    """The app and wallet that perform public duties of swaps."""

    app_id: str = Field(min_length=1)
    """The app; set both or none. Without them nobody performs public duties here."""
    wallet_id: str = Field(min_length=1)
    """Its wallet, funded on each chain."""


class SwapSettings(Section):
    """Bounds of what is done for others."""

    public_legs_per_day: int = Field(1000, ge=0)
    """Sponsorship cap: most public duties that the coordinator performs in a day. A maker that gave its secret is paid beyond it."""


class TransactionSettings(Section):
    """How the transaction engine of `work` treats what is stuck."""

    replace_after_blocks: int = Field(8, ge=1)
    """Blocks after which the first unmined transaction of an account gets a dearer form."""
    claim_grace_seconds: float = Field(600.0, ge=0)
    """How long a caller of `eth_signTransaction` may take to send before its nonce is used up by a self-send, if others wait."""
    jam_blocks: int = Field(25, ge=1)
    """An account whose first unmined transaction is older is counted and logged as jammed."""


class PoolSettings(Section):
    """Database connections of one process."""

    min_size: int = Field(2, ge=1)
    """Connections that are kept open."""
    max_size: int = Field(16, ge=1, le=500)
    """Most connections of one process."""


class _Files(PydanticBaseSettingsSource):
    """Values that stand in the file named by ``LOCKSTEP_…_FILE``."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - inherited signature
        variable = f"{PREFIX}{field_name.upper()}"
        place = os.environ.get(f"{variable}_FILE")
        if place is None:
            return None, field_name, False
        if variable in os.environ:
            return _Unreadable(f"expected only one of {variable} and {variable}_FILE"), field_name, False
        try:
            text = Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            return _Unreadable(f"{variable}_FILE: cannot read {place}: {error}"), field_name, False
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class _Environment(EnvSettingsSource):
    """The variables. A group that is given as a whole and is not JSON is one fault among others."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value  # the group refuses it


class CommonSettings(BaseSettings):
    """What every role knows."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    profile: Literal["development", "production"] = "production"
    """`development` allows what only a trial may do: a public address with plain http, any host and origin."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Literal["json", "console"] = "json"
    """`json` for machines, `console` for people; logs go to standard error."""
    metrics_port: int | None = Field(None, ge=1, le=65535)
    """Port on loopback where `work` shows its metrics; None: nowhere. `serve` shows its own at `/metrics`."""
    data_dir: Path = Path(".lockstep")
    """Where files go that have no place of their own."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - inherited signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - inherited signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - inherited signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Files(settings_cls), _Environment(settings_cls)


class Settings(CommonSettings):
    """Settings of `serve` and `work`."""

    database_url: FileableSecret
    """Login of the service: it owns nothing and row-level security holds for it."""
    pool: PoolSettings = PoolSettings()
    http: HttpSettings = HttpSettings()
    limits: RateLimits = RateLimits()
    signer: SignerLink = _named()
    keys: ServiceKeys = _named()
    audit: AuditSettings = _named()
    chains: Annotated[tuple[ChainSettings, ...], *Json] = Field(min_length=1)
    """Chains and what we know of them; see below."""
    chain_pairs: Annotated[tuple[ChainPairSettings, ...], *Json] = ()
    """Between which chains swaps are taken, one entry per direction; see below."""
    issuers: Annotated[tuple[IssuerSettings, ...], *Json] = ()
    """Issuers of user tokens that apps may name without their keys; see below."""
    coordinator: CoordinatorSettings | None = None
    swaps: SwapSettings = SwapSettings()
    transactions: TransactionSettings = TransactionSettings()
    acknowledge_unaudited_contracts: bool = False
    """Our contracts have had no outside audit; without this they are refused on chains with real money."""

    # What several values say together is judged with one of them, so that it is reported with all other faults.

    @field_validator("http")
    @classmethod
    def _is_safe_in_production(cls, http: HttpSettings, info: ValidationInfo) -> HttpSettings:
        faults = []
        if info.data.get("profile") == "production":
            if not http.public_url.startswith("https://"):
                faults.append("public_url must be https in production")
            if "*" in http.trusted_hosts or "*" in http.cors_origins:
                faults.append('trusted_hosts and cors_origins must not be "*" in production')
        return _without(faults, http)

    @field_validator("chains")
    @classmethod
    def _make_sense_together(cls, chains: tuple[ChainSettings, ...], info: ValidationInfo) -> tuple[ChainSettings, ...]:
        names = [chain.chain for chain in chains]
        faults = [f"{name} is configured twice" for name in sorted({name for name in names if names.count(name) > 1})]
        if info.data.get("profile") == "production":
            # Without a deposit nobody has a reason to perform a public duty, and abandoned swaps cost their taker nothing.
            faults += [
                f"{chain.chain}: minimum_deposit_wei must be above 0 in production"
                for chain in chains
                if "EscrowFactory" in chain.contracts and chain.minimum_deposit_wei == 0
            ]
        return _without(faults, chains)

    @field_validator("chain_pairs")
    @classmethod
    def _are_known(cls, pairs: tuple[ChainPairSettings, ...], info: ValidationInfo) -> tuple[ChainPairSettings, ...]:
        if "chains" not in info.data:
            return pairs
        known = {chain.chain for chain in info.data["chains"]}
        named = [chain for pair in pairs for chain in (pair.source, pair.destination)]
        return _without(
            [f"names {chain}, which is not among the chains" for chain in named if chain not in known], pairs
        )

    @field_validator("acknowledge_unaudited_contracts")
    @classmethod
    def _is_needed(cls, acknowledged: bool, info: ValidationInfo) -> bool:
        chains: tuple[ChainSettings, ...] = info.data.get("chains", ())
        live = [c.chain for c in chains if parse_chain(c.chain) not in TEST_CHAINS and c.contracts]
        if live and not acknowledged:
            raise ValueError(
                f"our contracts on {', '.join(live)} have had no outside audit; set it to true to use them nevertheless"
            )
        return acknowledged


def _without(faults: list[str], value: T) -> T:
    if faults:
        raise ValueError("; ".join(faults))
    return value


class SignerSettings(CommonSettings):
    """Settings of `signer`."""

    signer_database_url: FileableSecret
    """Login of the signer: reads and writes its own tables only. `migrate` creates it if it is set."""
    signer_socket_path: Path
    """Unix socket to listen on."""
    signer_keys: SignerKeys = _named()
    signer_id: str = Field("signer", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    """Name of this signer in authorizations and in the audit log."""


class MigrateSettings(CommonSettings):
    """Settings of `migrate`, the only role that knows the owner."""

    owner_database_url: FileableSecret
    """Login of the owner of the schema; may create roles."""
    database_url: FileableSecret
    """Login of the service, created if it does not exist."""
    signer_database_url: FileableSecret | None = None
    """Login of the signer, created if it does not exist."""
