"""Routes of trials."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.policy import PolicyInvalid
from lockstep.custody.schemas import PolicyIn
from lockstep.custody.trials.service import TrialService
from lockstep.custody.trials.types import Said, Shadow
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.problems import problems

MAX_LAST = 1_000


class ShadowIn(Strict):
    """A document, and how many past requests to try it on."""

    document: PolicyIn
    last: Annotated[int, Field(ge=1, le=MAX_LAST)] = 100


class SaidOut(Strict):
    """What policies said, and which rule of which policy decided."""

    allowed: bool
    reason_code: str
    reason: str
    policy_id: str | None
    rule_id: str | None


class DifferenceOut(Strict):
    """A request about which the document says something else."""

    decision_id: str
    wallet_id: str
    method: str
    decided_at: str
    then: SaidOut
    now: SaidOut


class ShadowOut(Strict):
    """What a document would have decided about past requests."""

    requests: int = Field(description="How many were looked at.")
    same: int
    newly_allowed: int
    newly_denied: int
    not_kept: int = Field(description="How many of them were not kept, so that they cannot be asked again.")
    differences: list[DifferenceOut] = Field(description="The newest first.")


def trial_router(trials: TrialService, authenticate: Authenticate) -> APIRouter:
    """Routes of trials of policies."""
    router = APIRouter(prefix="/policies/{policy_id}", tags=["custody"])
    caller = Depends(authenticate)

    @router.post(
        "/shadow",
        operation_id="shadow_policy",
        responses=problems(*TENANT_ERRORS, errors.PolicyNotFound, PolicyInvalid),
    )
    async def shadow(policy_id: IdPath, body: ShadowIn, principal: Annotated[Principal, caller]) -> ShadowOut:
        """Try a document on the last requests that the policy took part in: which of them it would have decided otherwise.
        Signs, stores and sends nothing."""
        return _shadow(await trials.shadow(principal, policy_id, body.document.model_dump(), body.last))

    return router


def _shadow(found: Shadow) -> ShadowOut:
    return ShadowOut(
        requests=found.requests,
        same=found.same,
        newly_allowed=found.newly_allowed,
        newly_denied=found.newly_denied,
        not_kept=found.not_kept,
        differences=[
            DifferenceOut(
                decision_id=one.decision_id,
                wallet_id=one.wallet_id,
                method=one.method,
                decided_at=rfc3339(one.decided_at),
                then=_said(one.then),
                now=_said(one.now),
            )
            for one in found.differences
        ],
    )


def _said(said: Said) -> SaidOut:
    return SaidOut(
        allowed=said.allowed,
        reason_code=said.reason_code,
        reason=said.reason,
        policy_id=said.policy_id,
        rule_id=said.rule_id,
    )
