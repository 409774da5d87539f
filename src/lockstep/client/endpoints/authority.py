"""Calls of authorization keys and quorums."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.client.models import KeyQuorum, RegisteredKey
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


def _list(members: Sequence[str] | None) -> list[str] | None:
    return None if members is None else list(members)
