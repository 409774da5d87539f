"""The policy side's way to the signer: a few connections per process, many requests in flight on each.

Opens the sealed auth share for the moment of the request and hands it to a signer that has proven itself. Reconnects on
the next request after a loss; a request that was in flight then fails as `SignerUnavailable` and is not repeated here,
because its authorization may have been used (signatures are deterministic, so the caller may simply authorize again).
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lockstep.custody.execution import protocol
from lockstep.custody.execution.authorization import AuthorizationKey
from lockstep.custody.execution.core import GeneratedKey, SignCall
from lockstep.custody.execution.errors import (
    DeadlinePassed,
    ProtocolViolation,
    SignerNotTrusted,
    SignerUnavailable,
)
from lockstep.custody.execution.protocol import ANSWER, FAULT, Frame, FrameReader, Operation, encode_frame
from lockstep.custody.execution.shares import AuthShares
from lockstep.custody.execution.types import (
    ED25519_OPS,
    NewKey,
    Signature,
    SignerIdentity,
    SigningRequest,
    TransportPurpose,
    WalletKey,
)
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId

MAX_IN_FLIGHT = 256
"""Requests that one connection carries at a time; the rest of a batch waits here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerClientConfig:
    """How to reach the signer."""

    socket_path: Path
    connections: int = 2
    deadline_seconds: float = 5.0
    """How long a caller waits for one answer; the signer does not begin work whose caller has gone."""
    connect_seconds: float = 2.0


class SignerClient:
    """An `Executor` behind a socket."""

    def __init__(
        self, config: SignerClientConfig, *, authorization_key: AuthorizationKey, auth_shares: AuthShares
    ) -> None:
        self._config = config
        self._key = authorization_key
        self._auth_shares = auth_shares
        self._slots: list[_Connection | None] = [None] * config.connections
        self._locks = [asyncio.Lock() for _ in self._slots]
        self._next = itertools.cycle(range(config.connections))
        self._is_closed = False

    async def identity(self) -> SignerIdentity:
        """See `Executor`."""
        return (await self._connection()).identity

    async def generate_key(self, app_id: AppId, wallet_id: WalletId, authorization: bytes) -> NewKey:
        """See `Executor`."""
        (answer,) = await self.generate_keys(app_id, [(wallet_id, authorization)])
        if isinstance(answer, LockstepError):
            raise answer
        return answer

    async def generate_keys(
        self, app_id: AppId, wanted: Sequence[tuple[WalletId, bytes]]
    ) -> list[NewKey | LockstepError]:
        """See `Executor`."""
        connection = await self._connection()
        results = await connection.exchange(
            Operation.GENERATE_KEY,
            [protocol.encode_generate(app_id, wallet_id, authorization) for wallet_id, authorization in wanted],
            self._config.deadline_seconds,
        )
        return [
            result
            if isinstance(result, LockstepError)
            else new_key(self._auth_shares, app_id, wallet_id, protocol.decode_generated(result))
            for (wallet_id, _), result in zip(wanted, results, strict=True)
        ]

    async def sign(self, request: SigningRequest) -> Signature:
        """See `Executor`."""
        (answer,) = await self.sign_many([request])
        if isinstance(answer, LockstepError):
            raise answer
        return answer

    async def sign_many(self, requests: Sequence[SigningRequest]) -> list[Signature | LockstepError]:
        """See `Executor`."""
        answers: list[Signature | LockstepError] = []
        for start in range(0, len(requests), MAX_IN_FLIGHT):
            answers += await self._sign_batch(requests[start : start + MAX_IN_FLIGHT])
        return answers

    async def sign_transport(self, purpose: TransportPurpose, payload: bytes) -> bytes:
        """See `Executor`."""
        return await self._call(Operation.SIGN_TRANSPORT, protocol.encode_transport(purpose, payload))

    async def transport_public_key(self, purpose: TransportPurpose) -> bytes:
        """See `Executor`."""
        return await self._call(Operation.TRANSPORT_KEY, protocol.encode_transport(purpose))

    async def health(self) -> Mapping[str, str | int]:
        """See `Executor`."""
        return protocol.decode_health(await self._call(Operation.HEALTH, b""))

    async def close(self) -> None:
        """Close the connections; requests in flight fail."""
        self._is_closed = True
        for connection in self._slots:
            if connection is not None:
                connection.close(SignerUnavailable("the client was closed"))

    async def _sign_batch(self, requests: Sequence[SigningRequest]) -> list[Signature | LockstepError]:
        answers: list[Signature | LockstepError] = [SignerUnavailable()] * len(requests)
        bodies: list[tuple[int, bytes]] = []
        for number, request in enumerate(requests):
            try:
                call = sign_call(self._auth_shares, request)
                bodies.append((number, protocol.encode_sign(call)))
                call.auth_share.wipe()
            except LockstepError as error:
                answers[number] = error
        try:
            connection = await self._connection()
            results = await connection.exchange(
                Operation.SIGN, [body for _, body in bodies], self._config.deadline_seconds
            )
        except LockstepError as error:
            for number, _ in bodies:
                answers[number] = error
            return answers
        for (number, _), result in zip(bodies, results, strict=True):
            if isinstance(result, LockstepError):
                answers[number] = result
            elif len(result) == (64 if requests[number].payload.op in ED25519_OPS else 65):
                answers[number] = Signature(result)
            else:
                answers[number] = ProtocolViolation(f"expected another length of a signature, was {len(result)} bytes")
        return answers

    async def _call(self, operation: Operation, body: bytes) -> bytes:
        connection = await self._connection()
        (answer,) = await connection.exchange(operation, [body], self._config.deadline_seconds)
        if isinstance(answer, LockstepError):
            raise answer
        return answer

    async def _connection(self) -> _Connection:
        if self._is_closed:
            raise SignerUnavailable("the client was closed")
        slot = next(self._next)
        connection = self._slots[slot]
        if connection is not None and connection.is_open:
            return connection
        async with self._locks[slot]:
            connection = self._slots[slot]
            if connection is None or not connection.is_open:
                connection = self._slots[slot] = await self._connect()
            return connection

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        path = self._config.socket_path
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._config.connect_seconds):
                _, connection = await loop.create_unix_connection(lambda: _Connection(self._key), str(path))
                exec_fingerprint = await connection.proven
        except TimeoutError as error:
            if connection is not None:
                connection.close(SignerUnavailable())
            raise SignerUnavailable(f"the signer at {path} did not answer in time") from error
        except OSError as error:
            raise SignerUnavailable(f"no signer listens at {path}") from error
        try:
            self._auth_shares.refuse_exec_key(exec_fingerprint)
        except LockstepError as error:
            connection.close(error)
            raise
        return connection


class _Connection(asyncio.Protocol):
    """One connection: proves itself, then matches answers with requests."""

    def __init__(self, key: AuthorizationKey) -> None:
        self._key = key
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._challenge = secrets.token_bytes(protocol.CHALLENGE_BYTES)
        self._hello: protocol.Hello | None = None
        self._waiting: dict[int, tuple[int, asyncio.Future[bytes | LockstepError]]] = {}
        self._ids = itertools.count(1)
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._writable = asyncio.Event()
        self._writable.set()
        self.proven: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def identity(self) -> SignerIdentity:
        assert self._hello is not None, "a connection is handed out after its proof"
        return self._hello.identity

    async def exchange(
        self, operation: Operation, bodies: Sequence[bytes], seconds: float
    ) -> list[bytes | LockstepError]:
        """Send requests together and collect their answers in the order of the requests."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        results: list[bytes | LockstepError] = [DeadlinePassed()] * len(bodies)
        sent: dict[asyncio.Future[bytes | LockstepError], tuple[int, int]] = {}
        try:
            frames: list[bytes] = []
            async with asyncio.timeout_at(ends):
                await self._writable.wait()
                for number, body in enumerate(bodies):
                    if self._room.locked():
                        self._write(frames)
                    await self._room.acquire()
                    request_id = next(self._ids)
                    answer: asyncio.Future[bytes | LockstepError] = loop.create_future()
                    answer.add_done_callback(self._make_room)
                    sent[answer] = number, request_id
                    try:
                        left = max(1, int((ends - loop.time()) * 1000))
                        frames.append(encode_frame(operation, request_id, body, left))
                    except LockstepError as error:
                        answer.set_result(error)
                        continue
                    self._waiting[request_id] = operation, answer
                self._write(frames)
                if sent:
                    await asyncio.wait(sent)
        except TimeoutError:
            pass  # what has no answer keeps DeadlinePassed
        finally:
            for answer, (number, request_id) in sent.items():
                if answer.done() and not answer.cancelled():
                    results[number] = answer.result()
                else:
                    self._waiting.pop(request_id, None)
                    answer.cancel()
        return results

    def close(self, reason: LockstepError) -> None:
        """Close; everything in flight fails with this reason."""
        self._fail(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to check here.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._fail(SignerUnavailable("the connection to the signer was lost; nothing is known about the request"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except LockstepError as error:
            self.close(error)

    def _take(self, frame: Frame) -> None:
        if not self.proven.done():
            self._prove(frame)
            return
        if frame.operation == FAULT and frame.request_id == 0:
            raise protocol.decode_fault(frame.body)
        waiting = self._waiting.pop(frame.request_id, None)
        if waiting is None:
            return  # its caller has given up
        operation, answer = waiting
        if frame.operation == FAULT:
            answer.set_result(protocol.decode_fault(frame.body))
        elif frame.operation == operation | ANSWER:
            answer.set_result(frame.body)
        else:
            answer.set_result(ProtocolViolation("the signer answered another operation"))

    def _prove(self, frame: Frame) -> None:
        """Say that we know the key, then believe the other side only if it does too."""
        assert self._transport is not None
        if self._hello is None and frame.operation == Operation.HELLO:
            self._hello = protocol.decode_hello(frame.body)
            proof = self._key.prove("client", self._hello.encode() + self._challenge)
            self._transport.write(encode_frame(Operation.PROVE, 0, protocol.encode_prove(self._challenge, proof)))
        elif self._hello is not None and frame.operation == Operation.PROVE | ANSWER:
            proof, exec_fingerprint = protocol.decode_proven(frame.body)
            expected = self._key.prove("signer", self._hello.encode() + self._challenge)
            if not hmac.compare_digest(expected, proof):
                raise SignerNotTrusted
            self.proven.set_result(exec_fingerprint)
        elif frame.operation == FAULT:
            raise protocol.decode_fault(frame.body)
        else:
            raise ProtocolViolation("expected the signer to prove itself")

    def _write(self, frames: list[bytes]) -> None:
        if not frames:
            return
        if self._transport is None:
            self._fail(SignerUnavailable("the connection to the signer was lost"))
        else:
            self._transport.write(b"".join(frames))
        frames.clear()

    def _fail(self, reason: LockstepError) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, answer in waiting.values():
            if not answer.done():
                answer.set_result(reason)
        if not self.proven.done():
            self.proven.set_exception(reason)
            self.proven.exception()  # seen, even if the one who connects has gone

    def _make_room(self, _: asyncio.Future[bytes | LockstepError]) -> None:
        self._room.release()


def sign_call(auth_shares: AuthShares, request: SigningRequest) -> SignCall:
    """A request with its auth share opened.

    Raises:
        SealBroken: the auth share is not of this key.
    """
    return SignCall(
        op=request.payload.op,
        key=request.key,
        payload=request.payload.encode(),
        auth_share=auth_shares.open(request.auth_share, request.key),
        authorization=request.authorization,
    )


def new_key(auth_shares: AuthShares, app_id: AppId, wallet_id: WalletId, generated: GeneratedKey) -> NewKey:
    """A generated key with its auth share sealed for the wallet's row."""
    key = WalletKey(app_id=app_id, wallet_id=wallet_id, address=generated.address)
    sealed = auth_shares.seal(generated.auth_share, key)
    generated.auth_share.wipe()
    return NewKey(
        address=generated.address,
        public_key=generated.public_key,
        share_set=generated.auth_share.set_id.hex(),
        auth_share=sealed,
        recovery_share=generated.recovery_share,
    )
