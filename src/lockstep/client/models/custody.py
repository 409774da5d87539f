"""Wallets, policies, session signers, previews, answers of methods, entries of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.client.decoding import Model
from lockstep.client.models.limits import Limit


@dataclass(frozen=True, kw_only=True)
class Wallet(Model):
    """A wallet."""

    id: str
    address: str
    chain_type: str
    public_key: str
    owner_user_id: str | None
    owner_id: str | None = None
    policy_ids: tuple[str, ...]
    display_name: str | None
    external_id: str | None = None
    status: str
    archived_at: datetime | None = None
    version: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Policy(Model):
    """A policy with its revision in force."""

    id: str
    version: str
    name: str
    chain_type: str
    owner_user_id: str | None
    owner_id: str | None = None
    revision: int
    rules: tuple[Mapping[str, Any], ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class PolicyRevision(Model):
    """One document that a policy had, or has."""

    revision: int
    name: str
    rules: tuple[Mapping[str, Any], ...]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ChangedRule(Model):
    """A rule that is in both revisions, and not the same."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PolicyDiff(Model):
    """What became of the rules between two revisions."""

    before: int
    after: int
    added: tuple[Mapping[str, Any], ...]
    removed: tuple[Mapping[str, Any], ...]
    changed: tuple[ChangedRule, ...]


@dataclass(frozen=True, kw_only=True)
class ConditionTrace(Model):
    """One condition against a request; `seen` is None where the request has no such field."""

    field_source: str
    field: str
    operator: str
    wanted: tuple[str, ...]
    seen: str | None
    holds: str
    """yes, no or unknown."""


@dataclass(frozen=True, kw_only=True)
class RuleTrace(Model):
    """One rule against a request."""

    rule_id: str
    name: str
    action: str
    holds: str
    conditions: tuple[ConditionTrace, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Model):
    """What a policy alone says about a request, and why."""

    allowed: bool
    reason_code: str
    reason: str
    rule_id: str | None
    revision: int | None
    """None: the proposed document was asked."""
    unmet: ConditionTrace | None
    """What keeps the closest ALLOW rule from matching."""
    rules: tuple[RuleTrace, ...]
    limits: tuple[Limit, ...] = ()
    """Sums that its ALLOW rules limit."""


@dataclass(frozen=True, kw_only=True)
class PolicySaid(Model):
    """What policies said, and which rule of which policy decided."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None
    rule_id: str | None


@dataclass(frozen=True, kw_only=True)
class ShadowDifference(Model):
    """A past request about which a document says something else."""

    decision_id: str
    wallet_id: str
    method: str
    decided_at: datetime
    then: PolicySaid
    now: PolicySaid


@dataclass(frozen=True, kw_only=True)
class Shadow(Model):
    """What a document would have decided about past requests."""

    requests: int
    same: int
    newly_allowed: int
    newly_denied: int
    undecided: int
    """How many depend on how much of a limit was used."""
    not_kept: int
    """How many could not be asked again."""
    differences: tuple[ShadowDifference, ...]


@dataclass(frozen=True, kw_only=True)
class CounterExample(Model):
    """A request that is allowed, and what must be so for it."""

    request: Mapping[str, Any]
    from_address: str
    current_unix_timestamp: int
    wallet_id: str
    user_id: str | None
    session_id: str | None


@dataclass(frozen=True, kw_only=True)
class Proof(Model):
    """What a proof about a policy says."""

    answer: str
    """never, counter_example or not_decided."""
    counter_example: CounterExample | None
    depends_on_condition_sets: bool
    """Whether `never` holds only as long as the condition sets hold what they hold now."""
    reason: str | None
    """Why it is not decided."""


@dataclass(frozen=True, kw_only=True)
class SessionSigner(Model):
    """Somebody else who may sign for a wallet, for a time."""

    id: str
    wallet_id: str
    grantee: str
    display_name: str | None
    allowed_methods: tuple[str, ...]
    policy_ids: tuple[str, ...]
    max_value_per_transaction: int | None
    max_total_value: int | None
    max_value_per_window: int | None
    window_seconds: int | None
    max_transactions: int | None
    authorization_key_id: str | None = None
    status: str
    expires_at: datetime
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewSessionSigner:
    """A new session signer; its token is shown only once, and None for modules."""

    session_signer: SessionSigner
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Detail(Model):
    """One line of what would be signed."""

    label: str
    value: str
    children: tuple[Detail, ...] = ()


@dataclass(frozen=True, kw_only=True)
class View(Model):
    """What would be signed, in words."""

    sentence: str
    details: tuple[Detail, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict(Model):
    """What the policies say."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None
    rule_id: str | None
    limits: tuple[Limit, ...] = ()
    """Limits that the request meets."""


@dataclass(frozen=True, kw_only=True)
class Quote(Model):
    """What it would cost, in wei, and whether it would go through now."""

    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    data_fee: int
    max_fee: int
    will_revert: str | None
    simulation: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Authorization(Model):
    """How many keys and users must authorise a request, and how many did."""

    owner_id: str | None
    needed: int
    given: int


@dataclass(frozen=True, kw_only=True)
class Preview(Model):
    """What a request would do. Sending the digest along refuses the request when any of this has changed."""

    digest: str
    expires_at: datetime | None
    method: str
    view: View
    verdict: Verdict
    authorization: Authorization | None = None
    quote: Quote | None


@dataclass(frozen=True, kw_only=True)
class RpcAnswer(Model):
    """The answer of a wallet's method."""

    method: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Model):
    """One entry of the audit log with the hashes that chain it."""

    shard: int
    seq: int
    prev_hash: str
    entry_hash: str
    record: Mapping[str, Any]
