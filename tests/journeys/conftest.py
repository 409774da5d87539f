"""Deployments for stories: the gentle stories of a test process share one.

``deployment`` is shared by stories that leave it as they found it; ``make_deployment`` is for those that break it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.support import App, Deployment
from tests.journeys.traders import Market

from lockstep.app.devnet.anvil import anvil_program
from lockstep.app.devnet.errors import ProgramsMissing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.chain)


@pytest.fixture(scope="session")
def _programs() -> None:
    try:
        anvil_program()
    except ProgramsMissing as error:
        pytest.skip(error.detail)


@pytest.fixture(scope="session")
def deployment(_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that all gentle stories share."""
    environment = {"LOCKSTEP_LIMITS__PER_ADDRESS": "2000/second", "LOCKSTEP_AUDIT__EVERY_SECONDS": "1"}
    running = Deployment(tmp_path_factory.mktemp("shared") / "devnet", environment=environment)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def make_deployment(_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Deployment]]:
    """Starts deployments that are stopped after the last story of the module."""
    made: list[Deployment] = []

    def make(**options: Any) -> Deployment:
        made.append(Deployment(tmp_path_factory.mktemp("rough") / "devnet", **options))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def app(deployment: Deployment) -> App:
    """An app of its own for each test."""
    return deployment.new_app()


@pytest.fixture(scope="session")
def market(deployment: Deployment) -> Iterator[Market]:
    """Makers and takers on the shared deployment."""
    opened = Market.open(deployment)
    yield opened
    opened.close()
