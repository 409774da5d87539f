"""An executor in this process with its policy side, and a folder for sockets."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from signing_side import Signing

from lockstep.custody.execution import LocalExecutor
from lockstep.custody.execution.store import MemoryShareStore
from lockstep.kit.clock import ManualClock


@pytest.fixture
def store() -> MemoryShareStore:
    return MemoryShareStore()


@pytest.fixture
async def signing(store: MemoryShareStore) -> AsyncIterator[Signing]:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    executor, issuer = LocalExecutor.ephemeral(clock, store=store)
    yield Signing(executor, issuer, clock)
    await executor.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets have names short enough for the kernel (107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="ls-") as folder:
        yield Path(folder)
