"""The form of a result, and a throw-away PostgreSQL to measure on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from lockstep.app.devnet.postgres import Postgres
from lockstep.app.migrate import migrate


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure. `ratio` is value / baseline for rates, baseline / value for durations: more is better."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    wanted: dict[str, float]
    """What the figure is held against, by member: ``value`` or ``ratio``."""
    more: dict[str, object] = field(default_factory=dict)

    def line(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value, 3),
                "unit": self.unit,
                "baseline": round(self.baseline, 3),
                "ratio": round(self.ratio, 3),
                "wanted": self.wanted,
                **self.more,
            }
        )


@asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """A migrated database on a durable server of its own; yields the address of the service login."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        async with Postgres(Path(folder) / "postgres") as server:
            with psycopg.connect(server.url(), autocommit=True) as admin:
                admin.execute("create role lockstep_owner login createrole password 'bench'")
                admin.execute("create database bench owner lockstep_owner")
            service = server.url("bench", "lockstep_service", "bench")
            migrate(server.url("bench", "lockstep_owner", "bench"), service_url=service)
            yield service
