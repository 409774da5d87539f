"""The signer process: reads its key files, owns its socket, and serves until it is told to stop.

Alone here the exec key, the transport seed and the exec-share store come together. Decides nothing (core.py) and
speaks to nobody itself (server.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from lockstep.custody.execution.authorization import AuthorizationKey
from lockstep.custody.execution.core import SigningCore
from lockstep.custody.execution.errors import KeyFileInvalid, SignerAlreadyRunning
from lockstep.custody.execution.hardening import harden_process
from lockstep.custody.execution.kms import LocalKms, read_key_file
from lockstep.custody.execution.recovery import read_recovery_key
from lockstep.custody.execution.server import SignerServer
from lockstep.custody.execution.store import PostgresShareStore
from lockstep.kit.clock import Clock, SystemClock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerConfig:
    """What a signer process needs. Key files: 64 hex digits, mode 0600; the recovery key is a public one."""

    socket_path: Path
    database_url: str
    exec_key_file: Path
    authorization_key_file: Path
    transport_seed_file: Path
    recovery_public_key_file: Path
    signer_id: str = "signer"
    exec_key_version: int = 1
    cached_shares: int = 100_000
    max_connections: int = 64
    frame_seconds: float = 10.0
    """How long a client may take for its proof, and for a frame that it has begun."""
    grace_seconds: float = 5.0
    """How long requests that were taken may still run when the signer is told to stop."""

    def __repr__(self) -> str:
        return f"SignerConfig({self.signer_id!r} at {self.socket_path})"


def run_signer(config: SignerConfig) -> None:
    """Be the signer until SIGTERM or SIGINT; returns after a graceful stop.

    Raises:
        LockstepError: it cannot start: see errors.py.
    """
    import uvloop  # here: the policy side imports this package without an event loop of its own

    if not harden_process():
        log.warning("signer_memory_not_protected", reason="the kernel did not confirm that this process has no dumps")

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve_signer(config, stop)

    uvloop.run(main())


async def serve_signer(
    config: SignerConfig,
    stop: asyncio.Event,
    *,
    clock: Clock | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until `stop` is set, then finish what was taken.

    Raises:
        LockstepError: it cannot start: see errors.py.
    """
    exec_keys = LocalKms(
        {config.exec_key_version: read_key_file(config.exec_key_file)}, key_id="exec", version=config.exec_key_version
    )
    secrets_of_signer = read_key_file(config.authorization_key_file), read_key_file(config.transport_seed_file)
    if len({*secrets_of_signer, read_key_file(config.exec_key_file)}) != 3:
        raise KeyFileInvalid("exec key, authorization key and transport seed must be three different keys")
    recovery_key = read_recovery_key(config.recovery_public_key_file)
    store = PostgresShareStore(config.database_url)
    with _own_socket(config.socket_path):
        await store.open()
        core = SigningCore(
            signer_id=config.signer_id,
            exec_keys=exec_keys,
            authorization_key=AuthorizationKey(secrets_of_signer[0]),
            transport_seed=secrets_of_signer[1],
            recovery_key=recovery_key,
            store=store,
            clock=clock or SystemClock(),
            cached_shares=config.cached_shares,
        )
        server = SignerServer(core, max_connections=config.max_connections, frame_seconds=config.frame_seconds)
        try:
            await server.start(config.socket_path)
            log.info("signer_ready", signer_id=config.signer_id, boot_epoch=core.identity.boot_epoch.hex())
            if on_ready is not None:
                on_ready()
            await stop.wait()
        finally:
            await server.stop(config.grace_seconds)
            await core.close()
            log.info("signer_stopped", **core.health())


@contextmanager
def _own_socket(path: Path) -> Iterator[None]:
    """Hold the lock beside the socket, so that one signer at a time owns it; take away a socket left by a dead one.

    Raises:
        SignerAlreadyRunning: another signer holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SignerAlreadyRunning(f"another signer owns {path}") from error
        path.unlink(missing_ok=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)
