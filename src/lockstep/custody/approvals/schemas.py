"""Wire shapes of approvals."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from lockstep.custody.access.schemas import Moment, Strict
from lockstep.custody.approvals.types import ApprovalView
from lockstep.kit.clock import rfc3339

StatusName = Literal["pending", "processing", "executed", "failed", "expired", "rejected"]


class ApprovalIn(Strict):
    """A request as it could be made directly."""

    method: Literal["POST", "PATCH"]
    path: Annotated[str, StringConstraints(max_length=200)] = Field(
        description="Of a wallet's rpc (POST), or of a wallet, a policy or a key quorum (PATCH).",
        examples=["/v1/wallets/<id>/rpc"],
    )
    body: dict[str, Any]
    expires_at: Moment | None = Field(None, description="It collects nothing from then on; absent: in 72 hours.")


class AuthorizeIn(Strict):
    """A signature over the payload by a key of the owner; left out by a user who stands in it."""

    signature: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="Base64 of DER or r‖s, over SHA-256 of the payload in canonical form (RFC 8785)."
    )


class HolderOut(Strict):
    """A key or a user that has authorised."""

    authorization_key_id: str | None
    user_id: str | None
    signed_at: str


class ApprovalOut(Strict):
    """A request that waits for its owner, or did."""

    id: str
    status: StatusName
    method: str
    path: str
    body: dict[str, Any]
    payload: dict[str, Any] = Field(description="What is signed, in canonical form (RFC 8785).")
    payload_digest: str
    needed: int | None = Field(
        description="How many members of the owner must authorise; null: it has no owner any more."
    )
    given: int | None = Field(description="How many of those who count now have.")
    authorized_by: list[HolderOut]
    reason_code: str | None = Field(description="Why it failed.")
    response: dict[str, Any] | None = Field(description="Answer of the request, once it was carried out.")
    version: int
    created_by: str
    created_at: str
    expires_at: str
    finished_at: str | None


class ApprovalsOut(Strict):
    """A page of approvals, the newest first."""

    items: list[ApprovalOut]
    next_cursor: str | None


def approval_out(view: ApprovalView) -> ApprovalOut:
    approval, authorisation = view.approval, view.authorisation
    holders = [(one.holder.partition(":"), one.signed_at) for one in approval.signatures]
    return ApprovalOut(
        id=approval.id,
        status=approval.status,
        method=approval.operation.method,
        path=approval.operation.path,
        body=dict(approval.operation.body),
        payload=approval.document,
        payload_digest="0x" + approval.payload_digest.hex(),
        needed=None if authorisation is None else authorisation.needed,
        given=None if authorisation is None else authorisation.given,
        authorized_by=[
            HolderOut(
                authorization_key_id=who.partition("#")[0] if kind == "key" else None,
                user_id=who if kind == "user" else None,
                signed_at=rfc3339(signed_at),
            )
            for (kind, _, who), signed_at in holders
        ],
        reason_code=approval.reason_code,
        response=None if view.response is None else dict(view.response),
        version=approval.version,
        created_by=approval.created_by,
        created_at=rfc3339(approval.created_at),
        expires_at=rfc3339(approval.expires_at),
        finished_at=None if approval.finished_at is None else rfc3339(approval.finished_at),
    )
