"""Looking after the users of an app: the app itself, and those of its users who are its admins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.accounts.store import end_logins
from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.base import after_of
from lockstep.custody.errors import CallerNotAllowed, UserNotFound
from lockstep.custody.seals import Content, Kind, Seals, contents
from lockstep.custody.sessions import end_session
from lockstep.custody.store import lock_token_sessions
from lockstep.custody.types import Principal, Role
from lockstep.custody.users import store
from lockstep.custody.users.types import User
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database
from lockstep.kit.ids import AppId
from lockstep.kit.paging import Page, page_of


class UserService:
    """The users of apps."""

    def __init__(
        self, database: Database, audit: AuditLog, authenticator: Authenticator, seals: Seals, clock: Clock
    ) -> None:
        self._database, self._audit, self._authenticator = database, audit, authenticator
        self._seals, self._clock = seals, clock

    async def list_users(self, principal: Principal, *, cursor: str | None = None, limit: int = 50) -> Page[User]:
        """Users of the app, oldest first.

        Raises:
            CallerNotAllowed: neither the app nor one of its operators and admins. BadCursor.
        """
        app_id = principal.tenant
        if not principal.oversees_app:
            raise CallerNotAllowed("only the app, its operators and its admins see its users")
        async with self._database.tenant(app_id) as uow:
            users = await store.list_users(uow, app_id, after_of(cursor), limit + 1)
        return page_of(users, limit, lambda user: (user.id,))

    async def get_user(self, principal: Principal, user_id: str) -> User:
        """
        Raises:
            UserNotFound: there is none for this caller, which sees itself at least.
        """
        app_id = principal.tenant
        async with self._database.tenant(app_id) as uow:
            user = await store.find_user(uow, app_id, user_id)
        if user is None or not (principal.oversees_app or principal.user_id == user.id):
            raise UserNotFound
        return user

    async def update_user(
        self,
        principal: Principal,
        user_id: str,
        *,
        role: Role | None = None,
        status: Literal["active", "disabled"] | None = None,
    ) -> User:
        """Change what is given. Who is disabled signs nothing from that moment; its tokens and the session signers that
        somebody holds a token of end with it. Those of modules go on: what a swap owes must not hang on it.

        Raises:
            CallerNotAllowed: neither the app nor one of its admins.
            UserNotFound: the app has none with this id.
        """
        app_id = require_user_admin(principal)
        async with self._database.tenant(app_id) as uow:
            user = await store.find_user(uow, app_id, user_id, lock=True)
            if user is None:
                raise UserNotFound
            changed = replace(user, role=role or user.role, status=status or user.status)
            if changed == user:
                return user
            await store.update_user(uow, changed)
            await self._seals.change(uow, app_id, Kind.USER, user.id, _content(user), _content(changed))
            facts = {"role": changed.role, "status": changed.status}
            self._audit.append(uow, user_event(principal, app_id, user_id, "user.changed", facts))
            if changed.status == "disabled" != user.status:
                await end_logins(uow, app_id, user.id, "disabled", self._clock.now())
                for session in await lock_token_sessions(uow, app_id, user.id):
                    await end_session(uow, self._seals, session, self._clock.now())
                    self._audit.append(
                        uow,
                        AuditEvent(
                            app_id=app_id,
                            subject=session.wallet_id,
                            actor=principal.label,
                            action="session.revoked",
                            resource=f"session:{session.id}",
                            facts={"because": f"user:{user.id}"},
                        ),
                    )
        self._authenticator.forget()
        return changed


def require_user_admin(principal: Principal) -> AppId:
    """The app whose users the caller may change.

    Raises:
        CallerNotAllowed: neither the app nor one of its admins.
    """
    if principal.kind != "app" and not (principal.kind == "user" and principal.role == "admin"):
        raise CallerNotAllowed("only the app and its admins change its users")
    return principal.tenant


def _content(user: User) -> Content:
    return contents.of_user(user.app_id, user.issuer, user.subject, user.role, user.status)


def user_event(
    principal: Principal, app_id: AppId, user_id: str, action: str, facts: Mapping[str, object] | None = None
) -> AuditEvent:
    """What somebody did to a user."""
    return AuditEvent(
        app_id=app_id,
        subject=app_id,
        actor=principal.label,
        action=action,
        resource=f"user:{user_id}",
        facts=facts or {},
    )
