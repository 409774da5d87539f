"""Frames and messages: one encoding, caps before bodies, and garbage that ends in a refusal and nothing else."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import Address, BadSignature
from lockstep.custody.execution import protocol
from lockstep.custody.execution.core import GeneratedKey, SignCall
from lockstep.custody.execution.errors import PayloadRefused, ProtocolViolation, SigningRefused
from lockstep.custody.execution.protocol import ANSWER, FAULT, FrameReader, Hello, Operation, encode_frame
from lockstep.custody.execution.shamir import split
from lockstep.custody.execution.types import SignerIdentity, WalletKey
from lockstep.custody.execution.wire import Reader, Writer
from lockstep.kit.errors import LockstepError, Retry
from lockstep.kit.ids import AppId, WalletId

CALL = SignCall(
    op="evm_transaction",
    key=WalletKey(app_id=AppId("app"), wallet_id=WalletId("wallet"), address=Address("0x" + "11" * 20)),
    payload=b"payload",
    auth_share=split(b"k" * 32)[0],
    authorization=b"authorization",
)
GENERATED = GeneratedKey(
    address=CALL.key.address, public_key=b"\x04" + bytes(64), auth_share=CALL.auth_share, recovery_share=b"sealed"
)
HELLO = Hello(SignerIdentity("signer", b"e" * 16), b"c" * 32)

MESSAGES: list[tuple[bytes, Callable[[bytes], object], object]] = [
    (protocol.encode_sign(CALL), protocol.decode_sign, CALL),
    (protocol.encode_generated(GENERATED), protocol.decode_generated, GENERATED),
    (
        protocol.encode_generate(AppId("app"), WalletId("wallet"), b"grant"),
        protocol.decode_generate,
        ("app", "wallet", b"grant"),
    ),
    (HELLO.encode(), protocol.decode_hello, HELLO),
    (protocol.encode_prove(b"c" * 32, b"p" * 32), protocol.decode_prove, (b"c" * 32, b"p" * 32)),
    (protocol.encode_proven(b"p" * 32, b"f" * 16), protocol.decode_proven, (b"p" * 32, b"f" * 16)),
    (protocol.encode_transport("jwt", b"x.y"), protocol.decode_transport, ("jwt", b"x.y")),
    (protocol.encode_health({"signatures": 1}), protocol.decode_health, {"signatures": 1}),
]


@pytest.mark.parametrize(("encoded", "decode", "value"), MESSAGES)
def test_message__encoded_and_decoded__is_the_same(
    encoded: bytes, decode: Callable[[bytes], object], value: object
) -> None:
    assert decode(encoded) == value


@pytest.mark.parametrize(("encoded", "decode", "value"), MESSAGES)
def test_message__cut_or_prolonged__is_a_violation(
    encoded: bytes, decode: Callable[[bytes], object], value: object
) -> None:
    for length in range(len(encoded)):
        with pytest.raises(ProtocolViolation):
            decode(encoded[:length])
    with pytest.raises(ProtocolViolation):
        decode(encoded + b"\x00")


@given(st.binary(max_size=200), st.sampled_from([message[1] for message in MESSAGES]))
def test_message__garbage__is_refused_and_nothing_else(content: bytes, decode: Callable[[bytes], object]) -> None:
    try:
        decode(content)
    except LockstepError as error:
        assert isinstance(error, ProtocolViolation | PayloadRefused)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Operation.SIGN, Operation.HEALTH | ANSWER, FAULT]),
            st.integers(0, 2**64 - 1),
            st.binary(max_size=128),
            st.integers(0, 2**32 - 1),
        ),
        max_size=8,
    ),
    st.data(),
)
def test_frames__cut_into_any_pieces__come_out_whole_and_in_order(
    frames: list[tuple[int, int, bytes, int]], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in frames)
    reader, seen = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += [(f.operation, f.request_id, f.body, f.deadline_ms) for f in reader.feed(stream[:size])]
        stream = stream[size:]
    assert seen == frames
    assert not reader.is_inside_frame


@given(st.binary(max_size=400))
def test_frames__garbage__is_a_violation_or_waits_for_more_within_the_cap(content: bytes) -> None:
    reader = FrameReader()
    try:
        list(reader.feed(content))
    except ProtocolViolation:
        return
    assert len(reader._buffer) <= max(protocol.MAX_BODY.values()) + 18


@pytest.mark.parametrize("operation", sorted(protocol.MAX_BODY))
def test_frames__body_above_the_cap_of_its_operation__is_refused_before_it_arrives(operation: int) -> None:
    cap = protocol.MAX_BODY[operation]
    with pytest.raises(PayloadRefused):
        encode_frame(operation, 1, bytes(cap + 1))
    header = struct.pack(">IBBQI", 14 + cap + 1, 1, operation, 1, 0)
    with pytest.raises(ProtocolViolation, match="at most"):
        list(FrameReader().feed(header))
    list(FrameReader().feed(encode_frame(operation, 1, bytes(cap))))


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">IBBQI", 14, 2, Operation.HEALTH, 1, 0),
        struct.pack(">IBBQI", 14, 1, 99, 1, 0),
        struct.pack(">IBBQI", 13, 1, Operation.HEALTH, 1, 0),
        struct.pack(">IBBQI", 0, 1, Operation.HEALTH, 1, 0),
        b"GET / HTTP/1.1\r\nHost: signer\r\n\r\n",
    ],
)
def test_frames__another_version_operation_or_length__is_a_violation(header: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(FrameReader().feed(header))


def test_fault__of_the_list__travels_with_its_class() -> None:
    answer = protocol.decode_fault(protocol.encode_fault(SigningRefused("the authorization was used before")))
    assert isinstance(answer, SigningRefused)
    assert answer.detail == "the authorization was used before"


def test_fault__refusal_of_a_codec__travels_as_a_refused_payload() -> None:
    assert isinstance(protocol.decode_fault(protocol.encode_fault(BadSignature())), PayloadRefused)


def test_fault__of_the_signer_itself__does_not_travel() -> None:
    class Inner(Retry):
        """Something inside."""

        code = "inner"

    assert not protocol.travels(Inner())
    assert protocol.travels(SigningRefused())


def test_fault__with_a_code_that_is_not_in_the_list__is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        protocol.decode_fault(Writer().text("operator_needed").blob(b"", 2).done())


def test_sign__kind_that_signs_nothing__is_a_violation() -> None:
    for number in (0, 1, 8, 11):
        with pytest.raises(ProtocolViolation):
            protocol.decode_sign(bytes([number]) + protocol.encode_sign(CALL)[1:])


def test_sign__share_that_cannot_be__is_a_violation() -> None:
    encoded = protocol.encode_sign(CALL)
    at = encoded.index(CALL.auth_share.set_id) + 16
    with pytest.raises(ProtocolViolation):
        protocol.decode_sign(encoded[:at] + b"\x00" + encoded[at + 1 :])


def test_writer__value_that_does_not_fit__is_not_cut() -> None:
    with pytest.raises(ValueError, match="expected less"):
        Writer().text("x" * 256)
    with pytest.raises(ValueError, match="expected 4"):
        Writer().fixed(b"12345", 4)
    with pytest.raises(OverflowError):
        Writer().number(256, 1)


def test_reader__text_that_is_not_utf8__is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        Reader(b"\x01\xff").text()


def test_sign_call__shown__hides_its_share() -> None:
    assert CALL.auth_share.value.hex() not in repr(dataclasses.replace(CALL))
