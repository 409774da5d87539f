"""Routes of custody: apps and credentials, wallets, policies, session signers, previews, signatures, the audit log."""

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from lockstep.chains.cardano import MalformedBody
from lockstep.chains.evm import MalformedTransaction, MalformedTypedData, NodeUnavailable, UnknownChain
from lockstep.custody import errors, schemas, views
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.authority.api import SIGNED
from lockstep.custody.authority.errors import OwnerInvalid, OwnerNotFound
from lockstep.custody.execution import SignerBusy, SignerUnavailable
from lockstep.custody.idempotency import claim_for
from lockstep.custody.policy import PolicyInvalid
from lockstep.custody.registry.api import registry_router
from lockstep.custody.responses import IDEMPOTENT, Cursor, Key, Limit, answer
from lockstep.custody.service import CustodyService
from lockstep.custody.sessions import SessionTerms
from lockstep.custody.signing.api import raw_sign_router
from lockstep.custody.types import Principal
from lockstep.custody.view import MethodNotOffered, RpcInvalid, WrongSender
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError
from lockstep.kit.paging import DEFAULT_LIMIT, BadCursor
from lockstep.kit.problems import problems

_REQUEST = (
    RpcInvalid,
    MethodNotOffered,
    WrongSender,
    MalformedTransaction,
    MalformedTypedData,
    MalformedBody,
    errors.FamilyMismatch,
)


def router(
    service: CustodyService,
    database: Database,
    authenticate: Authenticate,
    engine_errors: Sequence[type[LockstepError]] = (),
) -> APIRouter:
    """Routes of wallets, policies, session signers, previews and signatures.

    Args:
        engine_errors: what the connected engine may refuse with, to be declared.
    """
    router = APIRouter(tags=["custody"])
    caller = Depends(authenticate)
    # Routes are matched in this order: the busiest ones stand first.

    @router.post(
        "/wallets/{wallet_id}/rpc/preview",
        responses=problems(
            *TENANT_ERRORS, *_REQUEST, errors.WalletNotFound, errors.BatchNotSupported, UnknownChain, NodeUnavailable
        ),
    )
    async def preview(
        wallet_id: IdPath, body: schemas.RpcIn, principal: Annotated[Principal, caller]
    ) -> schemas.PreviewOut:
        """Show what a request would do, in words, with the verdict of the policies and what it would cost."""
        principal = await service.find_actor(principal, wallet_id)
        shown = await service.preview(principal, wallet_id, body.model_dump())
        return schemas.PreviewOut(**views.describe_preview(shown))

    @router.post(
        "/wallets/{wallet_id}/rpc",
        response_model=schemas.RpcOut,
        responses=problems(
            *TENANT_ERRORS,
            *_REQUEST,
            *IDEMPOTENT,
            *errors.SIGNING_REFUSALS,
            errors.IdempotencyKeyMissing,
            errors.SessionAmbiguous,
            errors.WalletNotFound,
            errors.PreviewOutdated,
            errors.BatchNotSupported,
            UnknownChain,
            NodeUnavailable,
            *engine_errors,
            SignerUnavailable,
            SignerBusy,
        ),
    )
    async def rpc(
        request: Request,
        wallet_id: IdPath,
        body: schemas.RpcIn,
        principal: Annotated[Principal, caller],
        key: Key = None,
    ) -> Response:
        """Sign or send, once per idempotency key."""
        principal = await service.find_actor(principal, wallet_id)
        content, path = body.model_dump(), request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        claim = claim_for(principal, "POST", path, key, content, query)
        return answer(await service.rpc(principal, wallet_id, content, claim), path)

    router.include_router(raw_sign_router(service, authenticate))
    router.include_router(registry_router(service, authenticate))

    @router.get("/wallets/{wallet_id}", responses=problems(*TENANT_ERRORS, errors.WalletNotFound))
    async def get_wallet(wallet_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.WalletOut:
        """One wallet."""
        return schemas.WalletOut(**views.describe_wallet(await service.get_wallet(principal, wallet_id)))

    @router.patch(
        "/wallets/{wallet_id}",
        responses=problems(
            *TENANT_ERRORS,
            *SIGNED,
            errors.WalletNotFound,
            errors.PolicyNotFound,
            errors.UserNotFound,
            OwnerNotFound,
            errors.OwnerRequired,
            errors.TooManyPolicies,
            OwnerInvalid,
        ),
    )
    async def update_wallet(
        wallet_id: IdPath, body: schemas.WalletPatch, principal: Annotated[Principal, caller]
    ) -> schemas.WalletOut:
        """Change policies, name, status or owner. A frozen wallet signs nothing, at once."""
        wallet = await service.update_wallet(
            principal,
            wallet_id,
            policy_ids=body.policy_ids,
            display_name=body.display_name,
            status=body.status,
            owner=body.new_owner(),
        )
        return schemas.WalletOut(**views.describe_wallet(wallet))

    @router.get(
        "/wallets/{wallet_id}/limits",
        operation_id="list_wallet_limits",
        responses=problems(*TENANT_ERRORS, errors.WalletNotFound),
    )
    async def list_wallet_limits(wallet_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.WalletLimitsOut:
        """How the spending limits of a wallet stand for the caller: used, left, and when some of it is free again."""
        found = await service.list_wallet_limits(principal, wallet_id)
        return schemas.WalletLimitsOut(
            items=[schemas.WalletLimitOut(**views.describe_wallet_limit(limit)) for limit in found]
        )

    @router.post(
        "/policies", status_code=201, responses=problems(*TENANT_ERRORS, PolicyInvalid, OwnerNotFound, OwnerInvalid)
    )
    async def create_policy(body: schemas.OwnedPolicyIn, principal: Annotated[Principal, caller]) -> schemas.PolicyOut:
        """Check a policy document and keep it as revision 1."""
        async with database.tenant(principal.tenant) as uow:
            policy = await service.create_policy(uow, principal, body.document(), body.owner_id)
        return schemas.PolicyOut(**views.describe_policy(policy))

    @router.get("/policies", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_policies(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> schemas.PoliciesOut:
        """Policies that the caller may see, oldest first."""
        page = await service.list_policies(principal, cursor=cursor, limit=limit)
        return schemas.PoliciesOut(
            items=[schemas.PolicyOut(**views.describe_policy(policy)) for policy in page.items],
            next_cursor=page.next_cursor,
        )

    @router.get("/policies/{policy_id}", responses=problems(*TENANT_ERRORS, errors.PolicyNotFound))
    async def get_policy(policy_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.PolicyOut:
        """One policy with its revision in force."""
        return schemas.PolicyOut(**views.describe_policy(await service.get_policy(principal, policy_id)))

    @router.patch(
        "/policies/{policy_id}",
        responses=problems(
            *TENANT_ERRORS,
            *SIGNED,
            errors.PolicyNotFound,
            OwnerNotFound,
            errors.OwnerRequired,
            PolicyInvalid,
            OwnerInvalid,
        ),
    )
    async def update_policy(
        policy_id: IdPath, body: schemas.OwnedPolicyIn, principal: Annotated[Principal, caller]
    ) -> schemas.PolicyOut:
        """Put a whole new document in force as the next revision."""
        policy = await service.update_policy(principal, policy_id, body.document(), body.new_owner())
        return schemas.PolicyOut(**views.describe_policy(policy))

    @router.get(
        "/policies/{policy_id}/revisions",
        operation_id="list_policy_revisions",
        responses=problems(*TENANT_ERRORS, errors.PolicyNotFound, BadCursor),
    )
    async def list_policy_revisions(
        policy_id: IdPath, principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> schemas.PolicyRevisionsOut:
        """Every document that a policy had, the newest first."""
        page = await service.list_policy_revisions(principal, policy_id, cursor=cursor, limit=limit)
        return schemas.PolicyRevisionsOut(
            items=[schemas.PolicyRevisionOut(**views.describe_revision(one)) for one in page.items],
            next_cursor=page.next_cursor,
        )

    @router.get(
        "/policies/{policy_id}/diff",
        operation_id="diff_policy",
        responses=problems(*TENANT_ERRORS, errors.PolicyNotFound),
    )
    async def diff_policy(
        policy_id: IdPath,
        principal: Annotated[Principal, caller],
        before: Annotated[int, Query(ge=1, lt=2**31)],
        after: Annotated[int, Query(ge=1, lt=2**31)],
    ) -> schemas.PolicyDiffOut:
        """What became of the rules between two revisions."""
        diff = await service.diff_policy(principal, policy_id, before, after)
        return schemas.PolicyDiffOut(**views.describe_diff(before, after, diff))

    @router.post(
        "/policies/{policy_id}/evaluate",
        operation_id="evaluate_policy",
        responses=problems(
            *TENANT_ERRORS, *_REQUEST, errors.PolicyNotFound, errors.WalletNotFound, PolicyInvalid, UnknownChain
        ),
    )
    async def evaluate_policy(
        policy_id: IdPath, body: schemas.EvaluateIn, principal: Annotated[Principal, caller]
    ) -> schemas.EvaluationOut:
        """Try a request against a policy, or against a document that is to replace it: the verdict, and each rule with what
        it wants and what the request has. Signs, stores and sends nothing."""
        evaluation = await service.evaluate_policy(
            principal,
            policy_id,
            body.wallet_id,
            body.request.model_dump(),
            None if body.document is None else body.document.model_dump(),
        )
        return schemas.EvaluationOut(**views.describe_evaluation(evaluation))

    @router.post(
        "/wallets/{wallet_id}/session-signers",
        status_code=201,
        responses=problems(
            *TENANT_ERRORS,
            errors.WalletNotFound,
            *SIGNED,
            errors.PolicyNotFound,
            errors.OwnerRequired,
            errors.SessionInvalid,
            errors.TooManyPolicies,
        ),
    )
    async def create_session_signer(
        wallet_id: IdPath, body: schemas.SessionSignerIn, principal: Annotated[Principal, caller]
    ) -> schemas.NewSessionSignerOut:
        """Let somebody else sign for a wallet, for a time and inside its policies."""
        terms = SessionTerms(
            expires_at=body.expires_at,
            allowed_methods=body.allowed_methods,
            policy_ids=body.policy_ids,
            max_value_per_transaction=body.max_value_per_transaction,
            max_total_value=body.max_total_value,
            max_value_per_window=body.max_value_per_window,
            window_seconds=body.window_seconds,
            max_transactions=body.max_transactions,
            authorization_key_id=body.authorization_key_id,
            grantee=body.grantee,
            display_name=body.display_name,
        )
        session, token = await service.create_session_signer(principal, wallet_id, terms)
        return schemas.NewSessionSignerOut(
            session_signer=schemas.SessionSignerOut(**views.describe_session(session)), token=token
        )

    @router.get(
        "/wallets/{wallet_id}/session-signers", responses=problems(*TENANT_ERRORS, errors.WalletNotFound, BadCursor)
    )
    async def list_session_signers(
        wallet_id: IdPath,
        principal: Annotated[Principal, caller],
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> schemas.SessionSignersOut:
        """Session signers of a wallet, oldest first."""
        page = await service.list_session_signers(principal, wallet_id, cursor=cursor, limit=limit)
        return schemas.SessionSignersOut(
            items=[schemas.SessionSignerOut(**views.describe_session(session)) for session in page.items],
            next_cursor=page.next_cursor,
        )

    @router.delete(
        "/wallets/{wallet_id}/session-signers/{session_id}",
        responses=problems(*TENANT_ERRORS, errors.WalletNotFound, errors.SessionSignerNotFound),
    )
    async def revoke_session_signer(
        wallet_id: IdPath, session_id: IdPath, principal: Annotated[Principal, caller]
    ) -> schemas.SessionSignerOut:
        """End a session signer at once. Owner and app both may."""
        session = await service.revoke_session_signer(principal, wallet_id, session_id)
        return schemas.SessionSignerOut(**views.describe_session(session))

    @router.get("/audit/entries", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_audit_entries(
        principal: Annotated[Principal, caller],
        resource: Annotated[str | None, Query(max_length=100, examples=["wallet:<id>"])] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> schemas.AuditEntriesOut:
        """Entries of the app's audit log, newest first. For the app, its operators and its admins."""
        page = await service.list_audit_entries(principal, resource=resource, cursor=cursor, limit=limit)
        return schemas.AuditEntriesOut(
            items=[
                schemas.AuditEntryOut(
                    shard=entry.shard,
                    seq=entry.seq,
                    prev_hash=entry.prev_hash.hex(),
                    entry_hash=entry.entry_hash.hex(),
                    record=json.loads(entry.record),
                )
                for entry in page.items
            ],
            next_cursor=page.next_cursor,
        )

    return router
