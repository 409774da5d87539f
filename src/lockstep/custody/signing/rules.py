"""Who may have what signed: the caller's standing, the session's limits, then the policies. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from lockstep.chains.evm import UnsignedTransaction, chain_name
from lockstep.custody.authority.errors import AuthorizationInsufficient
from lockstep.custody.authority.rules import authorise, insufficient, owner_of_one
from lockstep.custody.authority.types import Authorisation
from lockstep.custody.errors import (
    AppSuspended,
    CallerNotAllowed,
    DecisionMismatch,
    FeeAboveCeiling,
    OwnerRequired,
    PolicyDenied,
    PolicyMissing,
    SessionExpired,
    SessionLimitReached,
    SessionMethodDenied,
    SessionRevoked,
    SessionValueDenied,
    SigningStopped,
    UserDisabled,
    WalletArchived,
    WalletFrozen,
    WalletNotFound,
)
from lockstep.custody.limits import LimitStanding, session_maxima, standings
from lockstep.custody.policy import NO_MEMBERS, CompiledPolicy, Members, Reading, SystemFacts, evaluate
from lockstep.custody.seals import AuthorityTampered
from lockstep.custody.signing.types import Authority, Ruling, SessionGrant
from lockstep.custody.types import Decision, Principal, TransactionIntent
from lockstep.custody.view import RequestView, TransactionDraft
from lockstep.kit.canonical import canonical
from lockstep.kit.errors import Forbidden, LockstepError

PolicyKey = tuple[str, int]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def attached(authority: Authority) -> list[str]:
    """Ids of the policies that must all allow: the session's own first, then the wallet's; each once."""
    own = authority.session.policy_ids if authority.session is not None else ()
    return list(dict.fromkeys((*own, *authority.policy_ids)))


def policy_keys(authority: Authority) -> list[PolicyKey]:
    """Those of the attached policies that exist, with their revision in force."""
    return [(policy, authority.revisions[policy]) for policy in attached(authority) if policy in authority.revisions]


def check_visible(principal: Principal, authority: Authority | None, *, oversees: bool = False) -> Authority:
    """The wallet, if there is one for this caller.

    Args:
        oversees: whether who oversees the app may do this for its users, too: take back and hurry, never begin.

    Raises:
        WalletNotFound: there is none, or it is somebody else's: both look the same.
    """
    if authority is None:
        raise WalletNotFound
    is_strange = principal.kind == "user" and not _belongs_to(authority, principal.user_id)
    if is_strange and not (oversees and principal.oversees_app):
        raise WalletNotFound
    if principal.kind == "session" and authority.wallet_id != principal.wallet_id:
        raise WalletNotFound
    return authority


def _belongs_to(authority: Authority, user_id: str | None) -> bool:
    """Whether a user owns the wallet, or is one of those who own it together."""
    owner = authority.owner
    return authority.owner_user_id == user_id if owner is None else user_id in set(owner.all_users())


def rule_on(
    principal: Principal,
    authority: Authority,
    view: RequestView,
    policies: Mapping[PolicyKey, CompiledPolicy],
    now: datetime,
    members: Members = NO_MEMBERS,
    readings: Mapping[str, Reading] = MappingProxyType({}),
    *,
    needs_proof: bool = True,
) -> Ruling:
    """Whether this caller may have this signed now.

    Args:
        needs_proof: whether what keys must sign has to be signed already; not so for a preview.
        policies: compiled, at least all of `policy_keys(authority)`.
        members: from `PolicyShelf.load_members`; what is not answered there cannot be decided.
        readings: how the limits stand that the request meets; one that is absent cannot be decided.
    """
    refusal = (
        check_standing(principal, authority, now, needs_proof=needs_proof)
        or _check_session(authority, view)
        or _check_caps(authority.session, readings)
    )
    if refusal is not None:
        return replace(_refused(authority, refusal), limits=_limits(authority, policies, readings, view))
    ids = attached(authority)
    missing = [policy for policy in ids if policy not in authority.revisions]
    if missing:
        return _refused(authority, PolicyMissing(policy_id=missing[0]))
    verdict = evaluate(
        view,
        [policies[key] for key in policy_keys(authority)],
        system_facts(principal, authority, now),
        members,
        readings,
    )
    authorisation = authorisation_of(principal, authority)
    limits = _limits(authority, policies, readings, view)
    return Ruling(
        allowed=verdict.allowed,
        reason_code=str(verdict.reason_code),
        reason=verdict.reason,
        policy_id=verdict.policy_id,
        rule_id=verdict.rule_id,
        authorized_by=() if authorisation is None else authorisation.by,
        owner=authority.owner_user_id if authority.owner is None else authority.owner.id,
        revisions=authority.revisions,
        error=None
        if verdict.allowed
        else PolicyDenied(
            verdict.reason,
            reason_code=str(verdict.reason_code),
            policy_id=verdict.policy_id,
            rule_id=verdict.rule_id,
            policy_revision=verdict.policy_revision,
            **({"limits": [describe_limit(limit) for limit in limits]} if limits else {}),
        ),
        limits=limits,
    )


def system_facts(principal: Principal, authority: Authority, now: datetime) -> SystemFacts:
    """What policies may ask about the caller and the moment."""
    return SystemFacts(
        current_unix_timestamp=int((now - _EPOCH).total_seconds()),
        wallet_id=authority.wallet_id,
        app_id=authority.app_id,
        user_id=principal.user_id,
        session_id=principal.session_id,
    )


def check_standing(
    principal: Principal, authority: Authority, now: datetime, *, needs_proof: bool = True
) -> LockstepError | None:
    """Why this caller may sign nothing at all for the wallet; None when it may.

    This is looked at again before every signature, also of a decision made earlier.
    """
    return (
        check_wallet(authority)
        or check_caller(principal, authority, now)
        or (check_proof(principal, authority) if needs_proof else None)
    )


def check_wallet(authority: Authority) -> LockstepError | None:
    """Why nobody at all signs for the wallet; None when somebody may."""
    if authority.fault is not None:
        return AuthorityTampered(f"expected what the service itself has written; {authority.fault}")
    if authority.stopped_by is not None:
        return SigningStopped(f"a kill switch of the {authority.stopped_by} is engaged", scope=authority.stopped_by)
    if authority.app_status != "active":
        return AppSuspended()
    if authority.status == "archived":
        return WalletArchived()
    return None if authority.status == "active" else WalletFrozen()


def check_caller(principal: Principal, authority: Authority, now: datetime) -> Forbidden | None:
    """Why this caller does not act for the wallet, whatever it may show and whatever the wallet may do at the moment."""
    if principal.kind == "session":
        session = authority.session
        if session is None or session.status != "active":
            return SessionRevoked()
        if now >= session.expires_at:
            return SessionExpired()
        return None
    if principal.kind == "user":
        is_shut_out = authority.owner_user_id == principal.user_id and authority.owner_status == "disabled"
        return UserDisabled() if is_shut_out else None  # a wallet of another user is not found
    if principal.kind == "app":
        return None if authority.owner_user_id is None else OwnerRequired("this wallet signs for its owner only")
    return CallerNotAllowed(f"{principal.kind} callers sign through a session signer")


def check_proof(principal: Principal, authority: Authority) -> AuthorizationInsufficient | None:
    """Why what keys must sign is not signed, by the owner or the session signer as it is now; None when it is, or when
    the caller's credentials are enough."""
    authorisation = authorisation_of(principal, authority)
    if authorisation is None or authorisation.is_enough:
        return None
    if authority.owner is None or principal.kind == "session":
        return AuthorizationInsufficient("the key of the session signer must sign each request")
    return insufficient(authority.owner, authorisation)


def authorisation_of(principal: Principal, authority: Authority) -> Authorisation | None:
    """Who has authorised what this caller asks for; None when its credentials are enough."""
    if principal.kind == "session":
        key = None if authority.session is None else authority.session.key
        return None if key is None else authorise(owner_of_one(key), principal.proof)
    if authority.owner is None or principal.kind not in ("app", "user"):
        return None
    return authorise(authority.owner, principal.proof, principal.user_id)


def has_changed(authority: Authority, decision: Decision) -> bool:
    """Whether other policies are attached than at the decision, or these or their condition sets have changed."""
    return dict(authority.revisions) != dict(decision.revisions)


def _check_session(authority: Authority, view: RequestView) -> Forbidden | None:
    session = authority.session
    if session is None:
        return None
    for part in view.decided:
        if part.method not in session.allowed_methods:
            return SessionMethodDenied(f"this session signer may not call {part.method}")
    limit = session.max_value_per_transaction
    if limit is None:
        return None
    if view.user_operation is not None and not view.parts:
        return SessionValueDenied("the value that this user operation moves cannot be told")
    value = sum(part.call.value for part in view.decided if part.call is not None)
    return SessionValueDenied(f"expected a value of at most {limit}, was {value}") if value > limit else None


def _check_caps(session: SessionGrant | None, readings: Mapping[str, Reading]) -> Forbidden | None:
    caps = None if session is None else session.caps
    for name, maximum in ({} if caps is None else session_maxima(caps)).items():
        reading = readings.get(name)
        total = None if reading is None else reading.total
        if total is not None and total <= maximum:
            continue
        used = 0 if reading is None else reading.used
        asked = None if reading is None else reading.asked
        what = "it cannot be told what this moves" if asked is None else f"this asks for {asked}"
        return SessionLimitReached(
            f"{name.partition('.')[2]}: expected at most {maximum}, {used} are used, {max(maximum - used, 0)} are left;"
            f" {what}",
            limit=name,
            maximum=str(maximum),
            used=str(used),
            left=str(max(maximum - used, 0)),
            asked=None if asked is None else str(asked),
        )
    return None


def _limits(
    authority: Authority,
    policies: Mapping[PolicyKey, CompiledPolicy],
    readings: Mapping[str, Reading],
    view: RequestView,
) -> tuple[LimitStanding, ...]:
    if not readings:
        return ()
    caps = None if authority.session is None else authority.session.caps
    return standings(
        caps, [policies[key] for key in policy_keys(authority)], readings, [part.method for part in view.decided]
    )


def describe_limit(limit: LimitStanding) -> dict[str, object]:
    """A limit on the wire; amounts as decimal strings."""
    return {
        "limit": limit.limit,
        "name": limit.name,
        "policy_id": limit.policy_id,
        "rule_id": limit.rule_id,
        "maximum": str(limit.maximum),
        "used": str(limit.used),
        "left": str(limit.left),
        "asked": None if limit.asked is None else str(limit.asked),
        "window_seconds": limit.window_seconds,
    }


def _refused(authority: Authority, error: LockstepError) -> Ruling:
    return Ruling(
        allowed=False, reason_code=error.code, reason=error.detail, revisions=authority.revisions, error=error
    )


def check_intent(intent: TransactionIntent, transaction: UnsignedTransaction) -> None:
    """Refuse a transaction that is not the one that was decided on.

    Raises:
        DecisionMismatch: another chain, recipient, value or data, or a type or access list that was not decided on.
        FeeAboveCeiling: gas or fees above what the decision allows.
    """
    same = {
        "chain": (chain_name(transaction.chain_id), intent.chain),
        "to": (transaction.to, intent.to),
        "value": (transaction.value, intent.value),
        "data": (transaction.data, intent.data),
        "type": (transaction.type, intent.type),
        "access_list": (transaction.access_list, ()),
    }
    for name, (given, decided) in same.items():
        if given != decided:
            raise DecisionMismatch(f"{name} is not what was decided on")
    tip = () if transaction.type == 0 else ("max_priority_fee_per_gas",)
    for name in ("gas_limit", "max_fee_per_gas", *tip):
        ceiling, number = getattr(intent, name), getattr(transaction, name)
        if ceiling is not None and number > ceiling:
            raise FeeAboveCeiling(f"expected {name} of at most {ceiling}, was {number}")


def draft_of(intent: TransactionIntent, chain_id: int) -> TransactionDraft:
    """The intent as policies see it: what is open is absent."""
    return TransactionDraft(
        chain_id=chain_id,
        to=intent.to,  # type: ignore[arg-type]  # an address by the contract of the type
        value=intent.value,
        data=intent.data,
        gas_limit=intent.gas_limit,
        max_fee_per_gas=intent.max_fee_per_gas,
        max_priority_fee_per_gas=intent.max_priority_fee_per_gas,
        type=intent.type,
    )


def intent_digest(intent: TransactionIntent) -> bytes:
    """What stands for an intent in decisions and in the audit log."""
    return hashlib.sha256(b"lockstep intent v1\n" + canonical(intent_wire(intent))).digest()


def intent_wire(intent: TransactionIntent) -> dict[str, object]:
    """The part of an intent that was decided on, as JSON; numbers as decimal strings."""

    def number(value: int | None) -> str | None:
        return None if value is None else str(value)

    return {
        "chain": intent.chain,
        "from": intent.from_address,
        "to": intent.to,
        "value": str(intent.value),
        "data": "0x" + intent.data.hex(),
        "type": str(intent.type),
        "gas_limit": number(intent.gas_limit),
        "max_fee_per_gas": number(intent.max_fee_per_gas),
        "max_priority_fee_per_gas": number(intent.max_priority_fee_per_gas),
    }


def revisions_digest(revisions: Mapping[str, int]) -> str:
    """Names a set of policy revisions in one word, for execution authorizations."""
    return hashlib.sha256(canonical(dict(revisions))).hexdigest()
