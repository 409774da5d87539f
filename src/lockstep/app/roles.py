"""The roles of a deployment as they run: what each one starts, and how it stops in order. Builds through `container`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from lockstep.kit.errors import LockstepError, Stop
from lockstep.kit.telemetry import configure_logging

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lockstep.app.settings import Settings, SignerSettings

log = structlog.get_logger(__name__)

Loop = Callable[[asyncio.Event], Awaitable[None]]


class AddressInUse(Stop):
    """The address that a role should listen on cannot be had."""

    code = "address_in_use"


async def until_told_to_stop() -> None:
    """Wait for SIGTERM or SIGINT."""
    await _stop_event().wait()


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _spare_the_collector() -> None:
    """Leave what was built at the start out of garbage collections, and collect less often: code and schemas are most of
    the heap and stay for ever, and to walk through them again and again costs requests a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


# --- serve ------------------------------------------------------------------------------------------------------------


def run_serve(settings: Settings, workers: int = 1) -> None:
    """Answer HTTP and WebSocket until told to stop; running requests are given their time.

    Args:
        workers: processes that share the port; each has a pool of database connections of its own.

    Raises:
        AddressInUse: nothing was started. DatabaseUnavailable, SchemaOutdated: at the start; later it is waited for.
    """
    import uvicorn

    from lockstep.app.stream.protocol import StreamProtocol

    configure_logging(settings.log_level, service="serve", log_format=settings.log_format)
    http = settings.http
    _demand(http.host, http.port, "LOCKSTEP_HTTP__PORT")
    if workers > 1:
        asyncio.run(_demand_database(settings))  # or the server would start workers again and again
    failures: list[LockstepError] = []
    logging.getLogger("uvicorn.error").addFilter(lambda _: not failures)  # ours is told in our words
    with _shared_figures(workers), _told(failures):
        uvicorn.run(
            build_app(settings, failures) if workers == 1 else "lockstep.app.roles:app_of_environment",
            factory=workers > 1,
            workers=workers,
            host=http.host,
            port=http.port,
            loop="uvloop",
            http="httptools",
            ws=StreamProtocol,
            ws_per_message_deflate=False,
            ws_max_size=1 << 16,
            access_log=False,
            log_config=None,
            proxy_headers=True,
            forwarded_allow_ips=",".join(http.trusted_proxies),
            server_header=False,
            timeout_graceful_shutdown=int(http.shutdown_seconds),
            backlog=2048,
        )


def _demand(host: str, port: int, variable: str) -> None:
    """
    Raises:
        AddressInUse: naming the variable that chooses another one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressInUse(
                f"{host}:{port} cannot be listened on; stop what uses it or choose another one with {variable}"
            ) from error


async def _demand_database(settings: Settings) -> None:
    """
    Raises:
        DatabaseUnavailable, SchemaOutdated.
    """
    from lockstep.app.migrate import check_schema
    from lockstep.kit.database import Database

    database = Database(settings.database_url.get_secret_value(), name="serve", min_size=1, max_size=1)
    await database.open()
    try:
        await check_schema(database)
    finally:
        await database.close()


@contextmanager
def _told(failures: list[LockstepError]) -> Iterator[None]:
    """The server ends by exiting when the application does not start: raise why instead."""
    try:
        yield
    except SystemExit:
        if failures:
            raise failures[0] from failures[0].__cause__
        raise


def app_of_environment() -> FastAPI:
    """The HTTP application of one of several workers, which read the settings for themselves."""
    from lockstep.app.settings import PREFIX, Settings
    from lockstep.kit.settings import load_settings

    settings = load_settings(Settings, PREFIX)
    configure_logging(settings.log_level, service="serve", log_format=settings.log_format)
    return build_app(settings)


@contextmanager
def _shared_figures(workers: int) -> Iterator[None]:
    """A folder by which `/metrics` of one worker shows the figures of all."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="lockstep-figures-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def build_app(settings: Settings, failures: list[LockstepError] | None = None) -> FastAPI:
    """The HTTP application over a container that opens and closes with it; `failures` is given why it did not open."""
    from lockstep.app.container import Container
    from lockstep.app.web import make_app

    container = Container(settings, name="serve")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            await container.open()
        except LockstepError as error:
            if failures is not None:
                failures.append(error)
            raise
        _spare_the_collector()
        stop = asyncio.Event()
        loops = [asyncio.create_task(_guard(name, loop, stop)) for name, loop in container.serving_loops().items()]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*loops)
            await container.close()

    return make_app(container, lifespan)


def openapi_document() -> dict[str, Any]:
    """The schema of the API; needs no settings, no database and no key of a deployment."""
    from lockstep.app.container import Container
    from lockstep.app.settings import Settings
    from lockstep.app.web import make_app
    from lockstep.custody import create_key_file

    with tempfile.TemporaryDirectory() as folder:
        keys = {name: Path(folder) / name for name in ("auth_shares_file", "authorization_file", "audit_file")}
        for path in keys.values():
            create_key_file(path)
        nowhere = {"chain": "eip155:31337", "name": "none", "rpc_urls": ["http://127.0.0.1:1"], "finality_blocks": 1}
        settings = Settings.model_validate(
            {
                "profile": "development",
                "database_url": "postgresql://nobody@127.0.0.1:1/none",
                "signer": {"socket_path": Path(folder) / "signer"},
                "keys": keys,
                "audit": {"checkpoints_file": Path(folder) / "checkpoints"},
                "chains": [{**nowhere, "block_seconds": 1, "max_fee_per_gas": 10**11}],
            }
        )
        return make_app(Container(settings, name="openapi"), None).openapi()


# --- work -------------------------------------------------------------------------------------------------------------


def run_work(settings: Settings) -> None:
    """Be a worker until told to stop. Every loop waits for its turn by locks of the database."""
    import uvloop
    from prometheus_client import start_http_server

    configure_logging(settings.log_level, service="work", log_format=settings.log_format)
    if settings.metrics_port is not None:
        _demand("127.0.0.1", settings.metrics_port, "LOCKSTEP_METRICS_PORT")
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    uvloop.run(_work(settings))


async def _work(settings: Settings) -> None:
    from lockstep.app.container import Container

    stop = _stop_event()
    container = Container(settings, name="work")
    await container.open()
    _spare_the_collector()
    try:
        loops = container.working_loops()
        log.info("worker_ready", loops=sorted(loops))
        await asyncio.gather(*(_guard(name, loop, stop) for name, loop in loops.items()))
    finally:
        await container.close()


async def _guard(name: str, loop: Loop, stop: asyncio.Event) -> None:
    """A loop waits out every fault that passes; one that ends by an unexpected error is said and begun again."""
    while not stop.is_set():
        try:
            await loop(stop)
        except Exception as error:
            log.error("loop_crashed", loop=name, error=type(error).__name__, exc_info=error)
            await asyncio.sleep(1)


# --- signer -----------------------------------------------------------------------------------------------------------


def run_signer_role(settings: SignerSettings) -> None:
    """Be the signer until told to stop."""
    from lockstep.custody.execution import SignerConfig, run_signer

    configure_logging(settings.log_level, service="signer", log_format=settings.log_format)
    keys = settings.signer_keys
    run_signer(
        SignerConfig(
            socket_path=Path(settings.signer_socket_path),
            database_url=settings.signer_database_url.get_secret_value(),
            exec_key_file=keys.exec_shares_file,
            authorization_key_file=keys.authorization_file,
            transport_seed_file=keys.transport_seed_file,
            recovery_public_key_file=keys.recovery_public_file,
            signer_id=settings.signer_id,
        )
    )
