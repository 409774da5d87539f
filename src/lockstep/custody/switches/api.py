"""Routes of kill switches."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import StringConstraints

from lockstep.custody import errors
from lockstep.custody.access.api import AUTH_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.switches.service import SwitchService
from lockstep.custody.switches.types import KillSwitch
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.ids import AppId
from lockstep.kit.problems import problems


class KillSwitchIn(Strict):
    """Why signing is stopped."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class KillSwitchOut(Strict):
    """A stop that is in force."""

    scope: Literal["deployment", "app"]
    app_id: str | None
    reason: str
    engaged_by: str
    engaged_at: str


class KillSwitchesOut(Strict):
    """Everything that is stopped now, as far as the caller may know."""

    items: list[KillSwitchOut]


def switch_router(switches: SwitchService, authenticate: Authenticate) -> APIRouter:
    """Routes of kill switches."""
    router = APIRouter(prefix="/kill-switches", tags=["kill switches"])
    caller = Depends(authenticate)
    refusals = (*AUTH_ERRORS, errors.CallerNotAllowed)

    @router.get("", operation_id="list_kill_switches", responses=problems(*AUTH_ERRORS, errors.CallerHasNoApp))
    async def list_kill_switches(principal: Annotated[Principal, caller]) -> KillSwitchesOut:
        """What is stopped now: everything for an administrator, else what concerns the caller's app."""
        return KillSwitchesOut(items=[_out(switch) for switch in await switches.list_engaged(principal)])

    @router.put("/deployment", operation_id="stop_deployment", responses=problems(*refusals))
    async def stop_deployment(body: KillSwitchIn, principal: Annotated[Principal, caller]) -> KillSwitchOut:
        """Stop every signature of this deployment, at once. For administrators."""
        return _out(await switches.engage(principal, None, body.reason))

    @router.delete("/deployment", operation_id="resume_deployment", status_code=204, responses=problems(*refusals))
    async def resume_deployment(principal: Annotated[Principal, caller]) -> Response:
        """Let the deployment sign again; what waited goes on. For administrators."""
        await switches.release(principal, None)
        return Response(status_code=204)

    @router.put("/apps/{app_id}", operation_id="stop_app", responses=problems(*refusals, errors.AppNotFound))
    async def stop_app(app_id: IdPath, body: KillSwitchIn, principal: Annotated[Principal, caller]) -> KillSwitchOut:
        """Stop every signature of an app, at once. For the app itself, and for administrators."""
        return _out(await switches.engage(principal, AppId(app_id), body.reason))

    @router.delete(
        "/apps/{app_id}", operation_id="resume_app", status_code=204, responses=problems(*refusals, errors.AppNotFound)
    )
    async def resume_app(app_id: IdPath, principal: Annotated[Principal, caller]) -> Response:
        """Let an app sign again. For whoever stopped it, and for administrators."""
        await switches.release(principal, AppId(app_id))
        return Response(status_code=204)

    return router


def _out(switch: KillSwitch) -> KillSwitchOut:
    return KillSwitchOut(
        scope="deployment" if switch.app_id is None else "app",
        app_id=switch.app_id,
        reason=switch.reason,
        engaged_by=switch.engaged_by,
        engaged_at=rfc3339(switch.engaged_at),
    )
