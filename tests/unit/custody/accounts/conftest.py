"""Fixtures of the tests of accounts."""

from __future__ import annotations

import pytest
from tests.support.custody import World, build

from lockstep.kit.database import Database


@pytest.fixture
def world(database: Database) -> World:
    return build(database)
