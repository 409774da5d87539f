"""What a decision about a signature rests on, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lockstep.chains.evm import Address
from lockstep.custody.authority.types import Owner, OwnerKey
from lockstep.custody.execution import Payload, WalletKey
from lockstep.custody.limits import LimitStanding, SessionCaps
from lockstep.custody.types import Decision, TransactionIntent
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGrant:
    """The session signer of a caller, as its row says at this moment."""

    id: str
    status: str
    expires_at: datetime
    allowed_methods: tuple[str, ...]
    policy_ids: tuple[str, ...]
    max_value_per_transaction: int | None
    key: OwnerKey | None = None
    """Authorization key that must sign each request; None: none."""
    caps: SessionCaps | None = None
    """What it may use in all; None: there are no such limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Everything about a wallet that a decision needs, read in the transaction that decides."""

    app_id: AppId
    app_status: str
    stopped_by: Literal["deployment", "app"] | None
    """The kill switch that is engaged."""
    wallet_id: WalletId
    address: Address
    owner_user_id: str | None
    owner: Owner | None = None
    """Key or quorum that must authorise what is signed, as it is at this moment."""
    owner_status: str | None = None
    """Of the user that owns it."""
    status: str
    policy_ids: tuple[str, ...]
    auth_share: bytes = field(repr=False)
    session: SessionGrant | None
    """None: the caller is no session signer, or there is none with its id."""
    revisions: Mapping[str, int]
    """Revision in force of every attached policy that exists, and of every condition set that one of them names."""
    chain_type: str = "ethereum"
    public_key: bytes = b""
    native_address: str | None = None
    """Where the key's address is not the wallet's."""
    fault: str | None = None
    """Why nothing rests on this: something in it was changed past the service. None: all of it is sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Whether a caller may have something signed, and why."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None = None
    rule_id: str | None = None
    authorized_by: tuple[str, ...] = ()
    """Who authorised it, where that was needed."""
    owner: str | None = None
    """Id of the user, key or quorum that owns the wallet."""
    revisions: Mapping[str, int]
    error: LockstepError | None = None
    """What the caller is told when it is not allowed."""
    limits: tuple[LimitStanding, ...] = ()
    """Limits that the request meets, as they stood before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """An allowed decision with everything that is looked at again before a signature."""

    decision: Decision
    caller: str
    intent: TransactionIntent
    authority: Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One signature that was decided on."""

    decision_id: str
    key: WalletKey
    payload: Payload
    digest: bytes
    auth_share: bytes = field(repr=False)
    revisions: Mapping[str, int]
    public_key: bytes = b""
    """Of an Ed25519 key, whose signatures do not tell it."""
