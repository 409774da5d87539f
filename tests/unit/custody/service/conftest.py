"""Fixtures of the custody service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.attacker import Attacker, attacking
from tests.support.custody import World, build

from lockstep.kit.database import Database


@pytest.fixture
def world(database: Database) -> World:
    return build(database)


@pytest.fixture
async def attacker(admin_dsn: str) -> AsyncIterator[Attacker]:
    async with attacking(admin_dsn) as found:
        yield found
