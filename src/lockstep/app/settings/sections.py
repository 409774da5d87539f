"""Groups of settings that concern no chain."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from lockstep.app.settings.values import Rate, Section, Words


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


class BootstrapKeys(Section):
    """What `migrate --bootstrap` needs of the keys of `serve`."""

    audit_file: Path
    """Seals the first administrator's credential; the same file as that of `serve` and `work`."""


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
