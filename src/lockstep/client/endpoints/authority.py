"""Calls of authorization keys, quorums and approvals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.client.models import Approval, KeyQuorum, RegisteredKey
from lockstep.client.requests import Page, Request, get, given, listing, nothing, of, segment, send


def create_authorization_key(public_key: str, *, display_name: str | None = None) -> Request[RegisteredKey]:
    """Register a public key. For the app."""
    body = given(public_key=public_key, display_name=display_name)
    return send("POST", "/v1/authorization-keys", of(RegisteredKey), body)


def get_authorization_key(key_id: str) -> Request[RegisteredKey]:
    """One authorization key."""
    return get(f"/v1/authorization-keys/{segment(key_id)}", of(RegisteredKey))


def list_authorization_keys(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[RegisteredKey]]:
    """Authorization keys of the app, oldest first, revoked ones too."""
    return listing("/v1/authorization-keys", RegisteredKey, cursor=cursor, limit=limit)


def rotate_authorization_key(key_id: str, public_key: str) -> Request[RegisteredKey]:
    """Put another key pair in the place of this one; sign with both."""
    body = {"public_key": public_key}
    return send("POST", f"/v1/authorization-keys/{segment(key_id)}/rotate", of(RegisteredKey), body)


def revoke_authorization_key(key_id: str) -> Request[RegisteredKey]:
    """End a key for ever, at once; sign with it, or with a quorum that has it."""
    path = f"/v1/authorization-keys/{segment(key_id)}/revoke"
    return send("POST", path, of(RegisteredKey), is_repeatable=True)


def create_key_quorum(
    *,
    authorization_threshold: int,
    authorization_key_ids: Sequence[str] = (),
    user_ids: Sequence[str] = (),
    key_quorum_ids: Sequence[str] = (),
    display_name: str | None = None,
) -> Request[KeyQuorum]:
    """Make a quorum of keys, users and other quorums. For the app."""
    body = given(
        authorization_threshold=authorization_threshold,
        authorization_key_ids=list(authorization_key_ids),
        user_ids=list(user_ids),
        key_quorum_ids=list(key_quorum_ids),
        display_name=display_name,
    )
    return send("POST", "/v1/key-quorums", of(KeyQuorum), body)


def get_key_quorum(quorum_id: str) -> Request[KeyQuorum]:
    """One quorum."""
    return get(f"/v1/key-quorums/{segment(quorum_id)}", of(KeyQuorum))


def list_key_quorums(*, cursor: str | None = None, limit: int | None = None) -> Request[Page[KeyQuorum]]:
    """Quorums of the app, oldest first."""
    return listing("/v1/key-quorums", KeyQuorum, cursor=cursor, limit=limit)


def update_key_quorum(
    quorum_id: str,
    *,
    authorization_threshold: int | None = None,
    authorization_key_ids: Sequence[str] | None = None,
    user_ids: Sequence[str] | None = None,
    key_quorum_ids: Sequence[str] | None = None,
    display_name: str | None = None,
) -> Request[KeyQuorum]:
    """Change a quorum; sign with the quorum as it was. What is None stays."""
    body = given(
        authorization_threshold=authorization_threshold,
        authorization_key_ids=_list(authorization_key_ids),
        user_ids=_list(user_ids),
        key_quorum_ids=_list(key_quorum_ids),
        display_name=display_name,
    )
    return send("PATCH", f"/v1/key-quorums/{segment(quorum_id)}", of(KeyQuorum), body)


def delete_key_quorum(quorum_id: str) -> Request[None]:
    """Delete a quorum to which nothing belongs; sign with it."""
    return send("DELETE", f"/v1/key-quorums/{segment(quorum_id)}", nothing)


# --- approvals --------------------------------------------------------------------------------------------------------


def create_approval(
    method: str, path: str, body: Mapping[str, Any], *, expires_at: datetime | None = None
) -> Request[Approval]:
    """Have a request wait until enough of those who own what it is about have authorised it.

    Args:
        method, path, body: of the request as it would be made directly, for example POST, "/v1/wallets/<id>/rpc".
        expires_at: None: in 72 hours.
    """
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at: expected a time with its zone")
    moment = None if expires_at is None else expires_at.isoformat()
    asked = {"method": method, "path": path, "body": dict(body), **given(expires_at=moment)}
    return send("POST", "/v1/approvals", of(Approval), asked)


def get_approval(approval_id: str) -> Request[Approval]:
    """One approval, with what is to be signed."""
    return get(f"/v1/approvals/{segment(approval_id)}", of(Approval))


def list_approvals(
    *, status: str | None = None, resource_id: str | None = None, cursor: str | None = None, limit: int | None = None
) -> Request[Page[Approval]]:
    """Approvals of the app, the newest first; a user sees those that it may give."""
    return listing("/v1/approvals", Approval, status=status, resource_id=resource_id, cursor=cursor, limit=limit)


def authorize_approval(approval_id: str, signature: str | None = None) -> Request[Approval]:
    """Authorise with a signature over the payload (`AuthorizationKey.sign`), or as the user that calls."""
    return send("POST", f"/v1/approvals/{segment(approval_id)}/authorize", of(Approval), given(signature=signature))


def reject_approval(approval_id: str) -> Request[Approval]:
    """End an approval that is pending."""
    return send("POST", f"/v1/approvals/{segment(approval_id)}/reject", of(Approval))


def _list(members: Sequence[str] | None) -> list[str] | None:
    return None if members is None else list(members)
