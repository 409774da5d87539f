"""Wire shapes of authorization keys and quorums."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lockstep.custody.access.schemas import Name, Strict
from lockstep.custody.authority.service import QuorumTerms
from lockstep.custody.authority.types import AuthorizationKeyRow, KeyQuorum
from lockstep.kit.clock import rfc3339

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Members = Annotated[list[Id], Field(max_length=20)]
PublicKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1_000),
    Field(description="P-256: PEM, base64 of SubjectPublicKeyInfo (DER), or the point 04‖X‖Y in base64 or hex"),
]
Threshold = Annotated[int, Field(ge=1, le=20, description="How many members must authorise.")]


class AuthorizationKeyIn(Strict):
    """A public key to be registered."""

    public_key: PublicKey
    display_name: Name | None = None


class RotationIn(Strict):
    """The public key that takes the place of the one in force. Signed with both."""

    public_key: PublicKey


class AuthorizationKeyOut(Strict):
    """An authorization key."""

    id: str
    algorithm: Literal["p256"] = "p256"
    public_key: str = Field(description="Base64 of SubjectPublicKeyInfo (DER).")
    display_name: str | None
    status: Literal["active", "revoked"]
    revision: int = Field(description="Counts rotations, from 1.")
    created_at: str
    rotated_at: str | None
    revoked_at: str | None


class AuthorizationKeysOut(Strict):
    """A page of authorization keys."""

    items: list[AuthorizationKeyOut]
    next_cursor: str | None


class KeyQuorumIn(Strict):
    """A new quorum; a quorum in it counts as one member when its own threshold is met."""

    authorization_threshold: Threshold
    authorization_key_ids: Annotated[Members, Field(default_factory=list)]
    user_ids: Annotated[Members, Field(default_factory=list)]
    key_quorum_ids: Annotated[Members, Field(default_factory=list)]
    display_name: Name | None = None

    def terms(self) -> QuorumTerms:
        return _terms(self)


class KeyQuorumPatch(Strict):
    """What is to change; absent members stay."""

    authorization_threshold: Threshold | None = None
    authorization_key_ids: Members | None = None
    user_ids: Members | None = None
    key_quorum_ids: Members | None = None
    display_name: Name | None = None

    def terms(self) -> QuorumTerms:
        return _terms(self)


class KeyQuorumOut(Strict):
    """A quorum."""

    id: str
    authorization_threshold: int
    authorization_key_ids: list[str]
    user_ids: list[str]
    key_quorum_ids: list[str]
    display_name: str | None
    version: int
    created_at: str
    updated_at: str


class KeyQuorumsOut(Strict):
    """A page of quorums."""

    items: list[KeyQuorumOut]
    next_cursor: str | None


def key_out(key: AuthorizationKeyRow) -> AuthorizationKeyOut:
    return AuthorizationKeyOut(
        id=key.id,
        public_key=base64.b64encode(key.public_key).decode(),
        display_name=key.display_name,
        status=key.status,
        revision=key.revision,
        created_at=rfc3339(key.created_at),
        rotated_at=None if key.rotated_at is None else rfc3339(key.rotated_at),
        revoked_at=None if key.revoked_at is None else rfc3339(key.revoked_at),
    )


def quorum_out(quorum: KeyQuorum) -> KeyQuorumOut:
    return KeyQuorumOut(
        id=quorum.id,
        authorization_threshold=quorum.threshold,
        authorization_key_ids=list(quorum.key_ids),
        user_ids=list(quorum.user_ids),
        key_quorum_ids=list(quorum.quorum_ids),
        display_name=quorum.display_name,
        version=quorum.version,
        created_at=rfc3339(quorum.created_at),
        updated_at=rfc3339(quorum.updated_at),
    )


def _terms(body: KeyQuorumIn | KeyQuorumPatch) -> QuorumTerms:
    return QuorumTerms(
        threshold=body.authorization_threshold,
        key_ids=body.authorization_key_ids,
        user_ids=body.user_ids,
        quorum_ids=body.key_quorum_ids,
        display_name=body.display_name,
    )
