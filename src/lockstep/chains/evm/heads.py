"""The newest block of one chain, looked for once for everybody in this process who waits for it.

Where a WebSocket address is configured, its `newHeads` only say *when* to look: what is believed comes from the chain's
nodes, like every other reading, so a head is never one that they do not have. Without it, or while it is lost, the nodes
are polled. Nothing is missed in between: whoever follows a chain reads on from its own checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from prometheus_client import Counter, Gauge
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import NodeUnavailable
from lockstep.chains.evm.types import Hash32
from lockstep.chains.evm.wire import Header, to_int
from lockstep.kit.clock import pause
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)

_live = Gauge("lockstep_heads_live", "Whether new heads are announced by WebSocket (1) or polled (0)", ["chain"])
_went_back = Counter("lockstep_heads_went_back", "Heads that went back to a block known before", ["chain"])

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds until the WebSocket is opened again: doubled with each failure, shortened by up to half at random."""
_SOCKET_SECONDS = 5.0
"""Longest that the opening of the WebSocket and the answer to the subscription may take."""
_SOON, _SOON_LOOKS = 0.05, 5
"""How often it is looked for an announced block that the nodes do not have yet, before polling goes on as usual."""
_REMEMBERED = 64


@asynccontextmanager
async def _subscribed(url: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket on which a node announces new heads.

    Raises:
        OSError, WebSocketException, TimeoutError, ValueError: it does not.
    """
    async with connect(url, open_timeout=_SOCKET_SECONDS, max_size=1 << 20) as socket:
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}))
        answer = json.loads(await asyncio.wait_for(socket.recv(), _SOCKET_SECONDS))
        if "result" not in answer:
            raise ValueError("the node refused the subscription")
        yield socket


async def check_announcements(config: ChainConfig) -> None:
    """Subscribe once at the configured WebSocket.

    Raises:
        NodeUnavailable: it does not answer, or does not take the subscription.
    """
    try:
        async with _subscribed(config.ws_url or ""):
            return
    except (OSError, WebSocketException, TimeoutError, ValueError, TypeError) as error:
        raise NodeUnavailable(
            f"the WebSocket of {config.name} announces no blocks: {type(error).__name__}", chain=config.chain
        ) from error


class HeadTracker:
    """The newest block of one chain. For use by one event loop."""

    def __init__(self, config: ChainConfig, look: Callable[[], Awaitable[Header]]) -> None:
        """
        Args:
            look: asks the nodes for the newest block.
        """
        self._config, self._look = config, look
        self._head: Header | None = None
        self._recent: dict[int, Hash32] = {}
        self._looked_at = float("-inf")
        self._back_since: float | None = None
        self._watchers = 0
        self._watch: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._wake = asyncio.Event()
        self.is_live = False
        """Whether new heads are announced to us."""
        self._announced = -1
        self._early_looks = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Have the head looked for as long as the block runs; all who watch share one look."""
        self._watchers += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0:
                watch, self._watch = self._watch, None
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    async def newest(self, *, now: bool = False) -> Header:
        """The newest block: as it was seen last while somebody watches, else asked for.

        Args:
            now: ask in any case; the last look is known to be outdated.
        Raises:
            NodeUnavailable, NodeError, WrongChain.
        """
        loop = asyncio.get_running_loop()
        if (
            not now
            and self._watch is not None
            and self._head is not None
            and loop.time() - self._looked_at < max(3 * self._usual_pause(), 1.0)
        ):
            return self._head
        head = await self._look()
        if self._watch is None:
            return head
        return self._saw(head, loop.time())

    async def changed(self, seen: Hash32 | None, stop: asyncio.Event, seconds: float) -> None:
        """Wait until the head is another one than `seen`, until `stop` is set, or for so many seconds of the host."""
        if self._head is not None and self._head.ref.hash != seen:
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._moved, stop)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    # --- looking ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        listening = asyncio.create_task(self._listen(self._config.ws_url)) if self._config.ws_url else None
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                try:
                    head = await self._look()
                except (LockstepError, LookupError, TypeError, ValueError) as error:
                    # Whoever asks for the head meets the same fault, a block that is none included, and knows what to do.
                    log.debug("head_not_seen", chain=self._config.chain, reason=type(error).__name__)
                else:
                    self._saw(head, loop.time())
                await pause(self._wake, self._pause())
        finally:
            self._head, self._recent, self._back_since = None, {}, None
            if listening is not None:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening

    def _saw(self, head: Header, now: float) -> Header:
        """Take a head over, unless it is an ancestor of the one we have: then a node lags, or the chain became shorter,
        which is believed when it stays so."""
        self._looked_at = now
        ref, known = head.ref, self._head
        if known is not None and ref.hash == known.ref.hash:
            self._back_since = None
            return known
        if known is not None and ref.number < known.ref.number and self._recent.get(ref.number) == ref.hash:
            if self._back_since is None:
                self._back_since = now
                _went_back.labels(self._config.chain).inc()
                log.info("head_went_back", chain=self._config.chain, was=known.ref.number, now=ref.number)
            if now - self._back_since < max(2 * self._config.block_seconds, 1.0):
                return known
        self._back_since = None
        self._head = head
        self._recent = {
            number: one for number, one in self._recent.items() if ref.number - _REMEMBERED < number < ref.number
        }
        self._recent[ref.number] = ref.hash
        self._moved.set()
        self._moved = asyncio.Event()
        return head

    def _pause(self) -> float:
        """Seconds until the next look."""
        if self._head is None or self._announced <= self._head.ref.number:
            self._early_looks = 0
        elif self._early_looks < _SOON_LOOKS:
            self._early_looks += 1
            return _SOON
        return self._usual_pause()

    def _usual_pause(self) -> float:
        seconds = self._config.block_seconds
        return min(max(seconds, 0.25), 15.0) if self.is_live else min(max(seconds / 8, 0.04), 0.5)

    # --- announcements ------------------------------------------------------------------------------------------------

    async def _listen(self, url: str) -> None:
        """Hear of new heads; come back after each loss, and let the nodes be polled meanwhile."""
        failures = 0
        live = _live.labels(self._config.chain)
        while True:
            try:
                async with _subscribed(url) as socket:
                    self.is_live = True
                    live.set(1)
                    async for text in socket:
                        self._announced = to_int(json.loads(text)["params"]["result"]["number"])
                        failures, self._early_looks = 0, 0
                        self._wake.set()
            except (OSError, WebSocketException, TimeoutError, ValueError, KeyError, TypeError) as error:
                log.warning("heads_polled", chain=self._config.chain, reason=type(error).__name__)
            finally:
                self.is_live, self._announced = False, -1
                live.set(0)
            self._wake.set()
            await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0))
            failures += 1
