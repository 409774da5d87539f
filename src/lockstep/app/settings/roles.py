"""The settings of each role as a whole, and what several values must say together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lockstep.app.settings.chains import TEST_CHAINS, ChainPairSettings, ChainSettings
from lockstep.app.settings.sections import (
    AuditSettings,
    BootstrapKeys,
    CoordinatorSettings,
    HttpSettings,
    IssuerSettings,
    PoolSettings,
    RateLimits,
    ServiceKeys,
    SignerKeys,
    SignerLink,
    SwapSettings,
    TransactionSettings,
)
from lockstep.app.settings.sources import PREFIX, Environment, Files
from lockstep.app.settings.values import FileableSecret, Json, named_group, without
from lockstep.chains.evm import (
    parse_chain,
)


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
        return init_settings, Files(settings_cls), Environment(settings_cls)


class Settings(CommonSettings):
    """Settings of `serve` and `work`."""

    database_url: FileableSecret
    """Login of the service: it owns nothing and row-level security holds for it."""
    pool: PoolSettings = PoolSettings()
    http: HttpSettings = HttpSettings()
    limits: RateLimits = RateLimits()
    signer: SignerLink = named_group()
    keys: ServiceKeys = named_group()
    audit: AuditSettings = named_group()
    chains: Annotated[tuple[ChainSettings, ...], *Json] = Field(min_length=1)
    """Chains and what we know of them; see below."""
    chain_pairs: Annotated[tuple[ChainPairSettings, ...], *Json] = ()
    """Between which chains swaps are taken, one entry per direction; see below."""
    issuers: Annotated[tuple[IssuerSettings, ...], *Json] = ()
    """Issuers of user tokens that apps may name without their keys; see below."""
    coordinator: CoordinatorSettings | None = None
    swaps: SwapSettings = SwapSettings()
    transactions: TransactionSettings = TransactionSettings()
    cardano_network: Literal["testnet", "mainnet"] = "testnet"
    """Whose addresses new Cardano wallets get; those that exist keep theirs."""
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
        return without(faults, http)

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
        return without(faults, chains)

    @field_validator("chain_pairs")
    @classmethod
    def _are_known(cls, pairs: tuple[ChainPairSettings, ...], info: ValidationInfo) -> tuple[ChainPairSettings, ...]:
        if "chains" not in info.data:
            return pairs
        known = {chain.chain for chain in info.data["chains"]}
        named = [chain for pair in pairs for chain in (pair.source, pair.destination)]
        return without(
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


class SignerSettings(CommonSettings):
    """Settings of `signer`."""

    signer_database_url: FileableSecret
    """Login of the signer: reads and writes its own tables only. `migrate` creates it if it is set."""
    signer_socket_path: Path
    """Unix socket to listen on."""
    signer_keys: SignerKeys = named_group()
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
    keys: BootstrapKeys | None = None
    """Needed for --bootstrap only."""
