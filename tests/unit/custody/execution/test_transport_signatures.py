"""Transport signatures: one key per purpose, a closed list, and nothing that could ever stand for value."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockstep.chains.evm import BadSignature, recover_address
from lockstep.custody.execution import TRANSPORT_PURPOSES, PayloadRefused, TransportPurpose, verify_transport
from lockstep.custody.execution.transport import TransportKeys

KEYS = TransportKeys(bytes(range(32)))


def part(members: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=")


JWT_INPUT = part({"alg": "EdDSA", "typ": "JWT"}) + b"." + part({"sub": "user"})
SAMPLES: dict[TransportPurpose, bytes] = {
    "audit_checkpoint": b'{"seq":1}',
    "jwt": JWT_INPUT,
    "webhook": b'msg_1.1700000000.{"a":1}',
}


@pytest.mark.parametrize("purpose", TRANSPORT_PURPOSES)
def test_transport__own_purpose__verifies(purpose: TransportPurpose) -> None:
    signature = KEYS.sign(purpose, SAMPLES[purpose])
    assert verify_transport(KEYS.public_key(purpose), purpose, SAMPLES[purpose], signature)
    assert not verify_transport(KEYS.public_key(purpose), purpose, SAMPLES[purpose][:-1], signature)


def test_transport__key_of_another_purpose__does_not_verify() -> None:
    assert len({KEYS.public_key(purpose) for purpose in TRANSPORT_PURPOSES}) == 3
    signature = KEYS.sign("audit_checkpoint", JWT_INPUT)
    assert not verify_transport(KEYS.public_key("jwt"), "jwt", JWT_INPUT, signature)
    assert not verify_transport(KEYS.public_key("audit_checkpoint"), "jwt", JWT_INPUT, signature)


def test_transport__audit_checkpoint__carries_its_prefix() -> None:
    signature = KEYS.sign("audit_checkpoint", b"payload")
    Ed25519PublicKey.from_public_bytes(KEYS.public_key("audit_checkpoint")).verify(
        signature, b"lockstep:transport:v1:audit_checkpoint\npayload"
    )


def test_transport__jwt__is_read_by_a_common_library() -> None:
    token = JWT_INPUT + b"." + base64.urlsafe_b64encode(KEYS.sign("jwt", JWT_INPUT)).rstrip(b"=")
    key = Ed25519PublicKey.from_public_bytes(KEYS.public_key("jwt"))
    assert jwt.decode(token, key=key, algorithms=["EdDSA"]) == {"sub": "user"}


@pytest.mark.parametrize("purpose", TRANSPORT_PURPOSES)
def test_transport__as_a_value_signature__never_verifies(purpose: TransportPurpose) -> None:
    # A value signature has 65 bytes r‖s‖v on another curve; a transport signature with any v appended recovers to
    # nobody, or to an address without a known key, and never to one of a wallet.
    signature = KEYS.sign(purpose, SAMPLES[purpose])
    assert len(signature) == 64
    with pytest.raises(BadSignature):
        recover_address(bytes(32), signature)


@pytest.mark.parametrize(
    ("purpose", "payload"),
    [
        ("value", b"x"),
        ("", b"x"),
        ("jwt", b"\x02\xf8\x6b"),
        ("jwt", part({"alg": "none"}) + b".e30"),
        ("jwt", part({"alg": "HS256"}) + b".e30"),
        ("jwt", part(["EdDSA"]) + b".e30"),
        ("jwt", JWT_INPUT + b".x"),
        ("webhook", b"no timestamp"),
        ("audit_checkpoint", bytes(64 * 1024 + 1)),
    ],
)
def test_transport__other_purposes_and_shapes__are_refused(purpose: TransportPurpose, payload: bytes) -> None:
    with pytest.raises(PayloadRefused):
        KEYS.sign(purpose, payload)


def test_transport_public_key__unknown_purpose__is_refused() -> None:
    with pytest.raises(PayloadRefused):
        KEYS.public_key("value")  # type: ignore[arg-type]  # wrong on purpose
