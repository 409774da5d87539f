"""SQL of wallets, policies and session signers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from lockstep.custody.authority.store import list_quorums_of_user, read_key
from lockstep.custody.authority.types import OwnerKey
from lockstep.custody.types import Policy, PolicyRevision, SessionSigner, Wallet
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, UserId, WalletId
from lockstep.kit.money import from_numeric

WALLET: LiteralString = """
select id, app_id, address, native_address, chain_type, public_key, policy_ids, owner_user_id, owner_key_id,
    owner_quorum_id, display_name, external_id,
    status, archived_at, version, created_at
from wallets
"""
_POLICY = """
select p.id, p.app_id, p.name, p.chain_type, p.owner_user_id, p.owner_key_id, p.owner_quorum_id, p.revision, p.created_at, p.updated_at, r.document
from policies p join policy_revisions r on r.app_id = p.app_id and r.policy_id = p.id and r.revision = p.revision
"""


async def find_wallet(uow: UnitOfWork, app_id: AppId, wallet_id: str) -> Wallet | None:
    row = await uow.find(WALLET + " where app_id = %s and id = %s", (app_id, wallet_id))
    return wallet_of(row) if row else None


async def lock_wallet(uow: UnitOfWork, app_id: AppId, wallet_id: str) -> bool:
    """Lock a wallet against a second change; whether there is one."""
    row = await uow.find("select id from wallets where app_id = %s and id = %s for update", (app_id, wallet_id))
    return row is not None


async def find_wallet_by_address(uow: UnitOfWork, address: str) -> Wallet | None:
    """The custody wallet with this address, of any app; only a system unit of work sees those of all."""
    row = await uow.find(WALLET + " where address = %s /* all tenants: an address belongs to one app */", (address,))
    return wallet_of(row) if row else None


async def list_owned_ids(uow: UnitOfWork, app_id: AppId, user_id: UserId) -> list[WalletId]:
    """Ids of the wallets that a user owns, alone or with others."""
    rows = await uow.fetch(
        "select id from wallets where app_id = %s and owner_user_id = %s"
        " union all select id from wallets where app_id = %s and owner_quorum_id = any(%s)",
        (app_id, user_id, app_id, await list_quorums_of_user(uow, app_id, user_id)),
    )
    return [WalletId(row["id"]) for row in rows]


async def update_wallet(uow: UnitOfWork, wallet: Wallet, now: datetime) -> Wallet:
    """Write what can change: policies, name, status and owner; counts the version up."""
    row = await uow.get(
        "update wallets set policy_ids = %s, display_name = %s, status = %s, owner_user_id = %s, owner_key_id = %s,"
        " owner_quorum_id = %s, version = version + 1, updated_at = %s where app_id = %s and id = %s returning *",
        (
            list(wallet.policy_ids),
            wallet.display_name,
            wallet.status,
            wallet.owner_user_id,
            wallet.owner_key_id,
            wallet.owner_quorum_id,
            now,
            wallet.app_id,
            wallet.id,
        ),
    )
    return wallet_of(row)


async def insert_policy(uow: UnitOfWork, policy: Policy, document: dict[str, Any], created_by: str) -> None:
    await uow.execute(
        "insert into policies (id, app_id, name, chain_type, owner_user_id, owner_key_id, owner_quorum_id, revision,"
        " created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            policy.id,
            policy.app_id,
            policy.name,
            policy.chain_type,
            policy.owner_user_id,
            policy.owner_key_id,
            policy.owner_quorum_id,
            policy.revision,
            policy.created_at,
            policy.updated_at,
        ),
    )
    await _insert_revision(uow, policy, document, created_by)


async def update_policy(uow: UnitOfWork, policy: Policy, document: dict[str, Any], changed_by: str) -> None:
    """Put a new revision in force."""
    await uow.execute(
        "update policies set name = %s, revision = %s, updated_at = %s, owner_user_id = %s, owner_key_id = %s,"
        " owner_quorum_id = %s where app_id = %s and id = %s",
        (
            policy.name,
            policy.revision,
            policy.updated_at,
            policy.owner_user_id,
            policy.owner_key_id,
            policy.owner_quorum_id,
            policy.app_id,
            policy.id,
        ),
    )
    await _insert_revision(uow, policy, document, changed_by)


async def _insert_revision(uow: UnitOfWork, policy: Policy, document: dict[str, Any], created_by: str) -> None:
    await uow.execute(
        "insert into policy_revisions (policy_id, revision, app_id, document, created_by, created_at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (policy.id, policy.revision, policy.app_id, Jsonb(document), created_by, policy.updated_at),
    )


async def lock_policy(uow: UnitOfWork, app_id: AppId, policy_id: str) -> bool:
    """Lock a policy against a second change; whether there is one."""
    row = await uow.find("select id from policies where app_id = %s and id = %s for update", (app_id, policy_id))
    return row is not None


async def find_policy(uow: UnitOfWork, app_id: AppId, policy_id: str) -> Policy | None:
    row = await uow.find(_POLICY + " where p.app_id = %s and p.id = %s", (app_id, policy_id))
    return _policy(row) if row else None


async def list_policies(
    uow: UnitOfWork, app_id: AppId, *, visible_to: str | None, after: str | None, limit: int
) -> list[Policy]:
    """Policies in the order of their making; a user sees its own and those of the app."""
    rows = await uow.fetch(
        _POLICY + " where p.app_id = %s and (%s::text is null or p.owner_user_id is null or p.owner_user_id = %s)"
        " and (%s::text is null or p.id > %s) order by p.id limit %s",
        (app_id, *_twice(visible_to, after), limit),
    )
    return [_policy(row) for row in rows]


async def list_revisions(
    uow: UnitOfWork, app_id: AppId, policy_id: str, *, before: int | None, limit: int
) -> list[PolicyRevision]:
    """Revisions of a policy, the newest first."""
    rows = await uow.fetch(
        "select policy_id, revision, document, created_by, created_at from policy_revisions"
        " where app_id = %s and policy_id = %s and (%s::integer is null or revision < %s) order by revision desc limit %s",
        (app_id, policy_id, before, before, limit),
    )
    return [_revision(row) for row in rows]


async def find_revision(uow: UnitOfWork, app_id: AppId, policy_id: str, revision: int) -> PolicyRevision | None:
    row = await uow.find(
        "select policy_id, revision, document, created_by, created_at from policy_revisions"
        " where app_id = %s and policy_id = %s and revision = %s",
        (app_id, policy_id, revision),
    )
    return _revision(row) if row else None


async def known_policies(uow: UnitOfWork, app_id: AppId, policy_ids: Sequence[str]) -> dict[str, str | None]:
    """Owners by id of those of these policies that the app has."""
    rows = await uow.fetch(
        "select id, owner_user_id from policies where app_id = %s and id = any(%s)", (app_id, list(policy_ids))
    )
    return {row["id"]: row["owner_user_id"] for row in rows}


async def insert_session(uow: UnitOfWork, session: SessionSigner, token_hash: bytes | None, created_by: str) -> None:
    await uow.execute(
        "insert into session_signers (id, app_id, wallet_id, grantee, token_hash, display_name, allowed_methods,"
        " policy_ids, max_value_per_transaction, max_total_value, max_value_per_window, window_seconds, max_transactions,"
        " authorization_key_id, status, expires_at, created_by, created_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            session.id,
            session.app_id,
            session.wallet_id,
            session.grantee,
            token_hash,
            session.display_name,
            list(session.allowed_methods),
            list(session.policy_ids),
            session.max_value_per_transaction,
            session.max_total_value,
            session.max_value_per_window,
            session.window_seconds,
            session.max_transactions,
            session.authorization_key_id,
            session.status,
            session.expires_at,
            created_by,
            session.created_at,
        ),
    )


async def list_sessions(
    uow: UnitOfWork, app_id: AppId, wallet_id: str, *, after: str | None, limit: int
) -> list[SessionSigner]:
    rows = await uow.fetch(
        "select * from session_signers where app_id = %s and wallet_id = %s and (%s::text is null or id > %s)"
        " order by id limit %s",
        (app_id, wallet_id, *_twice(after), limit),
    )
    return [_session(row) for row in rows]


async def list_key_sessions(
    uow: UnitOfWork, app_id: AppId, wallet_id: str, now: datetime
) -> list[tuple[str, OwnerKey]]:
    """Ids of the session signers of a wallet that are found by the key that signs, with that key, as long as they last."""
    rows = await uow.fetch(
        "select id, lockstep_key(app_id, authorization_key_id) as key from session_signers where app_id = %s"
        " and wallet_id = %s and grantee = 'key' and status = 'active' and expires_at > %s order by id",
        (app_id, wallet_id, now),
    )
    return [(row["id"], key) for row in rows if (key := read_key(row["key"])) is not None]


async def lock_session(uow: UnitOfWork, app_id: AppId, wallet_id: str, session_id: str) -> SessionSigner | None:
    """The session signer, locked against a second change."""
    row = await uow.find(
        "select * from session_signers where app_id = %s and wallet_id = %s and id = %s for update",
        (app_id, wallet_id, session_id),
    )
    return _session(row) if row else None


async def lock_token_sessions(uow: UnitOfWork, app_id: AppId, user_id: UserId) -> list[SessionSigner]:
    """The active session signers that somebody holds a token of, for the wallets of a user, locked."""
    rows = await uow.fetch(
        "select s.* from session_signers s join wallets w on w.app_id = s.app_id and w.id = s.wallet_id"
        " where s.app_id = %s and w.owner_user_id = %s and s.grantee = 'token' and s.status = 'active'"
        " order by s.id for update of s",
        (app_id, user_id),
    )
    return [_session(row) for row in rows]


async def revoke_session(uow: UnitOfWork, session: SessionSigner, now: datetime) -> SessionSigner:
    """End a session signer."""
    row = await uow.get(
        "update session_signers set status = 'revoked', revoked_at = %s where app_id = %s and id = %s returning *",
        (now, session.app_id, session.id),
    )
    return _session(row)


async def find_module_session(
    uow: UnitOfWork, app_id: AppId, wallet_id: str, grantee: str, now: datetime
) -> SessionSigner | None:
    """The session signer of a module for a wallet that lives longest; None when none is good now."""
    row = await uow.find(
        "select * from session_signers where app_id = %s and wallet_id = %s and grantee = %s and status = 'active'"
        " and expires_at > %s order by expires_at desc, id desc limit 1",
        (app_id, wallet_id, grantee, now),
    )
    return _session(row) if row else None


def _twice(*values: object) -> tuple[object, ...]:
    return tuple(value for value in values for _ in range(2))


def wallet_of(row: Row) -> Wallet:
    return Wallet(
        id=WalletId(row["id"]),
        app_id=AppId(row["app_id"]),
        address=row["address"],
        native_address=row["native_address"],
        chain_type=row["chain_type"],
        public_key=bytes(row["public_key"]),
        policy_ids=tuple(row["policy_ids"]),
        owner_user_id=None if row["owner_user_id"] is None else UserId(row["owner_user_id"]),
        owner_key_id=row["owner_key_id"],
        owner_quorum_id=row["owner_quorum_id"],
        display_name=row["display_name"],
        external_id=row["external_id"],
        status=row["status"],
        archived_at=row["archived_at"],
        version=row["version"],
        created_at=row["created_at"],
    )


def _revision(row: Row) -> PolicyRevision:
    return PolicyRevision(
        policy_id=row["policy_id"],
        revision=row["revision"],
        name=row["document"]["name"],
        rules=row["document"]["rules"],
        created_by=row["created_by"],
        created_at=row["created_at"],
    )


def _policy(row: Row) -> Policy:
    return Policy(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        name=row["name"],
        chain_type=row["chain_type"],
        owner_user_id=None if row["owner_user_id"] is None else UserId(row["owner_user_id"]),
        owner_key_id=row["owner_key_id"],
        owner_quorum_id=row["owner_quorum_id"],
        revision=row["revision"],
        rules=row["document"]["rules"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _session(row: Row) -> SessionSigner:
    return SessionSigner(
        id=row["id"],
        app_id=AppId(row["app_id"]),
        wallet_id=WalletId(row["wallet_id"]),
        grantee=row["grantee"],
        display_name=row["display_name"],
        allowed_methods=tuple(row["allowed_methods"]),
        policy_ids=tuple(row["policy_ids"]),
        max_value_per_transaction=_amount(row["max_value_per_transaction"]),
        max_total_value=_amount(row["max_total_value"]),
        max_value_per_window=_amount(row["max_value_per_window"]),
        window_seconds=row["window_seconds"],
        max_transactions=row["max_transactions"],
        authorization_key_id=row["authorization_key_id"],
        status=row["status"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )


def _amount(value: Decimal | None) -> int | None:
    return None if value is None else from_numeric(value)
