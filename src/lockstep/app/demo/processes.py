"""Other people's programs in the story: each is a process of its own that tells what it does as JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from lockstep.app.demo.report import ClaimFailed


class Program:
    """A running program; `lines` is what it has told so far."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process
        self._changed = asyncio.Condition()
        self.lines: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Program:
        """Start `python -m module arguments`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env={**os.environ, **(environment or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(module.rsplit(".", 1)[-1], process)

    async def wait_for(self, event: str, seconds: float = 60.0) -> dict[str, Any]:
        """The first line about this event, told already or to come.

        Raises:
            ClaimFailed: it ended, or the time is over, without telling it.
        """
        try:
            async with asyncio.timeout(seconds), self._changed:
                while True:
                    for line in self.lines:
                        if line.get("event") == event:
                            return line
                    if self._reader.done():
                        break
                    await self._changed.wait()
        except TimeoutError:
            pass
        await self.stop()
        errors = (await self._process.stderr.read()).decode()[-1500:] if self._process.stderr else ""
        raise ClaimFailed(
            f"{self.name} did not tell {event}; it told {[line.get('event') for line in self.lines]} {errors}"
        )

    async def wait_for_fact(self, event: str, member: str, value: str, wanted: str, seconds: float = 60.0) -> str:
        """The member `wanted` of the first line about this event in which `member` has this value.

        Raises:
            ClaimFailed: it did not tell it in time.
        """
        try:
            async with asyncio.timeout(seconds), self._changed:
                while True:
                    for line in self.lines:
                        if line.get("event") == event and line.get(member) == value:
                            return str(line[wanted])
                    await self._changed.wait()
        except TimeoutError:
            raise ClaimFailed(f"{self.name} did not tell {event} about {value}; it told {self.lines[-5:]}") from None

    async def ended_well(self, seconds: float = 60.0) -> bool:
        """Whether it ends by itself with status 0."""
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait() == 0
        except TimeoutError:
            return False

    async def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.lines.append(json.loads(line))
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()
