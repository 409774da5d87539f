"""What each kind of seal is over: everything in a row that could give somebody authority, and nothing else.

A new column that carries authority belongs in here, in the same change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lockstep.custody.seals.rules import Content
from lockstep.kit.canonical import canonical, canonical_json


def of_app(app_id: str, status: str) -> Content:
    return (app_id, status)


def of_app_access(
    app_id: str, issuers: Sequence[Mapping[str, object]], allowed_networks: Sequence[str], accounts: str
) -> Content:
    """Whose users the app knows, from where it calls, and who may register."""
    return (app_id, canonical_json(list(issuers)).decode(), tuple(allowed_networks), accounts)


def of_secret(app_id: str, prefix: str, secret_hash: bytes, status: str, expires_at: datetime | None) -> Content:
    return (app_id, prefix, secret_hash.hex(), status, None if expires_at is None else _time(expires_at))


def of_user(app_id: str, issuer: str, subject: str, role: str, status: str) -> Content:
    return (app_id, issuer, subject, role, status)


def of_admin(prefix: str, secret_hash: bytes, status: str) -> Content:
    return (prefix, secret_hash.hex(), status)


def of_login(address: str, expires_at: datetime) -> Content:
    """A wallet login; its seal goes by the hash of its token."""
    return (address, _time(expires_at))


def of_wallet(
    app_id: str,
    address: str,
    native_address: str | None,
    owner_user_id: str | None,
    owner_id: str | None,
    policy_ids: Sequence[str],
    status: str,
    *,
    is_archived: bool,
) -> Content:
    """The key stands for itself: it is the one that `address` is the address or fingerprint of."""
    return (app_id, address, native_address, owner_user_id, owner_id, tuple(policy_ids), status, is_archived)


def of_session(
    app_id: str,
    wallet_id: str,
    grantee: str,
    authorization_key_id: str | None,
    status: str,
    expires_at: datetime,
    allowed_methods: Sequence[str],
    policy_ids: Sequence[str],
    max_value_per_transaction: int | None,
    caps: Sequence[int | None],
) -> Content:
    """
    Args:
        caps: of value in all, of value within a window, the window in seconds, of requests.
    """
    limits = tuple(None if limit is None else str(limit) for limit in (max_value_per_transaction, *caps))
    return (
        app_id,
        wallet_id,
        grantee,
        authorization_key_id,
        status,
        _time(expires_at),
        tuple(allowed_methods),
        tuple(policy_ids),
        limits,
    )


def of_session_token(app_id: str, session_id: str) -> Content:
    """Which session signer a token stands for; its seal goes by the hash of the token."""
    return (app_id, session_id)


def of_key(app_id: str, public_key: bytes, revision: int, *, is_active: bool) -> Content:
    """An authorization key."""
    return (app_id, public_key.hex(), str(revision), is_active)


def of_quorum(
    app_id: str, threshold: int, key_ids: Sequence[str], user_ids: Sequence[str], quorum_ids: Sequence[str]
) -> Content:
    """A quorum and its members, in whichever order."""
    members = (tuple(sorted(ids)) for ids in (key_ids, user_ids, quorum_ids))
    return (app_id, str(threshold), *members)


def of_account(app_id: str, name: str, password_hash: str) -> Content:
    return (app_id, name, password_hash)


def of_login_token(app_id: str, login_id: str, user_id: str, kind: str, expires_at: datetime) -> Content:
    """What a token of an account stands for; its code is in its own row, as it never changes."""
    return (app_id, login_id, user_id, kind, _time(expires_at))


def of_policy(app_id: str, owner_user_id: str | None, owner_id: str | None, revision: int) -> Content:
    """Which document of a policy is in force."""
    return (app_id, owner_user_id, owner_id, str(revision))


def of_policy_document(app_id: str, document: Mapping[str, object]) -> Content:
    """One document of a policy; its seal goes by the policy and the revision."""
    return (app_id, hashlib.sha256(canonical_json(document)).hexdigest())


def of_condition_set(
    app_id: str, owner_user_id: str | None, value_type: str, revision: int, content_hash: bytes
) -> Content:
    """What a condition set holds, all of it."""
    return (app_id, owner_user_id, value_type, str(revision), content_hash.hex())


def of_approval(app_id: str, payload_digest: bytes, *, is_over: bool) -> Content:
    """What may be carried out once enough have approved it, and was not yet."""
    return (app_id, payload_digest.hex(), is_over)


def of_user_approval(app_id: str, approval_id: str, holder: str) -> Content:
    """A user's word for an approval; its code is in its own row, as it never changes."""
    return (app_id, approval_id, holder)


def of_aggregation(app_id: str, document: Mapping[str, object]) -> Content:
    """What limits count; written once, with its seal in its own row."""
    return (app_id, hashlib.sha256(canonical_json(document)).hexdigest())


def of_limit_counter(
    app_id: str, group: str, total: int, counted_after: datetime | None, written_at: datetime
) -> tuple[str | None, ...]:
    """How much of a limit is used; its code goes by the limit."""
    return (app_id, group, str(total), None if counted_after is None else _time(counted_after), _time(written_at))


def of_limit_use(counter_id: int, amount: int, used_at: datetime) -> tuple[str | None, ...]:
    """What a decision uses of a limit; its code goes by the decision."""
    return (str(counter_id), str(amount), _time(used_at))


def of_kill_switch(switch_id: str | None, engaged_by: str | None) -> Content:
    """What stops an app or the deployment now; None: nothing does."""
    return (switch_id, engaged_by)


def of_decision(
    app_id: str,
    wallet_id: str,
    session_id: str | None,
    caller: str,
    method: str,
    intent: Mapping[str, object] | None,
    revisions: Mapping[str, int],
    authorized_by: Sequence[str],
) -> Content:
    """An allowed decision: what was decided on for whom, under which revisions."""
    return (
        app_id,
        wallet_id,
        session_id,
        caller,
        method,
        None if intent is None else canonical(dict(intent)).decode(),
        canonical(dict(revisions)).decode(),
        tuple(authorized_by),
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
