"""What administrators do with apps after they were made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lockstep.custody.access import store as access_store
from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.access.secrets import new_secret
from lockstep.custody.access.service import access_event, check_expiry, insert_secret, require_admin
from lockstep.custody.access.types import App, NewSecret
from lockstep.custody.apps import store
from lockstep.custody.audit import AuditLog
from lockstep.custody.base import after_of
from lockstep.custody.errors import AppNotFound
from lockstep.custody.seals import Kind, Seals, contents
from lockstep.custody.types import Principal
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.paging import Page, page_of


class AppService:
    """The apps of a deployment, for its administrators."""

    def __init__(
        self, database: Database, audit: AuditLog, authenticator: Authenticator, seals: Seals, clock: Clock
    ) -> None:
        self._database, self._audit, self._authenticator = database, audit, authenticator
        self._seals, self._clock = seals, clock

    async def list_apps(self, principal: Principal, *, cursor: str | None = None, limit: int = 50) -> Page[App]:
        """All apps, oldest first.

        Raises:
            CallerNotAllowed: not an administrator. BadCursor.
        """
        require_admin(principal)
        async with self._database.system("apps") as uow:
            apps = await store.list_apps(uow, after_of(cursor), limit + 1)
        return page_of(apps, limit, lambda app: (app.id,))

    async def get_app(self, principal: Principal, app_id: AppId) -> App:
        """
        Raises:
            CallerNotAllowed: not an administrator. AppNotFound: there is none with this id.
        """
        require_admin(principal)
        async with self._database.system("apps") as uow:
            app = await access_store.find_app(uow, app_id)
        if app is None:
            raise AppNotFound
        return app

    async def update_app(self, principal: Principal, app_id: AppId, changes: Mapping[str, object]) -> App:
        """Change what is given: at once in this process, within two seconds in others. Who is shut out by it signs nothing
        from that moment, wherever the request came in: signing looks at the app in its own transaction.

        Args:
            changes: new values by the name of the member of `App` or `AppTerms`.

        Raises:
            CallerNotAllowed: not an administrator. AppNotFound: there is none with this id.
        """
        require_admin(principal)
        if not changes:
            return await self.get_app(principal, app_id)
        async with self._database.system("apps") as uow:
            before = await access_store.lock_app(uow, app_id)
            if before is None:
                raise AppNotFound
            app = await store.update_app(uow, app_id, changes)
            await self._reseal(uow, before, app)
            self._audit.append(uow, access_event(app_id, principal, "app.changed", facts=dict(changes)))
        self._authenticator.forget()
        return app

    async def create_secret(self, principal: Principal, app_id: AppId, expires_at: datetime | None) -> NewSecret:
        """Make another secret for an app, for example because it has lost all of its own.

        Raises:
            CallerNotAllowed: not an administrator. AppNotFound: there is none with this id.
            SecretExpiryInvalid: see `check_expiry`.
        """
        require_admin(principal)
        now = self._clock.now()
        check_expiry(expires_at, now)
        secret, secret_id = new_secret("app"), new_id()
        async with self._database.system("apps") as uow:
            if await access_store.find_app(uow, app_id) is None:
                raise AppNotFound
            await insert_secret(uow, self._seals, app_id, secret_id, secret, now, expires_at)
            self._audit.append(uow, access_event(app_id, principal, "secret.created", secret_id))
        return NewSecret(id=secret_id, text=secret.text, expires_at=expires_at)

    async def _reseal(self, uow: UnitOfWork, before: App, after: App) -> None:
        if before.status != after.status:
            content = (contents.of_app(one.id, one.status) for one in (before, after))
            await self._seals.change(uow, after.id, Kind.APP, after.id, *content)
        access = (access_store.access_content(before), access_store.access_content(after))
        if access[0] != access[1]:
            await self._seals.change(uow, after.id, Kind.APP_ACCESS, after.id, *access)
