"""SQL of decisions: what they rest on, their rows, and previews."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from lockstep.chains.evm import Address
from lockstep.custody.authority.sealing import key_row, owner_rows
from lockstep.custody.authority.store import read_key, read_owner
from lockstep.custody.idempotency.store import INSERT_KEYS
from lockstep.custody.limits import SessionCaps
from lockstep.custody.seals import AuthorityTampered, Content, Kind, Sealed, Seals, contents
from lockstep.custody.seals.store import read_seals
from lockstep.custody.signing.types import Authority, SessionGrant, StoredDecision
from lockstep.custody.types import Decision, TransactionIntent
from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId, WalletId
from lockstep.kit.money import from_numeric

Wanted = tuple[str, str | None]
"""Ids of a wallet and, where a session signer asks, of the session."""

_AUTHORITY_COLUMNS = """
    w.id as wallet_id, w.app_id, a.status as app_status, w.address, w.owner_user_id,
    w.chain_type, w.public_key, w.native_address,
    case when w.owner_key_id is null and w.owner_quorum_id is null then null
        else coalesce(lockstep_owner(w.app_id, w.owner_key_id, w.owner_quorum_id), lockstep_nobody()) end as owner,
    coalesce(w.owner_key_id, w.owner_quorum_id) as owner_id,
    case when s.authorization_key_id is null then null
        else lockstep_key(s.app_id, s.authorization_key_id) end as session_key,
    w.status, w.archived_at is not null as is_archived, w.policy_ids,
    w.auth_share, s.id as session_id, s.grantee, s.authorization_key_id, s.status as session_status, s.expires_at, s.allowed_methods,
    s.policy_ids as session_policy_ids, s.max_value_per_transaction,
    s.max_total_value, s.max_value_per_window, s.window_seconds, s.max_transactions,
    (select jsonb_build_array(u.issuer, u.subject, u.role, u.status) from users u
     where u.app_id = w.app_id and u.id = w.owner_user_id) as owner_user,
    (select coalesce(jsonb_object_agg(c.id, c.revision), '{}'::jsonb)
     from policy_condition_sets l join condition_sets c on c.app_id = l.app_id and c.id = l.set_id
     where l.app_id = w.app_id and l.policy_id = any(w.policy_ids || coalesce(s.policy_ids, '{}'))) as set_revisions,
    (select coalesce(jsonb_object_agg(p.id, jsonb_build_array(p.revision, p.owner_user_id,
        coalesce(p.owner_key_id, p.owner_quorum_id))), '{}'::jsonb) from policies p
     where p.app_id = w.app_id and p.id = any(w.policy_ids || coalesce(s.policy_ids, '{}'))) as policies,
    (select coalesce(jsonb_object_agg(coalesce(k.app_id, ''), jsonb_build_array(k.id, k.engaged_by)), '{}'::jsonb)
     from kill_switches k where k.released_at is null and (k.app_id is null or k.app_id = w.app_id)) as stops,
    (select coalesce(jsonb_agg(jsonb_build_array(z.kind, z.id, z.revision, encode(z.code, 'hex'))), '[]'::jsonb)
     from seals z where z.id = any(array[w.app_id, w.id, s.id, w.owner_user_id, s.authorization_key_id, '']
        || w.policy_ids || s.policy_ids || case when w.owner_key_id is null and w.owner_quorum_id is null then null
            else lockstep_owner_ids(w.app_id, w.owner_key_id, w.owner_quorum_id) end)
     and z.kind <> 'app_access') as seals
"""

_AUTHORITIES = (
    "select q.n,"
    + _AUTHORITY_COLUMNS
    + """
from unnest(%b::text[], %b::text[]) with ordinality as q (wallet_id, session_id, n)
join wallets w on w.app_id = %s and w.id = q.wallet_id
join apps a on a.app_id = w.app_id
left join session_signers s on s.app_id = w.app_id and s.wallet_id = w.id and s.id = q.session_id
"""
)

_DECISIONS = (
    """
select d.id as decision_id, d.method, d.caller, d.session_id as decided_session_id, d.intent, d.allowed, d.reason_code,
    d.reason, d.policy_id, d.rule_id, d.policy_revisions, d.decided_at, d.correlation_id, d.authorized_by,
    d.seal as decision_seal, """
    + _AUTHORITY_COLUMNS
    + """
from signing_decisions d
join wallets w on w.app_id = d.app_id and w.id = d.wallet_id
join apps a on a.app_id = w.app_id
left join session_signers s on s.app_id = d.app_id and s.wallet_id = d.wallet_id and s.id = d.session_id
where d.id = any(%s) and d.allowed and d.intent is not null
"""
)

_INSERT_DECISIONS = """
with r as (
    select * from jsonb_to_recordset(%s::jsonb) as r (id text, app_id text, wallet_id text, session_id text, caller text,
        method text, chain text, request_digest text, intent jsonb, sealed_request text, allowed boolean, reason_code text,
        reason text, policy_id text, rule_id text, policy_revisions jsonb, authorized_by text[],
        correlation_id text, decided_at timestamptz, seal text)
), kept as (
    insert into decision_requests (decision_id, app_id, sealed, decided_at)
    select r.id, r.app_id, decode(r.sealed_request, 'hex'), r.decided_at from r where r.sealed_request is not null
)
insert into signing_decisions (id, app_id, wallet_id, session_id, caller, method, chain, request_digest, intent, allowed,
    reason_code, reason, policy_id, rule_id, policy_revisions, authorized_by, correlation_id, decided_at, seal)
select r.id, r.app_id, r.wallet_id, r.session_id, r.caller, r.method, r.chain, decode(r.request_digest, 'hex'), r.intent,
    r.allowed, r.reason_code, r.reason, r.policy_id, r.rule_id, r.policy_revisions, r.authorized_by,
    r.correlation_id, r.decided_at, decode(r.seal, 'hex')
from r
"""

_RELEASE = """
insert into released_signatures (app_id, decision_id, digest, released_at)
select q.app_id, q.decision_id, q.digest, %s
from unnest(%b::text[], %b::text[], %b::bytea[]) as q (app_id, decision_id, digest)
order by q.decision_id, q.digest
on conflict (decision_id, digest) do nothing
"""
"""Ordered, so that two batches that sign the same again do not block each other."""


async def load_authorities(
    uow: UnitOfWork, seals: Seals, app_id: AppId, wanted: Sequence[Wanted]
) -> list[Authority | None]:
    """What decisions about these wallets rest on, in the order of `wanted`; None where there is no such wallet."""
    mark = seals.mark()
    rows = await uow.fetch(_AUTHORITIES, _authority_params(app_id, wanted))
    return _in_order(rows, len(wanted), seals, mark)


async def claim_and_load(
    uow: UnitOfWork, seals: Seals, claim_params: tuple[object, ...], app_id: AppId, wanted: Sequence[Wanted]
) -> tuple[list[Row], list[Authority | None]]:
    """Insert idempotency keys and load authorities in one round trip; returns the inserted rows and the authorities."""
    mark = seals.mark()
    async with uow.connection.pipeline():
        claimed = await uow.connection.execute(INSERT_KEYS, claim_params)
        loaded = await uow.connection.execute(_AUTHORITIES, _authority_params(app_id, wanted))
        return await claimed.fetchall(), _in_order(await loaded.fetchall(), len(wanted), seals, mark)


async def load_documents(
    uow: UnitOfWork, seals: Seals, app_ids: Sequence[str], keys: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Documents of policies by (id, revision).

    Raises:
        AuthorityTampered: one of them is not what the service wrote.
    """
    mark = seals.mark()
    rows = await uow.fetch(
        "select r.app_id, r.policy_id, r.revision, r.document, z.revision as sealed_revision, z.code from policy_revisions r"
        " join unnest(%b::text[], %b::integer[]) as q (policy_id, revision) using (policy_id, revision)"
        " left join seals z on z.app_id = r.app_id and z.kind = 'policy_document' and z.id = r.policy_id || ':' || r.revision"
        " where r.app_id = any(%s)",
        ([policy_id for policy_id, _ in keys], [revision for _, revision in keys], list(app_ids)),
    )
    for row in rows:
        subject = f"{row['policy_id']}:{row['revision']}"
        content = contents.of_policy_document(row["app_id"], row["document"])
        seal = None if row["code"] is None else Sealed(row["sealed_revision"], bytes(row["code"]))
        found = {} if seal is None else {(str(Kind.POLICY_DOCUMENT), subject): seal}
        if (fault := seals.find_fault([(Kind.POLICY_DOCUMENT, subject, content)], found, mark)) is not None:
            raise AuthorityTampered(fault)
    return {(row["policy_id"], row["revision"]): row["document"] for row in rows}


def decision_row(
    decision: Decision,
    seals: Seals,
    *,
    caller: str,
    chain: str | None,
    request_digest: bytes,
    intent: Mapping[str, object] | None,
    sealed_request: bytes | None,
    correlation_id: str | None,
) -> dict[str, object]:
    """A decision as `insert_decisions` takes it."""
    return {
        "id": decision.id,
        "app_id": decision.app_id,
        "wallet_id": decision.wallet_id,
        "session_id": decision.session_id,
        "caller": caller,
        "method": decision.method,
        "chain": chain,
        "request_digest": request_digest.hex(),
        "intent": intent,
        "sealed_request": None if sealed_request is None else sealed_request.hex(),
        "allowed": decision.allowed,
        "reason_code": decision.reason_code,
        "reason": decision.reason,
        "policy_id": decision.policy_id,
        "rule_id": decision.rule_id,
        "policy_revisions": dict(decision.revisions),
        "authorized_by": list(decision.authorized_by),
        "correlation_id": correlation_id,
        "decided_at": decision.decided_at.isoformat(),
        "seal": _decision_seal(decision, seals, caller, intent) if decision.allowed and intent is not None else None,
    }


def _decision_seal(decision: Decision, seals: Seals, caller: str, intent: Mapping[str, object]) -> str:
    content = contents.of_decision(
        decision.app_id,
        decision.wallet_id,
        decision.session_id,
        caller,
        decision.method,
        intent,
        decision.revisions,
        decision.authorized_by,
    )
    return seals.code("decision", decision.id, content).hex()


async def insert_decisions(uow: UnitOfWork, rows: Sequence[Mapping[str, object]]) -> None:
    """Write decisions in one statement."""
    await uow.execute(_INSERT_DECISIONS, (json.dumps(rows),))


async def load_decisions(uow: UnitOfWork, seals: Seals, decision_ids: Sequence[str]) -> dict[str, StoredDecision]:
    """Allowed decisions about transactions, of all apps, with what they rest on as it is now. One that was not made by the
    service is none."""
    mark = seals.mark()
    rows = await uow.fetch(_DECISIONS, (list(decision_ids),))
    return {row["decision_id"]: _stored_decision(row, seals, mark) for row in rows if _is_sealed(row, seals)}


async def find_decided_session(uow: UnitOfWork, app_id: AppId, decision_id: str) -> str | None:
    """The session signer that a decision was made for; None: owner or app, or there is no such decision."""
    row = await uow.find(
        "select session_id from signing_decisions where app_id = %s and id = %s", (app_id, decision_id)
    )
    return None if row is None else row["session_id"]


async def find_decided_method(uow: UnitOfWork, app_id: AppId, decision_id: str) -> str | None:
    """The method that a decision was about; None where there is no such decision."""
    row = await uow.find("select method from signing_decisions where app_id = %s and id = %s", (app_id, decision_id))
    return None if row is None else row["method"]


async def insert_signatures(uow: UnitOfWork, signed: Sequence[tuple[str, str, bytes]], now: datetime) -> None:
    """Note what was signed: (app, decision, digest). The same digest again is the same signature."""
    await uow.execute(
        _RELEASE,
        (
            now,
            [app_id for app_id, _, _ in signed],
            [decision_id for _, decision_id, _ in signed],
            [digest for _, _, digest in signed],
        ),
    )


async def list_released(uow: UnitOfWork, items: Sequence[tuple[AppId, str, bytes]]) -> set[bytes]:
    """Those digests, of (app, decision, digest), that were signed."""
    rows = await uow.fetch(
        "select digest from released_signatures join unnest(%b::text[], %b::text[], %b::bytea[])"
        " as q (app_id, decision_id, digest) using (app_id, decision_id, digest)",
        tuple([item[place] for item in items] for place in range(3)),
    )
    return {bytes(row["digest"]) for row in rows}


async def save_preview(
    uow: UnitOfWork,
    app_id: AppId,
    digest: bytes,
    wallet_id: WalletId,
    terms: Mapping[str, object],
    expires_at: datetime,
) -> None:
    """Remember the terms that a preview showed."""
    await uow.execute(
        "insert into signing_previews (app_id, digest, wallet_id, terms, expires_at) values (%s, %s, %s, %s, %s)"
        " on conflict (app_id, digest) do update set expires_at = excluded.expires_at",
        (app_id, digest, wallet_id, Jsonb(dict(terms)), expires_at),
    )


async def find_preview(
    uow: UnitOfWork, app_id: AppId, wallet_id: WalletId, digest: bytes, now: datetime
) -> dict[str, Any] | None:
    """The terms of a preview of this wallet that has not expired."""
    row = await uow.find(
        "select terms from signing_previews where app_id = %s and wallet_id = %s and digest = %s and expires_at > %s",
        (app_id, wallet_id, digest, now),
    )
    return row["terms"] if row else None


async def delete_expired_previews(uow: UnitOfWork, now: datetime) -> int:
    return await uow.execute(
        "delete from signing_previews where expires_at < %s /* all tenants: forgets what has expired */", (now,)
    )


async def delete_old_requests(uow: UnitOfWork, before: datetime) -> int:
    return await uow.execute(
        "delete from decision_requests where decided_at < %s /* all tenants: forgets what is old */", (before,)
    )


def _authority_params(app_id: AppId, wanted: Sequence[Wanted]) -> tuple[object, ...]:
    return ([wallet_id for wallet_id, _ in wanted], [session_id for _, session_id in wanted], app_id)


def _in_order(rows: Sequence[Row], count: int, seals: Seals, mark: int) -> list[Authority | None]:
    found: list[Authority | None] = [None] * count
    for row in rows:
        found[row["n"] - 1] = _authority(row, seals, mark)
    return found


def _authority(row: Row, seals: Seals, mark: int) -> Authority:
    session = None
    if row["session_id"] is not None:
        limit = row["max_value_per_transaction"]
        session = SessionGrant(
            id=row["session_id"],
            status=row["session_status"],
            expires_at=row["expires_at"],
            allowed_methods=tuple(row["allowed_methods"]),
            policy_ids=tuple(row["session_policy_ids"]),
            max_value_per_transaction=None if limit is None else from_numeric(limit),
            key=read_key(row["session_key"]),
            caps=_caps(row),
        )
    return Authority(
        app_id=row["app_id"],
        app_status=row["app_status"],
        stopped_by="deployment" if "" in row["stops"] else "app" if row["stops"] else None,
        wallet_id=row["wallet_id"],
        address=Address(row["address"]),
        chain_type=row["chain_type"],
        public_key=bytes(row["public_key"]),
        native_address=row["native_address"],
        owner_user_id=row["owner_user_id"],
        owner=read_owner(row["owner"]),
        owner_status=None if row["owner_user"] is None else row["owner_user"][-1],
        status="archived" if row["is_archived"] else row["status"],
        policy_ids=tuple(row["policy_ids"]),
        auth_share=bytes(row["auth_share"]),
        session=session,
        revisions={policy: revision for policy, (revision, *_) in row["policies"].items()} | row["set_revisions"],
        fault=seals.find_fault(_sealed_rows(row), read_seals(row["seals"]), mark),
    )


def _sealed_rows(row: Row) -> list[tuple[Kind, str, Content]]:
    """Everything of an authority that must be sealed, as it was read."""
    app_id, wallet_id, session_id = row["app_id"], row["wallet_id"], row["session_id"]
    wallet = contents.of_wallet(
        app_id,
        row["address"],
        row["native_address"],
        row["owner_user_id"],
        row["owner_id"],
        row["policy_ids"],
        row["status"],
        is_archived=row["is_archived"],
    )
    found = [(Kind.APP, app_id, contents.of_app(app_id, row["app_status"])), (Kind.WALLET, wallet_id, wallet)]
    if session_id is not None:
        limit = row["max_value_per_transaction"]
        session = contents.of_session(
            app_id,
            wallet_id,
            row["grantee"],
            row["authorization_key_id"],
            row["session_status"],
            row["expires_at"],
            row["allowed_methods"],
            row["session_policy_ids"],
            None if limit is None else from_numeric(limit),
            list(_cap_values(row).values()),
        )
        found.append((Kind.SESSION, session_id, session))
    if row["owner_user"] is not None:
        found.append((Kind.USER, row["owner_user_id"], contents.of_user(app_id, *row["owner_user"])))
    if row["owner"] is not None and (owner := read_owner(row["owner"])) is not None:
        found.extend(owner_rows(app_id, owner))
    if row["session_key"] is not None and (key := read_key(row["session_key"])) is not None:
        found.append(key_row(app_id, key))
    for policy_id, (revision, user_id, owner_id) in row["policies"].items():
        found.append((Kind.POLICY, policy_id, contents.of_policy(app_id, user_id, owner_id, revision)))
    for scope in (app_id, ""):
        found.append((Kind.KILL_SWITCH, scope, contents.of_kill_switch(*row["stops"].get(scope, (None, None)))))
    return found


def _is_sealed(row: Row, seals: Seals) -> bool:
    content = contents.of_decision(
        row["app_id"],
        row["wallet_id"],
        row["decided_session_id"],
        row["caller"],
        row["method"],
        row["intent"],
        row["policy_revisions"],
        row["authorized_by"],
    )
    seal = row["decision_seal"]
    return seals.is_sealed("decision", row["decision_id"], content, None if seal is None else bytes(seal))


def _cap_values(row: Row) -> dict[str, int | None]:
    names = ("max_total_value", "max_value_per_window", "window_seconds", "max_transactions")
    return {name: None if row[name] is None else from_numeric(row[name]) for name in names}


def _caps(row: Row) -> SessionCaps | None:
    caps = _cap_values(row)
    if all(cap is None for cap in caps.values()):
        return None
    return SessionCaps(session_id=row["session_id"], **caps)


def _stored_decision(row: Row, seals: Seals, mark: int) -> StoredDecision:
    intent = row["intent"]
    return StoredDecision(
        decision=Decision(
            id=row["decision_id"],
            app_id=row["app_id"],
            wallet_id=row["wallet_id"],
            session_id=row["decided_session_id"],
            method=row["method"],
            allowed=row["allowed"],
            reason_code=row["reason_code"],
            reason=row["reason"],
            policy_id=row["policy_id"],
            rule_id=row["rule_id"],
            revisions=row["policy_revisions"],
            authorized_by=tuple(row["authorized_by"]),
            decided_at=row["decided_at"],
        ),
        caller=row["caller"],
        intent=TransactionIntent(
            app_id=row["app_id"],
            wallet_id=row["wallet_id"],
            chain=intent["chain"],
            from_address=intent["from"],
            to=intent["to"],
            value=int(intent["value"]),
            data=bytes.fromhex(intent["data"][2:]),
            type=0 if intent["type"] == "0" else 2,
            gas_limit=_number(intent["gas_limit"]),
            max_fee_per_gas=_number(intent["max_fee_per_gas"]),
            max_priority_fee_per_gas=_number(intent["max_priority_fee_per_gas"]),
            idempotency_key="",
            correlation_id=row["correlation_id"],
        ),
        authority=_authority(row, seals, mark),
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
