"""Engaging and releasing kill switches: anybody who may lose something may stop, only who stopped may go on."""

from __future__ import annotations

import structlog
from prometheus_client import Counter

from lockstep.custody.access.store import find_app
from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.errors import AppNotFound, CallerNotAllowed
from lockstep.custody.seals import Content, Kind, Seals, contents
from lockstep.custody.seals.service import DEPLOYMENT
from lockstep.custody.switches import store
from lockstep.custody.switches.types import KillSwitch
from lockstep.custody.types import Principal
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, new_id

log = structlog.get_logger(__name__)

_thrown = Counter("lockstep_kill_switches", "Kill switches that were engaged or released", ["scope", "action"])


class SwitchService:
    """The kill switches of apps and of the deployment."""

    def __init__(self, database: Database, audit: AuditLog, seals: Seals, clock: Clock) -> None:
        self._database, self._audit, self._seals, self._clock = database, audit, seals, clock

    async def engage(self, principal: Principal, app_id: AppId | None, reason: str) -> KillSwitch:
        """Stop signing, at once. One that is engaged already stays as it is, except that an administrator's takes the place
        of the app's own: else the app could end it.

        Args:
            app_id: of the app that is to sign nothing; None: the whole deployment.
        Raises:
            CallerNotAllowed: the deployment is stopped by an administrator only.
            AppNotFound: there is none with this id for this caller.
        """
        _require_may(principal, app_id)
        now = self._clock.now()
        switch = KillSwitch(id=new_id(), app_id=app_id, reason=reason, engaged_by=principal.label, engaged_at=now)
        async with self._database.system("kill_switch") as uow:
            await _require_app(uow, app_id)
            while not await store.insert_switch(uow, switch):
                standing = await store.find_engaged(uow, app_id)
                if standing is None:
                    continue  # it was released at this moment
                if principal.kind != "admin" or standing.engaged_by.startswith("admin:"):
                    return standing
                await store.release_switch(uow, standing, principal.label, now)
                await self._reseal(uow, app_id, standing, None)
                self._note(uow, principal, standing, "released")
            await self._reseal(uow, app_id, None, switch)
            self._note(uow, principal, switch, "engaged")
        _tell(switch, "engaged", principal)
        return switch

    async def release(self, principal: Principal, app_id: AppId | None) -> None:
        """Let signing go on; what waited is signed then. Nothing engaged: nothing changes.

        Raises:
            CallerNotAllowed: not an administrator, and not the app that engaged its own switch itself.
            AppNotFound: there is none with this id for this caller.
        """
        _require_may(principal, app_id)
        async with self._database.system("kill_switch") as uow:
            await _require_app(uow, app_id)
            switch = await store.find_engaged(uow, app_id)
            if switch is None:
                return
            if principal.kind != "admin" and switch.engaged_by != principal.label:
                raise CallerNotAllowed("an administrator stopped this app, so only an administrator lets it go on")
            await store.release_switch(uow, switch, principal.label, self._clock.now())
            await self._reseal(uow, app_id, switch, None)
            self._note(uow, principal, switch, "released")
        _tell(switch, "released", principal)

    async def list_engaged(self, principal: Principal) -> list[KillSwitch]:
        """What is stopped now: everything for an administrator, else what concerns the caller's app.

        Raises:
            CallerHasNoApp: an external caller.
        """
        if principal.kind == "admin":
            async with self._database.system("kill_switch") as uow:
                return await store.list_engaged(uow)
        async with self._database.tenant(principal.tenant) as uow:
            return await store.list_engaged(uow)

    async def _reseal(
        self, uow: UnitOfWork, app_id: AppId | None, before: KillSwitch | None, after: KillSwitch | None
    ) -> None:
        """What stops this app (None: the deployment) now, and what did before."""
        scope = app_id or DEPLOYMENT
        await self._seals.change(uow, scope, Kind.KILL_SWITCH, scope, _content(before), _content(after))

    def _note(self, uow: UnitOfWork, principal: Principal, switch: KillSwitch, action: str) -> None:
        """Into the app's audit log; a stop of the deployment belongs to no app, its rows are its record."""
        if switch.app_id is not None:
            self._audit.append(
                uow,
                AuditEvent(
                    app_id=switch.app_id,
                    subject=switch.app_id,
                    actor=principal.label,
                    action=f"kill_switch.{action}",
                    resource=f"kill_switch:{switch.id}",
                    facts={"reason": switch.reason},
                ),
            )


def _content(switch: KillSwitch | None) -> Content:
    return (
        contents.of_kill_switch(None, None) if switch is None else contents.of_kill_switch(switch.id, switch.engaged_by)
    )


def _require_may(principal: Principal, app_id: AppId | None) -> None:
    if principal.kind == "admin":
        return
    if app_id is None or principal.kind != "app":
        raise CallerNotAllowed(
            f"expected an administrator{' or the app itself' if app_id else ''}, was {principal.kind}"
        )
    if principal.app_id != app_id:
        raise AppNotFound


async def _require_app(uow: UnitOfWork, app_id: AppId | None) -> None:
    if app_id is not None and await find_app(uow, app_id) is None:
        raise AppNotFound


def _tell(switch: KillSwitch, action: str, principal: Principal) -> None:
    scope = "deployment" if switch.app_id is None else "app"
    _thrown.labels(scope, action).inc()
    log.warning(f"kill_switch_{action}", scope=scope, app_id=switch.app_id, by=principal.label, reason=switch.reason)
