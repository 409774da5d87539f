"""The embedded PostgreSQL: one cluster in one folder, started and stopped by us, for trials, development and tests.

Responsible for making the cluster, starting it on loopback with a password, stopping it in order, and taking a folder
over after everything was killed: orphaned backends are ended, a stale pid file is removed, nothing committed is lost.
Not a production database: no replicas, no backups. Knows nothing of schemas and roles (see ``app/migrate.py``).

As root the server runs as an unprivileged user. It is handed its cluster folder as an open descriptor, so that the
folder may lie anywhere (below /root, for example) without a permission being changed outside of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog

from lockstep.app.devnet.errors import DevnetFailed, FolderNotOurs, PortTaken
from lockstep.app.devnet.machine import (
    LOOPBACK,
    FolderLock,
    Identity,
    demand_port,
    disk_full,
    end_processes,
    free_port,
    is_disk_full,
    launch,
    log_tail,
    prepare_folder,
    processes_in,
    run_once,
    secret_in,
    stop_child,
    until,
    write_private,
)
from lockstep.app.devnet.programs import ENVIRONMENT, MAJOR, Programs, programs_for
from lockstep.kit.clock import pause

log = structlog.get_logger(__name__)

SUPERUSER = "lockstep_admin"
_ROOM_BYTES = 200 * 2**20
"""A new cluster is about 40 MiB, and the write-ahead log needs room to grow."""
_START_SECONDS = 60.0


class Postgres:
    """A PostgreSQL server of our own in `folder`.

    Files in the folder: ``cluster`` (the data), ``password`` (of the superuser, 0600), ``port``, ``postgres.log``, ``lock``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        ends_with_parent: bool = True,
        shared_buffers_mib: int = 128,
        max_connections: int = 200,
    ) -> None:
        """
        Args:
            port: None takes the port of the last start if it is still free, else any free one.
            durable: False never waits for the disk: for tests that throw the cluster away.
            ends_with_parent: shut down when the thread that started the server dies.
        """
        self._folder = folder
        self._asked_port = port
        self._durable = durable
        self._ends_with_parent = ends_with_parent
        self._settings = _settings(durable, shared_buffers_mib, max_connections)
        self._lock: FolderLock | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._programs: Programs | None = None
        self._identity: Identity | None = None
        self._password = ""
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Connection address; of the superuser unless another user is named. Contains the password."""
        secret = quote(self._password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{LOOPBACK}:{self._port}/{quote(database, safe='')}"

    async def start(self) -> None:
        """Serve: make the cluster if there is none, clear away what a kill left behind, wait until a query is answered.

        Raises:
            AlreadyRunning: another living process serves this folder.
            DevnetFailed: or one of its kinds, each with the way out.
        """
        if self._lock is not None:
            return
        self._identity = Identity.unprivileged()
        room = 0 if self._cluster.exists() else _ROOM_BYTES
        self._folder = prepare_folder(self._folder, mode=0o711 if self._identity.switched else 0o700, room_bytes=room)
        lock = FolderLock(self._folder / "lock")
        lock.acquire()
        self._lock = lock
        try:
            self._programs = await programs_for(self._identity, self._folder)
            self._password = secret_in(self._folder / "password")
            if leftovers := server_processes(self._cluster):
                log.warning("postgres_leftovers", processes=len(leftovers))
            await end_servers(self._cluster)
            if not self._cluster.exists():
                await self._make_cluster(self._programs, self._identity)
            self._check_cluster(self._identity)
            await self._serve(self._programs, self._identity)
        except BaseException:
            await asyncio.shield(self.stop())
            raise

    async def stop(self) -> None:
        """Shut down in order (open transactions are rolled back), by force if that takes too long. Repeatable."""
        if self._process is not None:
            await stop_child(self._process, [(signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)])
            self._process = None
        if self._lock is not None:
            await end_servers(self._cluster)
            self._lock.release()
            self._lock = None

    async def restart(self) -> None:
        """Serve again on the same port after the server was stopped or killed."""
        if self._programs is None or self._identity is None or self._lock is None:
            await self.start()
            return
        if self._process is not None:
            await stop_child(self._process, [(signal.SIGINT, 20.0), (signal.SIGKILL, 5.0)])
        await end_servers(self._cluster)
        await self._serve(self._programs, self._identity)

    async def supervise(self, stop: asyncio.Event) -> None:
        """Restart the server whenever it dies, until `stop` is set. Does not stop it then."""
        while not stop.is_set():
            if self.pid is None and self._lock is not None:
                log.warning("postgres_died", port=self._port)
                try:
                    await self.restart()
                    log.info("postgres_serves_again", port=self._port)
                except DevnetFailed as error:
                    log.error("postgres_stays_down", reason=error.detail)
                    await pause(stop, 2.0)
            await pause(stop, 0.2)

    async def __aenter__(self) -> Postgres:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- making and starting ------------------------------------------------------------------------------------------

    @property
    def _cluster(self) -> Path:
        return self._folder / "cluster"

    @property
    def _log(self) -> Path:
        return self._folder / "postgres.log"

    async def _make_cluster(self, programs: Programs, identity: Identity) -> None:
        """initdb in a scratch folder that gets its name when complete, so that an interrupted one is made again."""
        scratch, password = self._folder / "cluster.new", self._folder / "cluster.password"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        password.unlink(missing_ok=True)
        write_private(password, self._password)
        if identity.switched:
            os.chown(scratch, identity.uid, identity.gid)
            os.chown(password, identity.uid, identity.gid)
        try:
            with _open_for(scratch, identity) as (path, keep), _open_for(password, identity) as (secret, kept):
                command: list[str | Path] = [programs.initdb, "-D", path, "-U", SUPERUSER, f"--pwfile={secret}"]
                command += ["-A", "scram-sha-256", "-E", "UTF8", "--no-instructions"]
                command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
                status, output = await run_once(
                    command if self._durable else [*command, "--no-sync"],
                    environment=ENVIRONMENT,
                    identity=identity,
                    keep_open=(*keep, *kept),
                )
            if status != 0:
                raise self._failure(output)
            scratch.rename(self._cluster)
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(scratch, ignore_errors=True)

    def _check_cluster(self, identity: Identity) -> None:
        owner = self._cluster.stat().st_uid
        if owner != identity.uid:
            raise FolderNotOurs(
                f"{self._cluster} belongs to user {owner}, but PostgreSQL would run as user {identity.uid};"
                " start it as the user who made it, or delete the folder"
            )
        version = (self._cluster / "PG_VERSION").read_text().strip()
        if version != str(MAJOR):
            raise FolderNotOurs(
                f"{self._cluster} was made by PostgreSQL {version}, but this is {MAJOR}; delete the folder to begin anew"
            )

    async def _serve(self, programs: Programs, identity: Identity) -> None:
        """Start the server and wait until it answers; a port that was lost to somebody in between is chosen again."""
        for attempt in range(3):
            self._port = self._choose_port()
            with suppress(OSError):  # no living server has this folder: we hold the lock and looked
                (self._cluster / "postmaster.pid").unlink(missing_ok=True)
            start = self._log.stat().st_size if self._log.exists() else 0
            with _open_for(self._cluster, identity) as (path, keep):
                options = {**self._settings, "port": str(self._port)}
                self._process = launch(
                    [programs.postgres, "-D", path, *(f"--{name}={value}" for name, value in options.items())],
                    log=self._log,
                    environment=ENVIRONMENT,
                    identity=identity,
                    ends_with_parent=signal.SIGINT if self._ends_with_parent else None,
                    keep_open=keep,
                )
            if await self._is_serving(self._process):
                write_private(self._folder / "port", str(self._port))
                return
            words = _read_from(self._log, start)
            port_lost = "Address already in use" in words
            if not port_lost or self._asked_port is not None or attempt == 2:
                raise self._failure(words)

    def _choose_port(self) -> int:
        if self._asked_port is not None:
            return demand_port(self._asked_port, "the port option")
        if self._port:
            return free_port(self._port)
        try:
            return free_port(int((self._folder / "port").read_text()))
        except (OSError, ValueError):
            return free_port()

    async def _is_serving(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the first answer; False when the server ended instead."""
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while process.poll() is None:
            try:
                connection = await psycopg.AsyncConnection.connect(self.url(), connect_timeout=5)
                await connection.close()
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise FolderNotOurs(
                        f"The password in {self._folder / 'password'} does not open the cluster beside it;"
                        " restore the file, or delete the folder to begin anew"
                    ) from error
                if asyncio.get_running_loop().time() > deadline:
                    raise DevnetFailed(
                        f"PostgreSQL did not answer within {_START_SECONDS:.0f} s; see {self._log}"
                    ) from error
                await asyncio.sleep(0.02)
            else:
                return True
        return False

    def _failure(self, words: str) -> DevnetFailed:
        """The reason in words for what PostgreSQL printed before it ended."""
        if is_disk_full(words):
            return disk_full(self._folder)
        if "Address already in use" in words:
            return PortTaken(f"Port {self._port} is in use by another program; stop it or choose another port")
        if "could not look up effective user ID" in words:
            return DevnetFailed(
                f"PostgreSQL runs only as a user with a name, and user {os.geteuid()} has none on this machine;"
                " add an entry to /etc/passwd or run as another user"
            )
        if "Permission denied" in words:
            return FolderNotOurs(
                f"PostgreSQL may not use its files in {self._folder}; delete the folder to begin anew; it said: {_last(words)}"
            )
        return DevnetFailed(
            f"PostgreSQL did not start; it said: {_last(words or log_tail(self._log))}; the whole log is {self._log}"
        )


def _settings(durable: bool, shared_buffers_mib: int, max_connections: int) -> dict[str, str]:
    """Server settings for a small machine. Statements never reach the log: they may carry secrets."""
    sync = "on" if durable else "off"
    return {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_connections": str(max_connections),
        "shared_buffers": f"{shared_buffers_mib}MB",
        "huge_pages": "off",
        "io_method": "sync",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "512MB",
        "fsync": sync,
        "synchronous_commit": sync,
        "full_page_writes": sync,
        "autovacuum_naptime": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "password_encryption": "scram-sha-256",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }


@contextmanager
def _open_for(path: Path, identity: Identity) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path by which the child reaches a file or folder of its own, whoever may walk down to it.

    Another user's child gets the open descriptor and the path ``/proc/self/fd/N``: looking that up asks nothing of the
    parent folders.
    """
    if not identity.switched or not Path("/proc/self/fd").exists():
        yield str(path), ()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _read_from(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start if start <= path.stat().st_size else 0)
        return file.read(65536).decode(errors="replace")


def _last(words: str) -> str:
    """The line that matters: the last fatal one, else the last."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    grave = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (grave or lines or ["nothing"])[-1]


# --- what a kill leaves behind ----------------------------------------------------------------------------------------


def server_processes(cluster: Path) -> list[int]:
    """Every living PostgreSQL process whose data folder this is: postmaster, backends and helpers, orphans included."""
    return processes_in(cluster, "postgres")


async def end_servers(cluster: Path) -> None:
    """End every server of this folder. The caller makes sure that nobody supervises them any more.

    Raises:
        DevnetFailed: they cannot be ended.
    """
    alive = server_processes(cluster)
    with suppress(OSError, ValueError, IndexError):
        postmaster = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        if postmaster in alive:  # a whole server: let it write its checkpoint
            os.kill(postmaster, signal.SIGINT)
            await until(lambda: not server_processes(cluster), 5.0)
    # Orphaned backends that are busy do not notice that their postmaster is gone, and hold the shared memory.
    await end_processes(cluster, "postgres", [(signal.SIGKILL, 5.0), (signal.SIGKILL, 5.0)])
