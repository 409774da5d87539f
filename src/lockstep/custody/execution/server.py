"""The signer's socket: its connections and their limits, around a `SigningCore`.

Every connection has a bounded queue: when it is full, or when the client does not read its answers, nothing more is
read from that client, and nobody else notices. Work is done in short turns, so that connections take turns too. Knows
nothing about policy: a request without its execution authorization is refused by the core.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import cast

import structlog

from lockstep.custody.execution import protocol
from lockstep.custody.execution.core import SignCall, SigningCore
from lockstep.custody.execution.errors import (
    DeadlinePassed,
    ProtocolViolation,
    SignerNotTrusted,
    SignerUnavailable,
)
from lockstep.custody.execution.protocol import ANSWER, FAULT, Frame, FrameReader, Operation, encode_frame
from lockstep.kit.errors import LockstepError

log = structlog.get_logger(__name__)

MAX_QUEUED = 1024
"""Requests of one connection that wait or are being worked on; more stay in the socket."""
MAX_QUEUED_BYTES = 4 * 1024 * 1024
_TURN = 16
"""Requests that one connection gets done before the next one's turn."""


class SignerServer:
    """Listens on a Unix socket of mode 0600."""

    def __init__(self, core: SigningCore, *, max_connections: int = 64, frame_seconds: float = 10.0) -> None:
        self.core = core
        self.max_connections = max_connections
        self.frame_seconds = frame_seconds
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Bind and listen; a socket that is left over at the path must be gone."""
        loop = asyncio.get_running_loop()
        before = os.umask(0o177)
        try:
            self._server = await loop.create_unix_server(lambda: _Connection(self), str(path), backlog=128)
        finally:
            os.umask(before)

    async def stop(self, grace_seconds: float) -> None:
        """Take nothing more, answer what was taken within the grace time, and close."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace_seconds):
                for connection in list(self.connections):
                    await connection.closed.wait()
        except TimeoutError:
            log.warning("signer_connections_cut", connections=len(self.connections))
        for connection in list(self.connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One client: proof first, then requests in turns."""

    def __init__(self, server: SignerServer) -> None:
        self._server = server
        self._core = server.core
        self._frames = FrameReader()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._challenge = secrets.token_bytes(protocol.CHALLENGE_BYTES)
        self._is_proven = False
        self._queue: deque[tuple[float, Frame]] = deque()
        self._queued_bytes = 0
        self._running: set[asyncio.Task[None]] = set()
        self._turn: asyncio.Handle | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._can_write = True
        self._is_reading = True
        self._is_draining = False
        self.closed = asyncio.Event()

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to check here.
        self._transport = stream = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.max_connections:
            log.warning("signer_connections_exhausted", connections=len(self._server.connections))
            stream.abort()
            return
        stream.set_write_buffer_limits(high=256 * 1024)
        self._expect_frame()
        hello = protocol.Hello(self._core.identity, self._challenge)
        stream.write(encode_frame(Operation.HELLO, 0, hello.encode()))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._queue.clear()
        for handle in (self._turn, self._frame_timer):
            if handle is not None:
                handle.cancel()
        self._turn = self._frame_timer = None
        self._transport = None
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._is_draining:
            return
        has_ended_one = False
        try:
            for frame in self._frames.feed(data):
                has_ended_one = True
                if not self._is_proven:
                    self._prove(frame)
                else:
                    self._queue.append((self._loop.time(), frame))
                    self._queued_bytes += len(frame.body)
        except LockstepError as error:
            self._refuse_connection(error)
            return
        if has_ended_one or (self._is_proven and self._frame_timer is None):
            self._expect_frame()  # single bytes of one frame do not win it more time
        self._schedule()
        self._throttle()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._schedule()

    # --- limits

    def _expect_frame(self) -> None:
        """A client that has begun a frame, or has not proven itself, must go on within the time limit."""
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None
        if not self._is_proven or self._frames.is_inside_frame:
            self._frame_timer = self._loop.call_later(self._server.frame_seconds, self._cut_slow)

    def _cut_slow(self) -> None:
        if self._is_proven and not self._is_reading:
            self._expect_frame()  # it is us who do not read
            return
        log.warning("signer_client_too_slow", proven=self._is_proven)
        self.abort()

    def _throttle(self) -> None:
        waiting = len(self._queue) + len(self._running)
        is_full = waiting >= MAX_QUEUED or self._queued_bytes >= MAX_QUEUED_BYTES
        if self._transport is None or self._is_draining or is_full != self._is_reading:
            return
        self._is_reading = not is_full
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- work

    def _schedule(self) -> None:
        if self._turn is None and self._queue and self._can_write and self._transport is not None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        answers: list[bytes] = []
        for _ in range(_TURN):
            if not self._queue or len(self._running) >= MAX_QUEUED:
                break
            arrived, frame = self._queue.popleft()
            self._queued_bytes -= len(frame.body)
            answer = self._answer_at_once(arrived, frame)
            if answer is not None:
                answers.append(answer)
            if self._transport is None or self._transport.is_closing():
                return
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))
        self._schedule()
        self._throttle()
        self._close_when_drained()

    def _answer_at_once(self, arrived: float, frame: Frame) -> bytes | None:
        """The answer, or None when it needs the database first (then a task answers)."""
        try:
            self._check_deadline(arrived, frame)
            match frame.operation:
                case Operation.SIGN:
                    call = protocol.decode_sign(frame.body)
                    signature = self._core.sign_at_once(call)
                    if signature is None:
                        self._start(self._sign_later(arrived, frame, call), frame)
                        return None
                    body = signature
                case Operation.SIGN_TRANSPORT:
                    body = self._core.sign_transport(*protocol.decode_transport(frame.body))
                case Operation.TRANSPORT_KEY:
                    body = self._core.transport.public_key(protocol.decode_transport(frame.body)[0])
                case Operation.HEALTH:
                    connections = len(self._server.connections)
                    body = protocol.encode_health({**self._core.health(), "connections": connections})
                case Operation.GENERATE_KEY:
                    self._start(self._generate(frame), frame)
                    return None
                case _:
                    raise ProtocolViolation("expected a request")
        except ProtocolViolation as error:
            self._refuse_connection(error)
            return None
        except Exception as error:
            return self._fault(frame, error)
        return encode_frame(frame.operation | ANSWER, frame.request_id, body)

    def _check_deadline(self, arrived: float, frame: Frame) -> None:
        if frame.deadline_ms and (self._loop.time() - arrived) * 1000 >= frame.deadline_ms:
            raise DeadlinePassed

    def _start(self, work: Coroutine[None, None, None], frame: Frame) -> None:
        task = self._loop.create_task(work, name=f"signer {frame.request_id}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._schedule()
        self._throttle()
        self._close_when_drained()

    async def _sign_later(self, arrived: float, frame: Frame, call: SignCall) -> None:
        try:
            await self._core.prepare(call.key.wallet_id)
            self._check_deadline(arrived, frame)
            body = await self._core.sign(call)
        except Exception as error:
            self._send(self._fault(frame, error))
            return
        self._send(encode_frame(frame.operation | ANSWER, frame.request_id, body))

    async def _generate(self, frame: Frame) -> None:
        try:
            key = await self._core.generate_key(*protocol.decode_generate(frame.body))
        except Exception as error:
            self._send(self._fault(frame, error))
            return
        self._send(encode_frame(frame.operation | ANSWER, frame.request_id, protocol.encode_generated(key)))
        key.auth_share.wipe()

    def _fault(self, frame: Frame, error: Exception) -> bytes:
        if isinstance(error, LockstepError) and protocol.travels(error):
            log.info("signer_refused", operation=frame.operation, code=error.code, detail=error.detail)
            return encode_frame(FAULT, frame.request_id, protocol.encode_fault(error))
        log.error("signer_fault", operation=frame.operation, kind=type(error).__name__)
        hidden = SignerUnavailable("the signer could not do this; its log says why")
        return encode_frame(FAULT, frame.request_id, protocol.encode_fault(hidden))

    def _send(self, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    def _prove(self, frame: Frame) -> None:
        """Check the client's proof and give ours.

        Raises:
            SignerNotTrusted: it does not know the shared key.
            ProtocolViolation: it did not begin with its proof.
        """
        if frame.operation != Operation.PROVE or self._transport is None:
            raise ProtocolViolation("expected a proof first")
        theirs, proof = protocol.decode_prove(frame.body)
        transcript = protocol.Hello(self._core.identity, self._challenge).encode() + theirs
        key = self._core.authorization_key
        if not hmac.compare_digest(key.prove("client", transcript), proof):
            raise SignerNotTrusted("the client does not know the shared key")
        self._is_proven = True
        body = protocol.encode_proven(key.prove("signer", transcript), self._core.exec_fingerprint)
        self._transport.write(encode_frame(Operation.PROVE | ANSWER, frame.request_id, body))

    def _refuse_connection(self, error: LockstepError) -> None:
        """Say why and close: after a violation the stream of bytes means nothing any more."""
        log.warning("signer_connection_refused", code=error.code, detail=error.detail)
        self._queue.clear()
        if self._transport is not None:
            self._transport.write(encode_frame(FAULT, 0, protocol.encode_fault(error)))
            self._transport.close()

    # --- the end

    def drain(self) -> None:
        """Read nothing more; close once everything that was taken is answered."""
        if self._transport is None:
            return
        self._is_draining = True
        if self._is_reading:
            with suppress(RuntimeError):
                self._transport.pause_reading()
        self._close_when_drained()

    def _close_when_drained(self) -> None:
        if self._is_draining and not self._queue and not self._running and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        for task in list(self._running):
            task.cancel()
        if self._transport is not None:
            self._transport.abort()
