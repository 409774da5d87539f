"""A whole deployment on one machine: the devnet, and the roles of Lockstep as processes of their own.

Shared by ``up``, the demo, the journeys and the benchmarks, so that all of them run what production runs: the same
commands under the same settings. Restarts a role that died, as a service manager would. Not for production.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from lockstep.app.devnet.devnet import DEFAULT_FOLDER, Devnet, DevnetConfig
from lockstep.app.devnet.errors import DevnetFailed
from lockstep.app.devnet.machine import launch, log_tail, prepare_folder, stop_child, write_private
from lockstep.chains.evm import parse_address

RoleName = Literal["signer", "serve", "work"]
_READY_SECONDS = 30.0
_COORDINATOR_FUNDS = 10 * 10**18


@dataclass(slots=True)
class RoleProcess:
    """One running role; `restarts` counts how often it died and was started again."""

    name: str
    role: RoleName
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    restarts: int = 0
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """What can be chosen about a stack."""

    devnet: DevnetConfig = field(default_factory=DevnetConfig)
    workers: int = 1
    """`work` processes."""
    serve_workers: int = 1
    """Processes that share the port of `serve`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Additional variables of all roles."""
    restarts: bool = True
    """Whether a role that dies is started again."""


class Stack:
    """The devnet and its roles. Use as a context; at the end nothing is left running."""

    def __init__(self, config: StackConfig | None = None, *, progress: Callable[[str], None] = lambda _: None) -> None:
        self.config = config or StackConfig()
        self.devnet = Devnet(self.config.devnet, progress=progress)
        self.roles: dict[str, RoleProcess] = {}
        self._progress = progress
        self._extra: dict[str, str] = dict(self.config.environment)
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.devnet.http_port}"

    @property
    def admin_credential(self) -> str:
        """The administrator's credential of this devnet."""
        return self._admin_file.read_text().strip()

    async def __aenter__(self) -> Stack:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            DevnetFailed: with the end of the log of the part that did not come up; nothing is left running.
        """
        try:
            await self.devnet.start()
            self._progress("signer")
            self.start_role("signer", "signer")
            await self._bootstrap()
            self._progress("API")
            self.start_role("serve", "serve")
            await self.wait_ready()
            await self._prepare_coordinator()
            self._progress("workers")
            for number in range(1, self.config.workers + 1):
                self.start_role(f"work-{number}", "work")
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """Stop all roles, then the devnet. Repeatable."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        for role in self.roles.values():
            role.wanted = False
        for kinds in (("work", "serve"), ("signer",)):
            await asyncio.gather(
                *(
                    stop_child(role.process, [(signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)])
                    for role in self.roles.values()
                    if role.role in kinds
                )
            )
        self.roles.clear()
        await self.devnet.stop()

    def start_role(self, name: str, role: RoleName, environment: Mapping[str, str] | None = None) -> RoleProcess:
        """Start a role under a name of its own; `environment` adds variables to this process only."""
        settings = self.devnet.environment("signer" if role == "signer" else "service")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LOCKSTEP_")}
        variables = {**kept, **settings, **self._extra, **(environment or {})}
        log = prepare_folder(self.devnet.folder / "logs") / f"{name}.log"
        options = ["--workers", str(self.config.serve_workers)] if role == "serve" else []
        process = launch(
            [sys.executable, "-m", "lockstep.app.cli", role, *options],
            log=log,
            environment=variables,
            folder=self.devnet.folder,
            ends_with_parent=signal.SIGTERM,
        )
        self.roles[name] = RoleProcess(name, role, dict(environment or {}), process, log)
        return self.roles[name]

    def kill_role(self, name: str) -> None:
        """SIGKILL, as bad luck does; it is started again unless `config.restarts` is off."""
        with suppress(ProcessLookupError):
            os.kill(self.roles[name].process.pid, signal.SIGKILL)

    async def stop_role(self, name: str) -> None:
        """End one role in order; it stays away."""
        role = self.roles.pop(name)
        role.wanted = False
        await stop_child(role.process, [(signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)])

    async def wait_ready(self) -> None:
        """Wait until the API says that every part can work."""
        async with httpx.AsyncClient(base_url=self.url, timeout=3) as client:
            deadline = asyncio.get_running_loop().time() + _READY_SECONDS
            seen = "no answer"
            while asyncio.get_running_loop().time() < deadline:
                self._check_alive()
                with suppress(httpx.TransportError):
                    answer = await client.get("/health/ready")
                    if answer.status_code == 200:
                        return
                    seen = answer.text
                await asyncio.sleep(0.05)
        raise DevnetFailed(f"The API did not become ready within {_READY_SECONDS:.0f} seconds: {seen}")

    def log_of(self, name: str, lines: int = 40) -> str:
        """The end of a role's log."""
        return log_tail(self.devnet.folder / "logs" / f"{name}.log", lines)

    # --- first start --------------------------------------------------------------------------------------------------

    @property
    def _admin_file(self) -> Path:
        return self.devnet.folder / "keys" / "admin.credential"

    @property
    def _coordinator_file(self) -> Path:
        return self.devnet.folder / "coordinator.json"

    async def _bootstrap(self) -> None:
        """The first administrator, once per database."""
        from lockstep.app.bootstrap import bootstrap_admin
        from lockstep.app.seals import build_seals

        credential = await bootstrap_admin(
            self.devnet.database_url("service"), build_seals(self.devnet.keys.audit, None)
        )
        if credential is not None:
            write_private(self._admin_file, credential + "\n")
            self._coordinator_file.unlink(missing_ok=True)
        if not self._admin_file.exists():
            raise DevnetFailed(
                f"The database has an administrator, but {self._admin_file} is gone; delete {self.devnet.folder}"
                " to begin anew"
            )

    async def _prepare_coordinator(self) -> None:
        """The app and wallet that perform public duties of swaps, made through the API like any other."""
        from lockstep.app.bootstrap import create_coordinator

        if not self._coordinator_file.exists():
            factories = {each.chain: each.factory for each in self.devnet.deployments}
            made = await create_coordinator(self.url, self.admin_credential, factories)
            write_private(self._coordinator_file, json.dumps(asdict(made)) + "\n")
            for chain in self.devnet.chains:
                await self.devnet.fund(chain.chain, parse_address(made.address), _COORDINATOR_FUNDS)
        known = json.loads(self._coordinator_file.read_text())
        self._extra["LOCKSTEP_COORDINATOR__APP_ID"] = known["app_id"]
        self._extra["LOCKSTEP_COORDINATOR__WALLET_ID"] = known["wallet_id"]

    # --- supervision --------------------------------------------------------------------------------------------------

    def _check_alive(self) -> None:
        for role in self.roles.values():
            if role.wanted and (status := role.process.poll()) is not None:
                raise DevnetFailed(f"{role.name} ended with status {status}:\n{log_tail(role.log, 15)}")

    async def _supervise(self) -> None:
        while True:
            for role in list(self.roles.values()):
                if not role.wanted or role.process.poll() is None or not self.config.restarts:
                    continue
                restarts = role.restarts + 1
                started = self.start_role(role.name, role.role, role.environment)
                started.restarts = restarts
            await asyncio.sleep(0.05)

    def welcome(self) -> str:
        """What a person needs to begin: addresses, a credential and three things to try."""
        url, folder = self.url, self.devnet.folder
        program = os.path.relpath(Path(sys.executable).with_name("lockstep"))
        where = "" if folder == DEFAULT_FOLDER.resolve() else f" --folder {folder}"
        chains = "\n".join(
            f"  {node.chain:13} {node.url}   factory {at.factory}   {at.token.symbol} {at.token.address}"
            for node, at in zip(self.devnet.chains, self.devnet.deployments, strict=True)
        )
        return f"""\
Lockstep is up.
  API           {url}   schema {url}/openapi.json   health {url}/health/ready
{chains}
  admin         {self.admin_credential}
  data          {folder}   with logs/ and the settings, environment/

Three things to try, in another terminal:
  curl {url}/health/ready
  {program} devnet token alice{where}
  docs/guide/quickstart.md: from here to a guarded payment and a swap in ten minutes

Ctrl-C stops everything; what it kept is there again at the next start."""

    def summary(self) -> dict[str, Any]:
        """What runs where."""
        return {
            **self.devnet.summary(),
            "url": self.url,
            "roles": {name: {"pid": role.process.pid, "restarts": role.restarts} for name, role in self.roles.items()},
        }
