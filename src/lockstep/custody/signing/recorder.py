"""Writes decisions and signatures down: the row, and the audit entry in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.policy import Reading
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.request_box import RequestBox
from lockstep.custody.signing.types import Authority, Ruling
from lockstep.custody.types import Decision, Principal
from lockstep.kit.database import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """A decision with what its row and its audit entry say beyond it."""

    decision: Decision
    caller: str
    chain: str | None
    request_digest: bytes
    intent: Mapping[str, object] | None = None
    request: Mapping[str, Any] | None = None
    """What is kept, sealed, of a request without an intent."""
    correlation_id: str | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How the limits stood before it, so that it can be made again from the record."""


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """A signature that is released, with the digest that was signed and more facts for the audit log."""

    decision: Decision
    caller: str
    digest: bytes
    facts: Mapping[str, object] = field(default_factory=dict)


def decide(
    decision_id: str, principal: Principal, authority: Authority, method: str, ruling: Ruling, now: datetime
) -> Decision:
    """The decision that a ruling makes."""
    return Decision(
        id=decision_id,
        app_id=authority.app_id,
        wallet_id=authority.wallet_id,
        session_id=principal.session_id,
        method=method,
        allowed=ruling.allowed,
        reason_code=ruling.reason_code,
        reason=ruling.reason,
        policy_id=ruling.policy_id,
        rule_id=ruling.rule_id,
        revisions=ruling.revisions,
        authorized_by=ruling.authorized_by,
        decided_at=now,
    )


class Recorder:
    """Rows of decisions and entries of the audit log, always together."""

    def __init__(self, audit: AuditLog, seals: Seals, requests: RequestBox) -> None:
        self._audit, self._seals, self._requests = audit, seals, requests

    async def record_decisions(self, uow: UnitOfWork, records: Sequence[DecisionRecord]) -> None:
        """Write decisions, allowed and denied ones alike."""
        if not records:
            return
        await store.insert_decisions(
            uow,
            [
                store.decision_row(
                    record.decision,
                    self._seals,
                    caller=record.caller,
                    chain=record.chain,
                    request_digest=record.request_digest,
                    intent=record.intent,
                    sealed_request=self._sealed(record),
                    correlation_id=record.correlation_id,
                )
                for record in records
            ],
        )
        self._audit.append(uow, *[_decided(record) for record in records])

    def _sealed(self, record: DecisionRecord) -> bytes | None:
        if record.request is None:
            return None
        return self._requests.seal(record.decision.app_id, record.decision.id, record.request)

    async def record_signatures(self, uow: UnitOfWork, signed: Sequence[SignatureRecord], now: datetime) -> None:
        """Note signatures under their decisions."""
        if not signed:
            return
        await store.insert_signatures(uow, [(one.decision.app_id, one.decision.id, one.digest) for one in signed], now)
        self._audit.append(
            uow,
            *[
                _event(
                    one.decision, one.caller, "signature.released", "done", {"digest": one.digest.hex(), **one.facts}
                )
                for one in signed
            ],
        )

    def record_failure(self, uow: UnitOfWork, decision: Decision, caller: str, code: str) -> None:
        """Note that an allowed signature was not released after all."""
        self._audit.append(uow, _event(decision, caller, "signature.withheld", "failed", {"reason_code": code}))


def _decided(record: DecisionRecord) -> AuditEvent:
    decision = record.decision
    facts: dict[str, object] = {
        "request_digest": record.request_digest.hex(),
        "reason_code": decision.reason_code,
        "policy_id": decision.policy_id,
        "rule_id": decision.rule_id,
        "policy_revisions": dict(decision.revisions),
        "chain": record.chain,
    }
    if decision.authorized_by:
        facts["authorized_by"] = list(decision.authorized_by)
    if record.readings:
        facts["limits"] = {
            name: {"used": str(reading.used), "asked": None if reading.asked is None else str(reading.asked)}
            for name, reading in record.readings.items()
        }
    action, result = ("signature.allowed", "done") if decision.allowed else ("signature.denied", "denied")
    return _event(decision, record.caller, action, result, facts, record.correlation_id)


def _event(
    decision: Decision,
    caller: str,
    action: str,
    result: str,
    facts: Mapping[str, object],
    correlation_id: str | None = None,
) -> AuditEvent:
    return AuditEvent(
        app_id=decision.app_id,
        subject=decision.wallet_id,
        actor=caller,
        action=action,
        resource=f"wallet:{decision.wallet_id}",
        result=result,
        facts={"decision_id": decision.id, "method": decision.method, **facts},
        correlation_id=correlation_id,
    )
