"""A database that was restored from a backup signs nothing until somebody has accepted it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.attacker import Attacker
from tests.support.custody import World, message

from lockstep.custody import AuditChainBroken, AuthorityTampered, CheckpointFile, CheckpointWriter, RestoreGuard


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile(tmp_path / "outside" / "checkpoints")


@pytest.fixture
def writer(world: World, file: CheckpointFile) -> CheckpointWriter:
    async def sign(payload: bytes) -> bytes:
        return b"\x01" * 64

    return CheckpointWriter(world.database, file, sign, world.clock)


@pytest.fixture
def guard(world: World, file: CheckpointFile) -> RestoreGuard:
    return RestoreGuard(world.database, file, world.seals.hold)


async def test_guard__no_mark_or_the_newest__signs(world: World, writer: CheckpointWriter, guard: RestoreGuard) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    assert await guard.look() == []
    assert await writer.write_checkpoint() is not None
    assert await guard.look() == []
    assert await world.rpc(app, wallet, message())
    assert await guard.look() == []  # newer than the mark


async def test_guard__database_of_yesterday__signs_nothing_until_accepted(
    world: World, writer: CheckpointWriter, guard: RestoreGuard, attacker: Attacker, file: CheckpointFile
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await writer.write_checkpoint()
    await attacker.copy()
    await world.rpc(app, wallet, message("after the backup"))
    newest = await writer.write_checkpoint()
    signed = len(world.executor.signed)
    await attacker.bring_back("audit_entries", "audit_heads")

    forgotten = await guard.look()

    assert newest is not None
    assert forgotten
    assert set(forgotten) <= set(newest.heads)
    with pytest.raises(AuthorityTampered, match="older than checkpoint 2"):
        await world.rpc(app, wallet, message())
    assert not (await world.custody.preview(app, wallet.id, message())).ruling.allowed
    assert len(world.executor.signed) == signed
    assert await writer.write_checkpoint() is None  # nobody accepts it by the way
    assert await guard.look() == forgotten

    accepted = await writer.write_checkpoint(accepts_restore=True)

    assert accepted is not None
    assert [one.number for one in file.read()] == [1, 2, 3]
    assert await guard.look() == []
    assert await world.rpc(app, wallet, message())


async def test_guard__other_entries_at_the_same_place__signs_nothing(
    world: World, writer: CheckpointWriter, guard: RestoreGuard, attacker: Attacker
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await writer.write_checkpoint()
    await attacker.run("update audit_entries set entry_hash = sha256(entry_hash) where seq = 1")

    assert await guard.look()

    with pytest.raises(AuthorityTampered):
        await world.rpc(app, wallet, message())


async def test_file__last__is_the_newest_however_long_the_lines(
    world: World, writer: CheckpointWriter, file: CheckpointFile
) -> None:
    assert file.last() is None
    for number in range(3):
        await world.app(f"App {number}")
        await writer.write_checkpoint()
    assert file.last() == file.read()[-1]
    long = file._path.read_text().splitlines()[-1]
    with file._path.open("a") as out:
        more = '["x",0,1,"' + "00" * 32 + '"],'
        out.write(long.replace('"heads":[', '"heads":[' + more * 2_000) + "\n")
    newest = file.last()
    assert newest is not None
    assert len(newest.heads) > 2_000
    with file._path.open("a") as out:
        out.write("rubbish\n")
    with pytest.raises(AuditChainBroken):
        file.last()
