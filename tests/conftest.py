"""Fixtures of every test: a migrated database of its own, and local chains that begin anew.

``database`` (or ``dsn``, ``owner_dsn``, ``signer_dsn``) is PostgreSQL, ``anvil`` and ``anvil_pair`` are EVM chains that
mine each transaction at once. They start with the first test that asks for them. Tests may talk to loopback only.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import eth_account  # noqa: F401 - see below
import psycopg
import pytest
from hypothesis import settings
from tests.support.cluster import Cluster, end_run, new_run_folder, running_cluster
from tests.support.counts import examples

from lockstep.app.devnet.anvil import Anvil, anvil_program
from lockstep.app.devnet.errors import ProgramsMissing
from lockstep.kit.database import Database

# eth-account's curve library raises this to a height at which the stack of C ends first, so that deeply nested input
# would end the test process. The processes of the service never import it (tests/unit/app/test_recursion_limit.py).
sys.setrecursionlimit(1_000)

CHAIN_IDS = (31337, 31338)
_RUN_FOLDER = pytest.StashKey[Path]()
_real_connect = socket.socket.connect


settings.register_profile("lockstep", max_examples=examples(100), deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lockstep")


def pytest_configure(config: pytest.Config) -> None:
    handed = getattr(config, "workerinput", {}).get("run_folder")
    config.stash[_RUN_FOLDER] = Path(handed) if handed else new_run_folder()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which run it belongs to."""
    node.workerinput["run_folder"] = str(node.config.stash[_RUN_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _RUN_FOLDER in config.stash:
        end_run(config.stash[_RUN_FOLDER])


def _connect_to_loopback(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"a test tried to reach {address[0]}; tests talk to loopback only")
    _real_connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """No test reaches the outside world."""
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _connect_to_loopback)
    yield
    patch.undo()


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    """The PostgreSQL of this run."""
    return running_cluster(pytestconfig.stash[_RUN_FOLDER])


@pytest.fixture(scope="session")
def cluster_admin(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """The superuser's connection of this worker, which makes and drops databases."""
    with psycopg.connect(cluster.admin_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_name(cluster: Cluster, cluster_admin: psycopg.Connection) -> Iterator[str]:
    """A fresh migrated database."""
    with cluster.fresh_database(cluster_admin) as name:
        yield name


@pytest.fixture
def dsn(cluster: Cluster, database_name: str) -> str:
    """Its address for the service's login, which owns nothing."""
    return cluster.url(database_name, "lockstep_service")


@pytest.fixture
def owner_dsn(cluster: Cluster, database_name: str) -> str:
    """Its address for the schema owner."""
    return cluster.url(database_name, "lockstep_owner")


@pytest.fixture
def signer_dsn(cluster: Cluster, database_name: str) -> str:
    """Its address for the signer's login."""
    return cluster.url(database_name, "lockstep_signing")


@pytest.fixture
def admin_dsn(cluster: Cluster, database_name: str) -> str:
    """Its address for the superuser: to look at, and to tamper with, what nobody else may."""
    return cluster.admin_url(database_name)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """The open pool of the service on a fresh database."""
    database = Database(dsn, name="test")
    await database.open()
    yield database
    await database.close()


# --- chains -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def anvil_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Anvil, Anvil]]:
    """Two local chains for all tests of this worker."""
    try:
        anvil_program()
    except ProgramsMissing as error:
        pytest.skip(error.detail)
    folder = tmp_path_factory.mktemp("anvil")
    nodes = [Anvil(folder / str(chain_id), chain_id=chain_id) for chain_id in CHAIN_IDS]
    for node in nodes:
        asyncio.run(node.start())
    yield nodes[0], nodes[1]
    for node in nodes:
        asyncio.run(node.stop())


async def _begin_anew(node: Anvil) -> None:
    await node.call("anvil_reset")
    await node.call("evm_setAutomine", True)


@pytest.fixture
async def anvil(anvil_nodes: tuple[Anvil, Anvil]) -> Anvil:
    """A local chain (31337) at its first block; its ten accounts are those of anvil's public test phrase."""
    await _begin_anew(anvil_nodes[0])
    return anvil_nodes[0]


@pytest.fixture
async def anvil_pair(anvil_nodes: tuple[Anvil, Anvil]) -> tuple[Anvil, Anvil]:
    """Two local chains (31337 and 31338) at their first blocks."""
    for node in anvil_nodes:
        await _begin_anew(node)
    return anvil_nodes
