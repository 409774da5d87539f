"""Routes of authorization keys and quorums."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.authority import errors, schemas
from lockstep.custody.authority.service import AuthorityService
from lockstep.custody.types import Principal
from lockstep.kit.paging import DEFAULT_LIMIT, MAX_LIMIT, BadCursor
from lockstep.kit.problems import problems

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=500)]
SIGNED = (errors.AuthorizationInsufficient, errors.RequestReplayed)
"""What a route that needs an owner's signatures may refuse with, beside what any signed request may."""


def authority_router(authority: AuthorityService, authenticate: Authenticate) -> APIRouter:
    """Routes of authorization keys and quorums."""
    router = APIRouter(tags=["authority"])
    caller = Depends(authenticate)

    @router.post(
        "/authorization-keys",
        status_code=201,
        responses=problems(*TENANT_ERRORS, errors.PublicKeyInvalid, errors.PublicKeyTaken),
    )
    async def create_authorization_key(
        body: schemas.AuthorizationKeyIn, principal: Annotated[Principal, caller]
    ) -> schemas.AuthorizationKeyOut:
        """Register a public key. For the app."""
        return schemas.key_out(await authority.create_key(principal, body.public_key, body.display_name))

    @router.get("/authorization-keys", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_authorization_keys(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> schemas.AuthorizationKeysOut:
        """Authorization keys of the app, oldest first, revoked ones too."""
        page = await authority.list_keys(principal, cursor=cursor, limit=limit)
        return schemas.AuthorizationKeysOut(
            items=[schemas.key_out(key) for key in page.items], next_cursor=page.next_cursor
        )

    @router.get("/authorization-keys/{key_id}", responses=problems(*TENANT_ERRORS, errors.AuthorizationKeyNotFound))
    async def get_authorization_key(
        key_id: IdPath, principal: Annotated[Principal, caller]
    ) -> schemas.AuthorizationKeyOut:
        """One authorization key."""
        return schemas.key_out(await authority.get_key(principal, key_id))

    @router.post(
        "/authorization-keys/{key_id}/rotate",
        responses=problems(
            *TENANT_ERRORS, *SIGNED, errors.AuthorizationKeyNotFound, errors.PublicKeyInvalid, errors.PublicKeyTaken
        ),
    )
    async def rotate_authorization_key(
        key_id: IdPath, body: schemas.RotationIn, principal: Annotated[Principal, caller]
    ) -> schemas.AuthorizationKeyOut:
        """Put another key pair in the place of this one; the request is signed with both. The id stays."""
        return schemas.key_out(await authority.rotate_key(principal, key_id, body.public_key))

    @router.post(
        "/authorization-keys/{key_id}/revoke",
        responses=problems(*TENANT_ERRORS, *SIGNED, errors.AuthorizationKeyNotFound, errors.KeyNeeded),
    )
    async def revoke_authorization_key(
        key_id: IdPath, principal: Annotated[Principal, caller]
    ) -> schemas.AuthorizationKeyOut:
        """End a key for ever, at once. Signed by the key, or by a quorum that has it; the app may while nothing rests on it."""
        return schemas.key_out(await authority.revoke_key(principal, key_id))

    @router.post("/key-quorums", status_code=201, responses=problems(*TENANT_ERRORS, errors.QuorumInvalid))
    async def create_key_quorum(
        body: schemas.KeyQuorumIn, principal: Annotated[Principal, caller]
    ) -> schemas.KeyQuorumOut:
        """Make a quorum of keys, users and other quorums. For the app."""
        return schemas.quorum_out(await authority.create_quorum(principal, body.terms()))

    @router.get("/key-quorums", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_key_quorums(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> schemas.KeyQuorumsOut:
        """Quorums of the app, oldest first."""
        page = await authority.list_quorums(principal, cursor=cursor, limit=limit)
        return schemas.KeyQuorumsOut(
            items=[schemas.quorum_out(quorum) for quorum in page.items], next_cursor=page.next_cursor
        )

    @router.get("/key-quorums/{quorum_id}", responses=problems(*TENANT_ERRORS, errors.KeyQuorumNotFound))
    async def get_key_quorum(quorum_id: IdPath, principal: Annotated[Principal, caller]) -> schemas.KeyQuorumOut:
        """One quorum."""
        return schemas.quorum_out(await authority.get_quorum(principal, quorum_id))

    @router.patch(
        "/key-quorums/{quorum_id}",
        responses=problems(*TENANT_ERRORS, *SIGNED, errors.KeyQuorumNotFound, errors.QuorumInvalid),
    )
    async def update_key_quorum(
        quorum_id: IdPath, body: schemas.KeyQuorumPatch, principal: Annotated[Principal, caller]
    ) -> schemas.KeyQuorumOut:
        """Change a quorum; signed by the quorum as it was."""
        return schemas.quorum_out(await authority.update_quorum(principal, quorum_id, body.terms()))

    @router.delete(
        "/key-quorums/{quorum_id}",
        status_code=204,
        responses=problems(*TENANT_ERRORS, *SIGNED, errors.KeyQuorumNotFound, errors.QuorumInUse),
    )
    async def delete_key_quorum(quorum_id: IdPath, principal: Annotated[Principal, caller]) -> Response:
        """Delete a quorum to which nothing belongs; signed by the quorum."""
        await authority.delete_quorum(principal, quorum_id)
        return Response(status_code=204)

    return router
