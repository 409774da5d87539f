"""Routes of users."""

from typing import Annotated

from fastapi import APIRouter, Depends

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.responses import Cursor, Limit
from lockstep.custody.types import Principal
from lockstep.custody.users.schemas import UserOut, UserPatch, UsersOut
from lockstep.custody.users.service import UserService
from lockstep.custody.users.types import User
from lockstep.kit.clock import rfc3339
from lockstep.kit.paging import DEFAULT_LIMIT, BadCursor
from lockstep.kit.problems import problems


def user_router(users: UserService, authenticate: Authenticate) -> APIRouter:
    """Routes of users."""
    router = APIRouter(prefix="/users", tags=["access"])
    caller = Depends(authenticate)

    @router.get("", operation_id="list_users", responses=problems(*TENANT_ERRORS, BadCursor))
    async def list_users(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> UsersOut:
        """Users of the app, oldest first. For the app, its operators and its admins."""
        page = await users.list_users(principal, cursor=cursor, limit=limit)
        return UsersOut(items=[show_user(user) for user in page.items], next_cursor=page.next_cursor)

    @router.get("/{user_id}", operation_id="get_user", responses=problems(*TENANT_ERRORS, errors.UserNotFound))
    async def get_user(user_id: IdPath, principal: Annotated[Principal, caller]) -> UserOut:
        """One user. A user sees itself."""
        return show_user(await users.get_user(principal, user_id))

    @router.patch("/{user_id}", operation_id="update_user", responses=problems(*TENANT_ERRORS, errors.UserNotFound))
    async def update_user(user_id: IdPath, body: UserPatch, principal: Annotated[Principal, caller]) -> UserOut:
        """Change role or status; who is disabled is shut out at once. For the app and its admins."""
        return show_user(await users.update_user(principal, user_id, role=body.role, status=body.status))

    return router


def show_user(user: User) -> UserOut:
    """A user as callers see it."""
    return UserOut(
        id=user.id,
        issuer=user.issuer,
        subject=user.subject,
        role=user.role,
        status=user.status,
        created_at=rfc3339(user.created_at),
    )
