"""Local EVM chains: one anvil process per chain, on loopback, with its own chain id.

Responsible for finding the program, starting and stopping it and talking to it. Signs and deploys nothing, and is
started as the real program, without the Node wrapper of its package.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

from lockstep.app.devnet.errors import DevnetFailed, PortTaken, ProgramsMissing
from lockstep.app.devnet.machine import (
    LOOPBACK,
    demand_port,
    disk_full,
    end_processes,
    free_port,
    is_disk_full,
    launch,
    log_tail,
    prepare_folder,
    stop_child,
)

_START_SECONDS = 30.0
_STATES_KEPT = 4096
"""Old states that stay readable; a devnet that runs for days must not grow without end."""


def anvil_program() -> Path:
    """The anvil of the contract tools in this checkout, else the one on the path.

    Raises:
        ProgramsMissing: with the command that installs it.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"anvil-{platform.system().lower()}-{machine}"
    modules = Path(__file__).parents[4] / "contracts" / "evm" / "node_modules" / "@foundry-rs"
    program = modules / package / "bin" / "anvil"
    if program.is_file():
        return program
    on_path = shutil.which("anvil")
    if on_path is not None:
        return Path(on_path)
    raise ProgramsMissing(
        f"The local EVM node anvil is not installed for {platform.system()} on {machine};"
        " install it with: npm ci --prefix contracts/evm"
    )


class AnvilError(DevnetFailed):
    """A local chain refused a request."""

    code = "devnet_chain_refused"


class Anvil:
    """One local chain in `folder` (its log, its saved state and its scratch files)."""

    def __init__(
        self,
        folder: Path,
        *,
        chain_id: int,
        port: int | None = None,
        preferred_port: int | None = None,
        block_seconds: int | None = None,
        mnemonic: str | None = None,
        accounts: int = 10,
        is_saved: bool = False,
        ends_with_parent: bool = True,
    ) -> None:
        """
        Args:
            port: must be free; None takes `preferred_port` if that is free, else any.
            block_seconds: None mines each transaction at once.
            mnemonic: of the funded accounts; None: the publicly known test phrase of anvil.
            is_saved: keep the chain in the folder when it stops, and go on from there.
        """
        self.chain_id = chain_id
        self._folder = folder
        self._asked_port = port
        self._preferred_port = preferred_port
        self._block_seconds = block_seconds
        self._mnemonic = mnemonic
        self._accounts = accounts
        self._is_saved = is_saved
        self._ends_with_parent = ends_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._port = port or 0

    @property
    def chain(self) -> str:
        """CAIP-2 name."""
        return f"eip155:{self.chain_id}"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def state_file(self) -> Path:
        """Where a saved chain lies while it does not run."""
        return self._folder / "state.json"

    async def start(self) -> None:
        """Serve; a chain saved earlier goes on where it was.

        Raises:
            DevnetFailed: or one of its kinds, each with the way out.
        """
        if self.pid is not None:
            return
        self._folder = prepare_folder(self._folder)
        await end_chains(self._folder)
        program = anvil_program()
        for attempt in range(3):
            self._port = (
                demand_port(self._asked_port, "the port option")
                if self._asked_port is not None
                else free_port(self._port or self._preferred_port)
            )
            self._process = launch(
                self._command(program),
                log=self._log,
                environment={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "NO_COLOR": "1"},
                folder=self._folder,
                ends_with_parent=signal.SIGTERM if self._ends_with_parent else None,
            )
            if await self._is_serving(self._process):
                return
            words = log_tail(self._log)
            port_lost = "Address already in use" in words or "in use" in words
            if not port_lost or self._asked_port is not None or attempt == 2:
                raise self._failure(words)

    async def stop(self) -> None:
        """End the chain, saving it first when it is a saved one. Repeatable."""
        if self._process is not None:
            await stop_child(self._process, [(signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)])
            self._process = None

    async def call(self, method: str, *params: Any) -> Any:
        """One JSON-RPC request.

        Raises:
            AnvilError: the node answered with an error.
            OSError: it did not answer.
        """
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(self.url, json=body) as response,
        ):
            answer = await response.json()
        if "error" in answer:
            raise AnvilError(f"{method} on {self.chain}: {answer['error'].get('message')}", data=answer["error"])
        return answer["result"]

    async def __aenter__(self) -> Anvil:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _log(self) -> Path:
        return self._folder / "anvil.log"

    def _command(self, program: Path) -> list[str | Path]:
        command: list[str | Path] = [program, "--host", LOOPBACK, "--port", str(self._port), "--no-cors", "--quiet"]
        command += ["--chain-id", str(self.chain_id), "--accounts", str(self._accounts), "--balance", "10000"]
        # One slot an epoch: "finalized" follows the head by two blocks instead of standing at 0 for 64 of them.
        command += ["--slots-in-an-epoch", "1", "--cache-path", self._folder / "cache"]
        command += ["--prune-history", str(_STATES_KEPT)]
        if self._mnemonic is not None:
            command += ["--mnemonic", self._mnemonic]
        if self._block_seconds is not None:
            command += ["--block-time", str(self._block_seconds)]
        if self._is_saved:
            command += ["--state", self.state_file, "--preserve-historical-states"]
        return command

    async def _is_serving(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the right chain id; False when the program ended instead."""
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while process.poll() is None:
            try:
                chain_id = int(await self.call("eth_chainId"), 16)
            except (OSError, aiohttp.ClientError, json.JSONDecodeError, AnvilError):
                if asyncio.get_running_loop().time() > deadline:
                    await self.stop()
                    raise DevnetFailed(
                        f"The chain {self.chain} did not answer within {_START_SECONDS:.0f} s; see {self._log}"
                    ) from None
                await asyncio.sleep(0.02)
                continue
            if chain_id != self.chain_id:
                await self.stop()
                raise PortTaken(
                    f"Port {self._port} answers as chain {chain_id}, expected {self.chain_id}; stop that node"
                )
            return True
        return False

    def _failure(self, words: str) -> DevnetFailed:
        if is_disk_full(words):
            return disk_full(self._folder)
        if "in use" in words:
            return PortTaken(f"Port {self._port} is in use by another program; stop it or choose another port")
        last = (words.strip().splitlines() or ["nothing"])[-1]
        return DevnetFailed(f"The chain {self.chain} did not start; it said: {last}; the whole log is {self._log}")


async def end_chains(folder: Path) -> None:
    """End a chain of this folder that outlived whoever started it; a saved one is given time to write its state."""
    await end_processes(folder, "anvil", [(signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)])
