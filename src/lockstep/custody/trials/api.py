"""Routes of trials."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from lockstep.chains.evm import Address, to_checksum
from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.policy import PolicyInvalid
from lockstep.custody.policy.proofs import Finding
from lockstep.custody.schemas import PolicyIn
from lockstep.custody.trials.errors import ProofsBusy, ProofsUnavailable
from lockstep.custody.trials.service import TrialService
from lockstep.custody.trials.types import Said, Shadow
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.problems import problems

MAX_LAST = 1_000
Seconds = Annotated[int, Field(ge=1, le=30, description="Most time for the solver.")]
Revision = Annotated[int, Field(ge=1, lt=2**31)]


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
    undecided: int = Field(description="How many depend on how much of a limit was used.")
    not_kept: int = Field(description="How many of them were not kept, so that they cannot be asked again.")
    differences: list[DifferenceOut] = Field(description="The newest first.")


class ProofIn(Strict):
    """What must never be allowed: a request that meets all of these conditions."""

    method: Annotated[str, StringConstraints(max_length=64)] = "*"
    conditions: Annotated[list[dict[str, Any]], Field(max_length=50, description="As in a rule for the method.")]
    document: PolicyIn | None = Field(None, description="Asked in place of the document in force.")
    seconds: Seconds = 5


class ComparisonIn(Strict):
    """Two documents of a policy: the earlier one, and a later or a proposed one."""

    before: Revision | None = Field(None, description="Default: the revision in force.")
    after: Revision | None = Field(None, description="Default: the revision in force.")
    document: PolicyIn | None = Field(None, description="Compared in place of `after`.")
    seconds: Seconds = 5


class ExampleOut(Strict):
    """A request that is allowed, and what must be so for it. The evaluator has confirmed it."""

    request: dict[str, Any]
    from_address: str
    current_unix_timestamp: int
    wallet_id: str
    user_id: str | None
    session_id: str | None


class ProofOut(Strict):
    """What a proof says."""

    answer: Literal["never", "counter_example", "not_decided"]
    counter_example: ExampleOut | None
    depends_on_condition_sets: bool = Field(
        description="Whether never holds only as long as the condition sets that are named hold what they hold now."
    )
    reason: str | None = Field(description="Why it is not decided.")


def trial_router(trials: TrialService, authenticate: Authenticate) -> APIRouter:
    """Routes of trials of policies."""
    router = APIRouter(prefix="/policies/{policy_id}", tags=["custody"])
    caller = Depends(authenticate)
    proofs = problems(*TENANT_ERRORS, errors.PolicyNotFound, PolicyInvalid, ProofsUnavailable, ProofsBusy)

    @router.post(
        "/shadow",
        operation_id="shadow_policy",
        responses=problems(*TENANT_ERRORS, errors.PolicyNotFound, PolicyInvalid),
    )
    async def shadow(policy_id: IdPath, body: ShadowIn, principal: Annotated[Principal, caller]) -> ShadowOut:
        """Try a document on the last requests that the policy took part in: which of them it would have decided otherwise.
        Signs, stores and sends nothing."""
        return _shadow(await trials.shadow(principal, policy_id, body.document.model_dump(), body.last))

    @router.post("/prove", operation_id="prove_policy", responses=proofs)
    async def prove(policy_id: IdPath, body: ProofIn, principal: Annotated[Principal, caller]) -> ProofOut:
        """Whether the policy can ever allow a request that meets these conditions: never, a counter-example, or not decided
        within the time."""
        finding = await trials.prove(
            principal,
            policy_id,
            body.conditions,
            method=body.method,
            document=None if body.document is None else body.document.model_dump(),
            seconds=body.seconds,
        )
        return _proof(finding)

    @router.post("/compare", operation_id="compare_policy", responses=proofs)
    async def compare(policy_id: IdPath, body: ComparisonIn, principal: Annotated[Principal, caller]) -> ProofOut:
        """Whether a later document allows anything that an earlier one did not: never, such a request, or not decided within
        the time."""
        finding = await trials.compare(
            principal,
            policy_id,
            before=body.before,
            after=body.after,
            document=None if body.document is None else body.document.model_dump(),
            seconds=body.seconds,
        )
        return _proof(finding)

    return router


def _shadow(found: Shadow) -> ShadowOut:
    return ShadowOut(
        requests=found.requests,
        same=found.same,
        newly_allowed=found.newly_allowed,
        newly_denied=found.newly_denied,
        undecided=found.undecided,
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


def _proof(found: Finding) -> ProofOut:
    example = found.example
    return ProofOut(
        answer=found.answer.value,
        counter_example=None
        if example is None
        else ExampleOut(
            request=dict(example.body),
            from_address=to_checksum(Address(example.from_address)),
            current_unix_timestamp=example.system.current_unix_timestamp,
            wallet_id=example.system.wallet_id,
            user_id=example.system.user_id,
            session_id=example.system.session_id,
        ),
        depends_on_condition_sets=found.depends_on_sets,
        reason=found.reason,
    )


def _said(said: Said) -> SaidOut:
    return SaidOut(
        allowed=said.allowed,
        reason_code=said.reason_code,
        reason=said.reason,
        policy_id=said.policy_id,
        rule_id=said.rule_id,
    )
