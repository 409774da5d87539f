"""Public representations: what answers and events show of wallets, policies and session signers. Never a share or token."""

from __future__ import annotations

from typing import Any

from lockstep.chains.evm import to_checksum
from lockstep.custody.policy.revisions import PolicyDiff
from lockstep.custody.policy.trace import ConditionTrace
from lockstep.custody.signing.evaluation import Evaluation
from lockstep.custody.signing.preview import Preview
from lockstep.custody.signing.rules import describe_limit
from lockstep.custody.signing.wallet_limits import WalletLimit
from lockstep.custody.types import Policy, PolicyRevision, SessionSigner, Wallet
from lockstep.kit.clock import rfc3339


def describe_wallet(wallet: Wallet) -> dict[str, Any]:
    """A wallet as its app sees it."""
    return {
        "id": wallet.id,
        "address": wallet.native_address or to_checksum(wallet.address),
        "chain_type": wallet.chain_type,
        "public_key": "0x" + wallet.public_key.hex(),
        "owner_user_id": wallet.owner_user_id,
        "owner_id": wallet.owner_id,
        "policy_ids": list(wallet.policy_ids),
        "display_name": wallet.display_name,
        "external_id": wallet.external_id,
        "status": wallet.status,
        "archived_at": None if wallet.archived_at is None else rfc3339(wallet.archived_at),
        "version": wallet.version,
        "created_at": rfc3339(wallet.created_at),
    }


def describe_policy(policy: Policy) -> dict[str, Any]:
    """A policy with the rules of its revision in force."""
    return {
        "id": policy.id,
        "version": "1.0",
        "name": policy.name,
        "chain_type": policy.chain_type,
        "owner_user_id": policy.owner_user_id,
        "owner_id": policy.owner_id,
        "revision": policy.revision,
        "rules": policy.rules,
        "created_at": rfc3339(policy.created_at),
        "updated_at": rfc3339(policy.updated_at),
    }


def describe_revision(revision: PolicyRevision) -> dict[str, Any]:
    """One document that a policy had, or has."""
    return {
        "revision": revision.revision,
        "name": revision.name,
        "rules": revision.rules,
        "created_by": revision.created_by,
        "created_at": rfc3339(revision.created_at),
    }


def describe_diff(before: int, after: int, diff: PolicyDiff) -> dict[str, Any]:
    """What became of the rules between two revisions."""
    return {
        "before": before,
        "after": after,
        "added": list(diff.added),
        "removed": list(diff.removed),
        "changed": [{"before": old, "after": new} for old, new in diff.changed],
    }


def describe_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """What a policy says about a request, and why."""
    verdict = evaluation.verdict
    return {
        "allowed": verdict.allowed,
        "reason_code": str(verdict.reason_code),
        "reason": verdict.reason,
        "rule_id": verdict.rule_id,
        "revision": verdict.policy_revision or None,
        "unmet": None if evaluation.unmet is None else _condition(evaluation.unmet),
        "rules": [
            {
                "rule_id": rule.rule_id,
                "name": rule.name,
                "action": str(rule.action),
                "holds": str(rule.holds),
                "conditions": [_condition(condition) for condition in rule.conditions],
            }
            for rule in evaluation.rules
        ],
        "limits": [describe_limit(limit) for limit in evaluation.limits],
    }


def _condition(condition: ConditionTrace) -> dict[str, Any]:
    return {
        "field_source": condition.field_source,
        "field": condition.field,
        "operator": condition.operator,
        "wanted": list(condition.wanted),
        "seen": condition.seen,
        "holds": str(condition.holds),
    }


def describe_session(session: SessionSigner) -> dict[str, Any]:
    """A session signer without its token."""
    return {
        "id": session.id,
        "wallet_id": session.wallet_id,
        "grantee": session.grantee,
        "display_name": session.display_name,
        "allowed_methods": list(session.allowed_methods),
        "policy_ids": list(session.policy_ids),
        "max_value_per_transaction": _number(session.max_value_per_transaction),
        "max_total_value": _number(session.max_total_value),
        "max_value_per_window": _number(session.max_value_per_window),
        "window_seconds": session.window_seconds,
        "max_transactions": session.max_transactions,
        "authorization_key_id": session.authorization_key_id,
        "status": session.status,
        "expires_at": rfc3339(session.expires_at),
        "created_at": rfc3339(session.created_at),
        "revoked_at": None if session.revoked_at is None else rfc3339(session.revoked_at),
    }


def describe_wallet_limit(limit: WalletLimit) -> dict[str, Any]:
    """A limit as it stands without a request."""
    shown = describe_limit(limit.standing)
    del shown["asked"]
    return {**shown, "frees_at": None if limit.frees_at is None else rfc3339(limit.frees_at)}


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def describe_preview(preview: Preview) -> dict[str, Any]:
    """A preview as a person is shown it."""
    ruling, quote, authorisation = preview.ruling, preview.quote, preview.authorisation
    return {
        "digest": preview.digest,
        "expires_at": None if preview.expires_at is None else rfc3339(preview.expires_at),
        "method": preview.method,
        "view": preview.words.to_json(),
        "verdict": {
            "allowed": ruling.allowed,
            "reason_code": ruling.reason_code,
            "reason": ruling.reason,
            "policy_id": ruling.policy_id,
            "rule_id": ruling.rule_id,
            "policy_revisions": dict(ruling.revisions),
            "limits": [describe_limit(limit) for limit in ruling.limits],
        },
        "authorization": None
        if authorisation is None
        else {"owner_id": preview.owner_id, "needed": authorisation.needed, "given": authorisation.given},
        "quote": None
        if quote is None
        else {
            "gas_limit": str(quote.gas_limit),
            "max_fee_per_gas": str(quote.max_fee_per_gas),
            "max_priority_fee_per_gas": str(quote.max_priority_fee_per_gas),
            "data_fee": str(quote.data_fee),
            "max_fee": str(quote.max_fee),
            "will_revert": quote.will_revert,
            "simulation": dict(quote.simulation),
        },
    }
