"""The nouns of approvals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.authority.types import Authorisation, OwnerKey
from lockstep.kit.ids import AppId

Kind = Literal["wallet_rpc", "wallet_change", "policy_change", "quorum_change"]
Status = Literal["pending", "processing", "executed", "failed", "expired", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A request as it could be made directly."""

    kind: Kind
    resource_id: str
    method: str
    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderSignature:
    """One key or user that authorised."""

    holder: str
    """``key:<id>#<revision>`` or ``user:<id>``."""
    signature: bytes | None = field(repr=False)
    """r ‖ s over the payload; None for a user."""
    signed_at: datetime
    seal: bytes | None = None
    """Code of a user's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request that waits for its owner, or did."""

    id: str
    app_id: AppId
    operation: Operation
    payload: str
    """Canonical JSON, exactly what is signed."""
    payload_digest: bytes
    status: Status
    reason_code: str | None = None
    response: bytes | None = field(default=None, repr=False)
    """Sealed answer of the request."""
    version: int = 1
    created_by: str
    created_at: datetime
    expires_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    signatures: Sequence[HolderSignature] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The payload as JSON."""
        document: dict[str, Any] = json.loads(self.payload)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """An approval with what it takes and what came of it."""

    approval: Approval
    authorisation: Authorisation | None
    """How far its owner, as it is now, has authorised; None: the thing has no owner any more."""
    response: Mapping[str, Any] | None
    """The answer of the request once it was carried out."""


class ApprovalProof:
    """The signatures that an approval collected, verified against the keys as they are when somebody asks."""

    def __init__(self, approval: Approval) -> None:
        pairs = [
            (int.from_bytes(one.signature[:32]), int.from_bytes(one.signature[32:]))
            for one in approval.signatures
            if one.signature is not None
        ]
        self._signed = RequestProof(approval.payload.encode(), pairs, approval.expires_at)
        self._users = frozenset(one.holder for one in approval.signatures if one.signature is None)

    def covers(self, key: OwnerKey) -> bool:
        return self._signed.covers(key)

    def covers_user(self, user_id: str) -> bool:
        return f"user:{user_id}" in self._users
