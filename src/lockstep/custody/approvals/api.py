"""Routes of approvals."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.approvals import schemas
from lockstep.custody.approvals.errors import ApprovalClosed, ApprovalInvalid, ApprovalNotFound, ApprovalNotNeeded
from lockstep.custody.approvals.service import ApprovalService
from lockstep.custody.authority.errors import AuthorizationInsufficient, KeyQuorumNotFound, SignatureMalformed
from lockstep.custody.types import Principal
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=500)]


def approval_router(approvals: ApprovalService, authenticate: Authenticate) -> APIRouter:
    """Routes of approvals."""
    router = APIRouter(prefix="/approvals", tags=["authority"])
    caller = Depends(authenticate)
    one = (*TENANT_ERRORS, ApprovalNotFound)

    @router.post(
        "",
        operation_id="create_approval",
        status_code=201,
        responses=problems(
            *TENANT_ERRORS,
            ApprovalInvalid,
            ApprovalNotNeeded,
            errors.WalletNotFound,
            errors.PolicyNotFound,
            KeyQuorumNotFound,
        ),
    )
    async def create_approval(body: schemas.ApprovalIn, principal: Annotated[Principal, caller]) -> schemas.ApprovalOut:
        """Have a request about what belongs to keys or a quorum wait until enough of them have authorised."""
        view = await approvals.create(principal, body.method, body.path, body.body, body.expires_at)
        return schemas.approval_out(view)

    @router.get("", operation_id="list_approvals", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_approvals(
        principal: Annotated[Principal, caller],
        status: schemas.StatusName | None = None,
        resource_id: Annotated[
            str | None, Query(max_length=64, description="Wallet, policy or quorum that it is about.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> schemas.ApprovalsOut:
        """Approvals of the app, the newest first; a user sees those that it may give."""
        page = await approvals.list_approvals(
            principal, status=status, resource_id=resource_id, cursor=cursor, limit=limit
        )
        return schemas.ApprovalsOut(
            items=[schemas.approval_out(view) for view in page.items], next_cursor=page.next_cursor
        )

    @router.get("/{approval_id}", operation_id="get_approval", responses=problems(*one))
    async def get_approval(approval_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.ApprovalOut:
        """One approval, with what is to be signed."""
        return schemas.approval_out(await approvals.get(principal, approval_id))

    @router.post(
        "/{approval_id}/authorize",
        operation_id="authorize_approval",
        responses=problems(*one, ApprovalClosed, AuthorizationInsufficient, SignatureMalformed),
    )
    async def authorize_approval(
        approval_id: IdPath, body: schemas.AuthorizeIn, principal: Annotated[Principal, caller]
    ) -> schemas.ApprovalOut:
        """Authorise with a signature over the payload, or as a user who stands in the owner. When it is enough, the request
        is carried out at once; who owns the thing and what the policies say is looked at again then."""
        return schemas.approval_out(await approvals.authorize(principal, approval_id, body.signature))

    @router.post("/{approval_id}/reject", operation_id="reject_approval", responses=problems(*one, ApprovalClosed))
    async def reject_approval(approval_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.ApprovalOut:
        """End an approval that is pending. For the app, and for users who may give it."""
        return schemas.approval_out(await approvals.reject(principal, approval_id))

    return router
