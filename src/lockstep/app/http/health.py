"""Is this process alive, and can it serve? ``/health/ready`` names the part that is missing. And the figures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import structlog
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)

Probe = Callable[[], Awaitable[None]]
"""Raises when the part that it looks at cannot do its work."""

PROBE_SECONDS: Final = 2.0
_ready = Gauge("lockstep_ready", "Whether a part that this process needs can do its work", ["part"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class PartState(BaseModel):
    """One part that this process needs."""

    status: Literal["ok", "failed"]
    code: str | None = None
    detail: str | None = None


class Readiness(BaseModel):
    """Whether every part is there."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, PartState]


class ReadyCheck:
    """Asks all parts at once. Concurrent questions share one answer, so that probes cannot be used to load the parts."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = dict(probes)
        self._running: asyncio.Task[Readiness] | None = None

    async def check(self) -> Readiness:
        """The state of every part."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check())
        return await asyncio.shield(self._running)

    async def _check(self) -> Readiness:
        states = await asyncio.gather(*(_ask(probe) for probe in self._probes.values()))
        parts = dict(zip(self._probes, states, strict=True))
        for name, state in parts.items():
            _ready.labels(name).set(state.status == "ok")
        is_ready = all(state.status == "ok" for state in states)
        return Readiness(status="ready" if is_ready else "not_ready", parts=parts)


async def _ask(probe: Probe) -> PartState:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except LockstepError as error:
        return PartState(status="failed", code=error.code, detail=error.detail)
    except TimeoutError:
        return PartState(status="failed", code="timeout", detail=f"no answer within {PROBE_SECONDS:g} seconds")
    except Exception as error:  # a probe of an outside part may fail in ways that only its library knows
        log.warning("probe_failed", error=type(error).__name__, exc_info=error)
        return PartState(status="failed", code="unknown", detail=type(error).__name__)
    return PartState(status="ok")


def health_router(ready: ReadyCheck) -> APIRouter:
    """The routes for load balancers and monitoring; they need no credentials and count against no limit."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live", summary="Is the process alive?", operation_id="live")
    async def live() -> Alive:
        return Alive()

    @router.get(
        "/health/ready",
        summary="Can the process serve?",
        operation_id="ready",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "A part is missing; `parts` says which."}},
    )
    async def get_ready() -> Response:
        state = await ready.check()
        return JSONResponse(
            state.model_dump(exclude_none=True),
            status_code=200 if state.status == "ready" else 503,
            headers={} if state.status == "ready" else {"Retry-After": "1"},
        )

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        operation_id="metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(generate_latest(_registry()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _registry() -> CollectorRegistry:
    """The figures of this process, or of all workers where several share a port."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library leaves it untyped
    return registry
