"""Routes of apps for administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends

from lockstep.custody import errors
from lockstep.custody.access.api import AUTH_ERRORS, Authenticate, IdPath, show_app
from lockstep.custody.access.schemas import AppOut, NewSecretOut, SecretIn
from lockstep.custody.apps.schemas import AppPatch, AppsOut
from lockstep.custody.apps.service import AppService
from lockstep.custody.responses import Cursor, Limit
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.ids import AppId
from lockstep.kit.paging import DEFAULT_LIMIT, BadCursor
from lockstep.kit.problems import problems


def app_router(apps: AppService, authenticate: Authenticate) -> APIRouter:
    """Routes of apps for administrators."""
    router = APIRouter(prefix="/apps", tags=["access"])
    caller = Depends(authenticate)
    refusals = (*AUTH_ERRORS, errors.CallerNotAllowed)

    @router.get("", operation_id="list_apps", responses=problems(*refusals, BadCursor))
    async def list_apps(
        principal: Annotated[Principal, caller], cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> AppsOut:
        """All apps, oldest first. For administrators."""
        page = await apps.list_apps(principal, cursor=cursor, limit=limit)
        return AppsOut(items=[show_app(app) for app in page.items], next_cursor=page.next_cursor)

    @router.get("/{app_id}", operation_id="get_any_app", responses=problems(*refusals, errors.AppNotFound))
    async def get_any_app(app_id: IdPath, principal: Annotated[Principal, caller]) -> AppOut:
        """One app. For administrators."""
        return show_app(await apps.get_app(principal, AppId(app_id)))

    @router.patch("/{app_id}", operation_id="update_app", responses=problems(*refusals, errors.AppNotFound))
    async def update_app(app_id: IdPath, body: AppPatch, principal: Annotated[Principal, caller]) -> AppOut:
        """Change name, status or terms. A suspended app signs nothing, at once. For administrators."""
        return show_app(await apps.update_app(principal, AppId(app_id), body.changes()))

    @router.post(
        "/{app_id}/secrets",
        operation_id="create_secret_for_app",
        status_code=201,
        responses=problems(*refusals, errors.AppNotFound, errors.SecretExpiryInvalid),
    )
    async def create_secret_for_app(
        app_id: IdPath, body: SecretIn, principal: Annotated[Principal, caller]
    ) -> NewSecretOut:
        """Make another secret for an app that has lost its own. For administrators."""
        secret = await apps.create_secret(principal, AppId(app_id), body.expires_at)
        expires = None if secret.expires_at is None else rfc3339(secret.expires_at)
        return NewSecretOut(id=secret.id, secret=secret.text, expires_at=expires)

    return router
