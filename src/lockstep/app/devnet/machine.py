"""What the devnet asks of the operating system: folders and files of its own, free ports, locks, and child processes.

Knows no program by name. Permissions are changed inside the devnet's own folders only.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lockstep.app.devnet.errors import AlreadyRunning, DevnetFailed, DiskFull, FolderNotOurs, PortTaken, ProgramsMissing

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user that a child process runs as."""

    name: str
    uid: int
    gid: int
    switched: bool
    """Whether it differs from our own user."""

    @classmethod
    def unprivileged(cls) -> Identity:
        """Ourselves; as root, a user without privileges that the machine knows by name."""
        if os.geteuid() != 0:
            return cls(name=str(os.geteuid()), uid=os.geteuid(), gid=os.getegid(), switched=False)
        for name in ("nobody", "postgres", "daemon"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid, switched=True)
        raise ProgramsMissing(
            "Started as root, and this machine knows no user named nobody, postgres or daemon to run PostgreSQL as;"
            " run as a normal user or add one with: useradd --system nobody"
        )


def prepare_folder(folder: Path, *, mode: int = 0o700, room_bytes: int = 0) -> Path:
    """Create the folder, or check that it is ours and writable and has room.

    Raises:
        FolderNotOurs, DiskFull.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        folder = folder.resolve(strict=True)
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise FolderNotOurs(
                f"{folder} belongs to user {owner}, but this is user {os.geteuid()};"
                " run as that user, delete the folder, or choose another one"
            )
        folder.chmod(mode)
        probe = folder / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise FolderNotOurs(
            f"{folder} cannot be written ({error.strerror}); choose another folder or give it to this user"
        ) from error
    except OSError as error:
        raise (
            disk_full(folder)
            if is_disk_full(str(error))
            else FolderNotOurs(f"{folder} cannot be used: {error.strerror}; choose another folder")
        ) from error
    free = shutil.disk_usage(folder).free
    if free < room_bytes:
        raise disk_full(folder)
    return folder


def disk_full(folder: Path) -> DiskFull:
    """The error for a disk without room, with what is left on it."""
    free = shutil.disk_usage(folder if folder.exists() else "/").free
    return DiskFull(
        f"The disk that holds {folder} is full ({free // 2**20} MiB left); free some space or choose another folder"
    )


def is_disk_full(text: str) -> bool:
    """Whether a message of the operating system, or of a program that repeats it, says that the disk is full."""
    return "No space left on device" in text or "Disk quota exceeded" in text


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        if is_disk_full(str(error)):
            raise disk_full(path.parent) from error
        raise


def secret_in(path: Path, size: int = 24) -> str:
    """The secret text kept in a file; made at random (`size` bytes, URL-safe) when there is none yet."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        secret = secrets.token_urlsafe(size)
        write_private(path, secret)
        return secret


class FolderLock:
    """One living process per folder; the lock ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            AlreadyRunning: naming the process that holds it.
        """
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise AlreadyRunning(
                f"{self._path.parent} is in use by process {holder}; stop that one first, or choose another folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    lock = FolderLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def free_port(preferred: int | None = None) -> int:
    """A loopback port that is free right now: the preferred one if it is, else any."""
    for candidate in (preferred, 0):
        if candidate is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PortTaken(f"This machine has no free port on {LOOPBACK}; stop some programs and try again")


def demand_port(port: int, option: str) -> int:
    """The port, which must be free.

    Raises:
        PortTaken: naming the option that chooses another one.
    """
    if free_port(port) != port:
        raise PortTaken(f"Port {port} is in use by another program; stop it or choose another one with {option}")
    return port


def launch(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path = Path("/"),
    identity: Identity | None = None,
    ends_with_parent: signal.Signals | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a long-lived child with its output in a log file.

    Args:
        folder: its working folder, by which `processes_in` finds it again.
        ends_with_parent: signal that the kernel sends it when the calling thread dies; needs setpriv, as every Linux has.
        keep_open: file descriptors that it inherits.
    """
    words = [str(word) for word in command]
    if ends_with_parent is not None and (setpriv := shutil.which("setpriv")) is not None:
        words = [setpriv, "--pdeathsig", ends_with_parent.name.removeprefix("SIG"), "--", *words]
    if log.exists() and log.stat().st_size > 16 * 2**20:
        log.replace(log.with_suffix(".old"))
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    switch = _switch(identity)
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            pass_fds=tuple(keep_open),
            start_new_session=True,
            user=switch[0],
            group=switch[1],
            extra_groups=switch[2],
        )
    finally:
        os.close(handle)


async def run_once(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    identity: Identity | None = None,
    keep_open: Sequence[int] = (),
) -> tuple[int, str]:
    """Run a short command to its end; returns its exit status and what it printed."""
    switch = _switch(identity)
    process = await asyncio.create_subprocess_exec(
        *(str(word) for word in command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd="/",
        pass_fds=tuple(keep_open),
        user=switch[0],
        group=switch[1],
        extra_groups=switch[2],
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


def _switch(identity: Identity | None) -> tuple[int | None, int | None, list[int] | None]:
    if identity is None or not identity.switched:
        return None, None, None
    return identity.uid, identity.gid, []


async def until(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Wait until the operating system shows what we wait for; False when it has not within the time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(every)
    return True


async def wait_exit(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a child has ended; False when it has not within the time."""
    return await until(lambda: process.poll() is not None, seconds)


async def stop_child(process: subprocess.Popen[bytes], signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """End a child by signals of rising force, each with the seconds it is given."""
    for number, seconds in signals:
        if process.poll() is not None:
            return
        process.send_signal(number)
        if await wait_exit(process, seconds):
            return


def processes_in(folder: Path, program: str) -> list[int]:
    """Every living process of a program that works in this folder, orphans included. Only on Linux: elsewhere none."""
    wanted, found = os.path.realpath(folder), []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or belongs to another user
            if str((entry / "cwd").readlink()) != wanted:
                continue
            if (entry / "exe").readlink().name.removesuffix(" (deleted)") == program:
                found.append(int(entry.name))
    return sorted(found)


async def end_processes(folder: Path, program: str, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """End what `processes_in` finds, by signals of rising force, each with the seconds it is given.

    Raises:
        DevnetFailed: they cannot be ended.
    """
    for number, seconds in signals:
        alive = processes_in(folder, program)
        if not alive:
            return
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if await until(lambda: not processes_in(folder, program), seconds):
            return
    alive = processes_in(folder, program)
    if alive:
        raise DevnetFailed(f"Processes {alive} still use {folder} and cannot be ended; end them by hand and try again")


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
