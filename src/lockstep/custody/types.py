"""The nouns of custody, as the modules above it see them: callers, wallets, policies, session signers, decisions.

Knows no table, no wire shape and no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lockstep.chains.evm import Speed, TransactionType
from lockstep.custody.authority.types import Proof
from lockstep.custody.errors import CallerHasNoApp
from lockstep.kit.ids import AppId, CorrelationId, UserId, WalletId

PrincipalKind = Literal["app", "user", "session", "external", "module", "admin"]
Role = Literal["user", "operator", "admin"]
"""Of a user in its app; an administrator of the deployment is another thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, after the credentials were checked."""

    kind: PrincipalKind
    app_id: AppId | None = None
    """None for external makers and takers and for administrators: they belong to no app."""
    user_id: UserId | None = None
    wallet_id: WalletId | None = None
    session_id: str | None = None
    address: str | None = None
    """Address that an external caller has proved; 0x and lower-case hex."""
    name: str | None = None
    """Name of a module, or id of an administrator's credential."""
    proof: Proof | None = field(default=None, compare=False, repr=False)
    """What the caller shows beside its credentials: signatures of this very request."""
    role: Role | None = None
    """Of a user."""

    @property
    def oversees_app(self) -> bool:
        """Whether it sees everything of its app: the app itself, and users that are its operators or admins."""
        return self.kind == "app" or (self.kind == "user" and self.role in ("operator", "admin"))

    @property
    def tenant(self) -> AppId:
        """The app of the caller.

        Raises:
            CallerHasNoApp: an external caller or an administrator.
        """
        if self.app_id is None:
            raise CallerHasNoApp(f"expected a caller of an app, was {self.kind}")
        return self.app_id

    @property
    def label(self) -> str:
        """Kind and id in one word, for the audit log and for scopes: ``user:<id>``."""
        who = {
            "app": self.app_id,
            "user": self.user_id,
            "session": self.session_id,
            "external": self.address,
            "module": self.name,
            "admin": self.name,
        }[self.kind]
        return f"{self.kind}:{who}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """A custody wallet as callers may see it."""

    id: WalletId
    app_id: AppId
    address: str
    """0x and lower-case hex; the wire shows the checksummed form. Of a Cardano wallet the fingerprint of its key."""
    chain_type: str
    public_key: bytes
    """Uncompressed point, 65 bytes; of a Cardano wallet an Ed25519 key, 32 bytes."""
    policy_ids: tuple[str, ...]
    owner_user_id: UserId | None
    owner_key_id: str | None = None
    owner_quorum_id: str | None = None
    display_name: str | None
    external_id: str | None = None
    """The app's own id for it, written once."""
    status: Literal["active", "frozen"]
    archived_at: datetime | None = None
    """When it was put away; an archived wallet signs nothing."""
    version: int
    created_at: datetime
    native_address: str | None = None
    """Address on Cardano, which the wire shows; None: `address` is the one."""

    @property
    def owner_id(self) -> str | None:
        """The authorization key or quorum that owns it; None: a user does, or nobody."""
        return self.owner_key_id or self.owner_quorum_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy with the document of its revision in force."""

    id: str
    app_id: AppId
    name: str
    chain_type: str
    owner_user_id: UserId | None
    owner_key_id: str | None = None
    owner_quorum_id: str | None = None
    revision: int
    rules: list[dict[str, object]]
    created_at: datetime
    updated_at: datetime

    @property
    def owner_id(self) -> str | None:
        """The authorization key or quorum that owns it; None: a user does, or nobody."""
        return self.owner_key_id or self.owner_quorum_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRevision:
    """One document that a policy had, or has."""

    policy_id: str
    revision: int
    name: str
    rules: list[dict[str, object]]
    created_by: str
    """Label of the caller that wrote it."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSigner:
    """A permission to sign for a wallet, for a time and within limits."""

    id: str
    app_id: AppId
    wallet_id: WalletId
    grantee: str
    """``token``, ``key`` or ``module:<name>``."""
    display_name: str | None
    allowed_methods: tuple[str, ...]
    policy_ids: tuple[str, ...]
    max_value_per_transaction: int | None
    """Smallest unit of the native coin; None: no limit of its own."""
    max_total_value: int | None = None
    max_value_per_window: int | None = None
    window_seconds: int | None = None
    max_transactions: int | None = None
    """Requests that are signed or sent for it, of every kind."""
    authorization_key_id: str | None = None
    """Key that must sign each request; None: none."""
    status: Literal["active", "revoked"]
    expires_at: datetime
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionIntent:
    """What a transaction is to do; nonce and fees are bound when it is signed, inside the ceilings."""

    app_id: AppId
    wallet_id: WalletId
    chain: str
    """CAIP-2."""
    from_address: str
    to: str | None
    """None creates a contract."""
    value: int
    """Smallest unit of the native coin."""
    data: bytes
    gas_limit: int | None = None
    """Ceiling in gas; None: the engine's estimate, under its own bounds."""
    max_fee_per_gas: int | None = None
    """Ceiling in wei per gas; None: the chain's configured ceiling."""
    max_priority_fee_per_gas: int | None = None
    type: TransactionType = 2
    """0 on a chain without EIP-1559: it is sent with one gas price, under the ceiling of the fee; that of the tip says nothing."""
    speed: Speed = Speed.STANDARD
    """How soon it should be mined; decides what is offered inside the ceilings."""
    is_private: bool | None = None
    """Whether it is sent to the chain's private node only; None: as the chain's settings say."""
    idempotency_key: str
    priority: int = 0
    deadline_at: datetime | None = None
    correlation_id: CorrelationId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A stored verdict; without an allowed one nothing is signed."""

    id: str
    app_id: AppId
    wallet_id: WalletId
    session_id: str | None
    method: str
    allowed: bool
    reason_code: str
    """Stable, for programs: ``allowed``, ``no_matching_rule``, ``session_expired`` and so on."""
    reason: str
    """One sentence for people."""
    policy_id: str | None
    """The policy that decided; None where none was asked."""
    rule_id: str | None
    authorized_by: tuple[str, ...] = ()
    """Keys (with their revision) and users that authorised it for the owner, or as the session signer."""
    revisions: Mapping[str, int]
    """Revision of every attached policy, and of every condition set that one of them names, by id."""
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """A signed transaction, ready to be broadcast."""

    raw: bytes = field(repr=False)
    hash: bytes
    digest: bytes
    """What was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTransaction:
    """What the engine says when it has taken a transaction over."""

    id: str
    state: str = "queued"
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a transaction would cost now, and whether it would go through."""

    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    data_fee: int = 0
    """What a roll-up may take beside the gas for its parent chain, smallest unit of the native coin."""
    will_revert: str | None = None
    """The decoded reason when it would revert now; None: it would go through."""
    simulation: Mapping[str, object] = field(default_factory=dict)
    """What the simulation found beyond that: JSON-able, for people."""

    @property
    def max_fee(self) -> int:
        """The most that the fee can be, in the smallest unit of the native coin."""
        return self.gas_limit * self.max_fee_per_gas + self.data_fee
