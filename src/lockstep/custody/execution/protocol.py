"""The framed protocol of the signer's socket: frames, the proof at the start, and the messages of every operation.

    u32 length of what follows | u8 version (1) | u8 operation | u64 request id | u32 deadline in ms | body

A deadline counts from arrival, so that both ends need no common clock; 0 means none. An answer carries the request's
id and the operation with the top bit set; a refusal is the operation 0xFF. Answers come in any order. The signer
speaks first: HELLO with its identity and a challenge; the client PROVEs that it knows the shared key; the signer
proves the same in its answer. Only then does either side believe the other: shares never go to a stranger who has
taken the socket's place. Caps are per operation and checked before a body is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from lockstep.chains.evm import Address, address_from_bytes, address_to_bytes
from lockstep.custody.execution.authorization import EPOCH_BYTES, OPS
from lockstep.custody.execution.core import GeneratedKey, SignCall
from lockstep.custody.execution.errors import WIRE_ERRORS, PayloadRefused, ProtocolViolation
from lockstep.custody.execution.shamir import SET_ID_BYTES, Share, SharesRefused
from lockstep.custody.execution.types import (
    GENERATIONS,
    TRANSPORT_PURPOSES,
    Op,
    SignerIdentity,
    TransportPurpose,
    WalletKey,
)
from lockstep.custody.execution.wire import Reader, Writer
from lockstep.kit.errors import LockstepError, Refuse
from lockstep.kit.ids import AppId, WalletId

VERSION = 1
ANSWER = 0x80
FAULT = 0xFF
CHALLENGE_BYTES = 32
PROOF_BYTES = 32
_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BBQI")
_PREAMBLE = _LENGTH.size + _HEAD.size


class Operation(IntEnum):
    """Operations by their number on the wire."""

    HELLO = 1
    PROVE = 2
    GENERATE_KEY = 3
    SIGN = 4
    SIGN_TRANSPORT = 5
    TRANSPORT_KEY = 6
    HEALTH = 7


MAX_BODY: dict[int, int] = {
    Operation.HELLO: 512,
    Operation.PROVE: 128,
    Operation.PROVE | ANSWER: 128,
    Operation.GENERATE_KEY: 4 * 1024,
    Operation.GENERATE_KEY | ANSWER: 4 * 1024,
    Operation.SIGN: 192 * 1024,
    Operation.SIGN | ANSWER: 128,
    Operation.SIGN_TRANSPORT: 72 * 1024,
    Operation.SIGN_TRANSPORT | ANSWER: 128,
    Operation.TRANSPORT_KEY: 64,
    Operation.TRANSPORT_KEY | ANSWER: 128,
    Operation.HEALTH: 0,
    Operation.HEALTH | ANSWER: 4 * 1024,
    FAULT: 4 * 1024,
}
"""Largest body of every operation; an operation that is not here is a violation."""

_OPS_BY_NUMBER: dict[int, Op] = {number: op for op, number in OPS.items() if op not in GENERATIONS.values()}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, whole."""

    operation: int
    request_id: int
    deadline_ms: int
    body: bytes


def encode_frame(operation: int, request_id: int, body: bytes, deadline_ms: int = 0) -> bytes:
    """The bytes of one frame.

    Raises:
        PayloadRefused: the body is above the cap of its operation.
    """
    if len(body) > MAX_BODY[operation]:
        raise PayloadRefused(f"expected at most {MAX_BODY[operation]} bytes for the signer, was {len(body)}")
    return (
        _LENGTH.pack(_HEAD.size + len(body))
        + _HEAD.pack(VERSION, operation, request_id, min(deadline_ms, 2**32 - 1))
        + body
    )


class FrameReader:
    """Cuts a stream of bytes into frames. `feed` holds at most one frame that is not whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_inside_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, content: bytes) -> Iterator[Frame]:
        """Take bytes and yield the frames that they complete.

        Raises:
            ProtocolViolation: another version, an unknown operation, or a length outside its cap. The stream is of no
                use from there on.
        """
        buffer = self._buffer
        buffer += content
        at = 0
        try:
            while len(buffer) - at >= _PREAMBLE:
                (length,) = _LENGTH.unpack_from(buffer, at)
                version, operation, request_id, deadline_ms = _HEAD.unpack_from(buffer, at + _LENGTH.size)
                cap = MAX_BODY.get(operation)
                if version != VERSION or cap is None:
                    raise ProtocolViolation(f"expected version {VERSION} and a known operation")
                if not _HEAD.size <= length <= _HEAD.size + cap:
                    raise ProtocolViolation(f"expected at most {cap} bytes for operation {operation}")
                end = at + _LENGTH.size + length
                if len(buffer) < end:
                    break
                frame = Frame(operation, request_id, deadline_ms, bytes(buffer[at + _PREAMBLE : end]))
                at = end
                yield frame
        finally:
            del buffer[:at]


# --- the start of a connection


@dataclass(frozen=True, slots=True)
class Hello:
    """What the signer says first."""

    identity: SignerIdentity
    challenge: bytes

    def encode(self) -> bytes:
        return (
            Writer()
            .text(self.identity.signer_id)
            .fixed(self.identity.boot_epoch, EPOCH_BYTES)
            .fixed(self.challenge, CHALLENGE_BYTES)
            .done()
        )


def decode_hello(body: bytes) -> Hello:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    hello = Hello(SignerIdentity(reader.text(), reader.fixed(EPOCH_BYTES)), reader.fixed(CHALLENGE_BYTES))
    reader.end()
    return hello


def encode_prove(challenge: bytes, proof: bytes) -> bytes:
    """The client's own challenge and its proof over both."""
    return Writer().fixed(challenge, CHALLENGE_BYTES).fixed(proof, PROOF_BYTES).done()


def decode_prove(body: bytes) -> tuple[bytes, bytes]:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    parts = reader.fixed(CHALLENGE_BYTES), reader.fixed(PROOF_BYTES)
    reader.end()
    return parts


def encode_proven(proof: bytes, exec_fingerprint: bytes) -> bytes:
    """The signer's proof, and the fingerprint of its exec key, so that equal keys are found out."""
    return Writer().fixed(proof, PROOF_BYTES).fixed(exec_fingerprint, 16).done()


def decode_proven(body: bytes) -> tuple[bytes, bytes]:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    parts = reader.fixed(PROOF_BYTES), reader.fixed(16)
    reader.end()
    return parts


# --- operations


def encode_generate(app_id: AppId, wallet_id: WalletId, authorization: bytes) -> bytes:
    return Writer().text(app_id).text(wallet_id).blob(authorization, 2).done()


def decode_generate(body: bytes) -> tuple[AppId, WalletId, bytes]:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    parts = AppId(reader.text()), WalletId(reader.text()), reader.blob(2)
    reader.end()
    return parts


def encode_generated(key: GeneratedKey) -> bytes:
    writer = Writer().fixed(address_to_bytes(key.address), 20).blob(key.public_key, 1)
    _write_share(writer, key.auth_share)
    return writer.blob(key.recovery_share, 2).done()


def decode_generated(body: bytes) -> GeneratedKey:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    address = address_from_bytes(reader.fixed(20))
    key = GeneratedKey(
        address=address, public_key=reader.blob(1), auth_share=_read_share(reader), recovery_share=reader.blob(2)
    )
    reader.end()
    return key


def encode_sign(call: SignCall) -> bytes:
    writer = (
        Writer()
        .number(OPS[call.op], 1)
        .text(call.key.app_id)
        .text(call.key.wallet_id)
        .fixed(address_to_bytes(call.key.address), 20)
    )
    _write_share(writer, call.auth_share)
    return writer.blob(call.authorization, 2).blob(call.payload, 4).done()


def decode_sign(body: bytes) -> SignCall:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    op = _OPS_BY_NUMBER.get(reader.number(1))
    if op is None:
        raise ProtocolViolation("unknown kind of payload")
    call = SignCall(
        op=op,
        key=WalletKey(
            app_id=AppId(reader.text()),
            wallet_id=WalletId(reader.text()),
            address=Address("0x" + reader.fixed(20).hex()),
        ),
        auth_share=_read_share(reader),
        authorization=reader.blob(2),
        payload=reader.blob(4),
    )
    reader.end()
    return call


def encode_transport(purpose: TransportPurpose, payload: bytes = b"") -> bytes:
    return Writer().text(purpose).blob(payload, 4).done()


def decode_transport(body: bytes) -> tuple[TransportPurpose, bytes]:
    """
    Raises:
        ProtocolViolation: it is none.
        PayloadRefused: a purpose that is not in the list.
    """
    reader = Reader(body)
    name, payload = reader.text(), reader.blob(4)
    reader.end()
    for purpose in TRANSPORT_PURPOSES:
        if purpose == name:
            return purpose, payload
    raise PayloadRefused(f"expected one of {', '.join(TRANSPORT_PURPOSES)} as the purpose")


def encode_health(health: Mapping[str, str | int]) -> bytes:
    return json.dumps(health, separators=(",", ":")).encode()


def decode_health(body: bytes) -> dict[str, str | int]:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    try:
        health = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation("the health of the signer cannot be read") from error
    if not isinstance(health, dict) or not all(isinstance(value, str | int) for value in health.values()):
        raise ProtocolViolation("expected an object with texts and numbers as health")
    return health


def encode_fault(error: LockstepError) -> bytes:
    """A refusal: code and detail. Refusals of other modules (codecs) travel as `payload_refused`."""
    code = error.code if error.code in WIRE_ERRORS else PayloadRefused.code
    return Writer().text(code).blob(error.detail.encode("utf-8", "replace")[:2048], 2).done()


def decode_fault(body: bytes) -> LockstepError:
    """
    Raises:
        ProtocolViolation: it is none.
    """
    reader = Reader(body)
    code, detail = reader.text(), reader.blob(2).decode("utf-8", "replace")
    reader.end()
    cls = WIRE_ERRORS.get(code)
    if cls is None:
        raise ProtocolViolation("the signer answered with a fault that is not in the list")
    return cls(detail)


def travels(error: LockstepError) -> bool:
    """Whether the caller is told this fault as it is; others are the signer's own and stay in its log."""
    return error.code in WIRE_ERRORS or isinstance(error, Refuse)


def _write_share(writer: Writer, share: Share) -> None:
    writer.fixed(share.set_id, SET_ID_BYTES).number(share.index, 1).number(share.threshold, 1).number(share.total, 1)
    writer.blob(share.value, 1)


def _read_share(reader: Reader) -> Share:
    set_id, index, threshold, total = reader.fixed(SET_ID_BYTES), *(reader.number(1) for _ in range(3))
    value = bytearray(reader.blob(1))
    try:
        return Share(set_id=set_id, index=index, threshold=threshold, total=total, value=value)
    except SharesRefused as error:
        raise ProtocolViolation(f"a share does not hold: {error}") from error
