"""Public keys in every form, and signatures that only look like one (after the cases of Project Wycheproof)."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.support.keys import ORDER, Key, raw

from lockstep.custody.authority.errors import PublicKeyInvalid, SignatureMalformed
from lockstep.custody.authority.p256 import is_signed_by, parse_public_key, parse_signature, to_pem

KEY, OTHER = Key(7), Key(8)
DIGEST = hashlib.sha256(b"message").digest()

# RFC 6979, appendix A.2.5: P-256, SHA-256, message "sample".
RFC_6979_KEY = Key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
RFC_6979_SIGNATURE = bytes.fromhex(
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
)


@pytest.mark.parametrize(
    "text",
    [
        KEY.pem,
        "\n" + KEY.pem.strip() + "\n",
        base64.b64encode(KEY.spki).decode(),
        base64.b64encode(KEY.point).decode(),
        KEY.point.hex(),
        "0x" + KEY.point.hex().upper(),
    ],
)
def test_parse_public_key__every_form_of_one_key__is_the_same(text: str) -> None:
    assert parse_public_key(text) == KEY.spki
    assert parse_public_key(to_pem(KEY.spki)) == KEY.spki


def test_parse_public_key__compressed_point_in_der__is_stored_uncompressed() -> None:
    compressed = KEY.public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    header = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    assert parse_public_key(base64.b64encode(header + compressed).decode()) == KEY.spki


def _spki(public: object) -> str:
    return base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    ).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "ä",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        base64.b64encode(b"\x04" + bytes(64)).decode(),
        "04" + "11" * 64,
        base64.b64encode(KEY.point[:-1]).decode(),
        base64.b64encode(KEY.spki + b"\x00").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe" * 40).decode(),
        _spki(ec.generate_private_key(ec.SECP384R1()).public_key()),
        _spki(ec.generate_private_key(ec.SECP256K1()).public_key()),
        _spki(ed25519.Ed25519PrivateKey.generate().public_key()),
        _spki(rsa.generate_private_key(65537, 2048).public_key()),
    ],
    ids=range(13),  # by place: the keys differ with every run
)
def test_parse_public_key__anything_else__is_refused(text: str) -> None:
    with pytest.raises(PublicKeyInvalid):
        parse_public_key(text)


@given(st.text(max_size=200))
def test_parse_public_key__any_text__is_a_key_or_refused(text: str) -> None:
    with pytest.raises(PublicKeyInvalid):
        parse_public_key(text)


def test_is_signed_by__vector_of_rfc_6979__holds() -> None:
    digest = hashlib.sha256(b"sample").digest()
    assert is_signed_by(RFC_6979_KEY.spki, digest, *parse_signature(RFC_6979_SIGNATURE))
    assert not is_signed_by(RFC_6979_KEY.spki, hashlib.sha256(b"test").digest(), *parse_signature(RFC_6979_SIGNATURE))


def test_is_signed_by__der_and_raw__are_the_same_signature() -> None:
    der = KEY.sign_digest(DIGEST)
    assert parse_signature(der) == parse_signature(raw(der))
    assert is_signed_by(KEY.spki, DIGEST, *parse_signature(der))
    assert not is_signed_by(OTHER.spki, DIGEST, *parse_signature(der))


def test_is_signed_by__second_form_of_a_signature__holds_too() -> None:
    """So a table of used signatures would take the same request twice: payloads are what is remembered."""
    r, s = decode_dss_signature(KEY.sign_digest(DIGEST))
    assert is_signed_by(KEY.spki, DIGEST, *parse_signature(encode_dss_signature(r, ORDER - s)))


R, S = decode_dss_signature(KEY.sign_digest(DIGEST))


def der(r: bytes, s: bytes, *, tag: int = 0x30, behind: bytes = b"", extra: int = 0) -> bytes:
    inner = b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(s)]) + s
    return bytes([tag, len(inner) + extra]) + inner + behind


def minimal(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, signed=True)


BAD = {
    "empty": b"",
    "zero r": der(b"\x00", minimal(S)),
    "zero s": der(minimal(R), b"\x00"),
    "r of the order": der(minimal(ORDER), minimal(S)),
    "s of the order": der(minimal(R), minimal(ORDER)),
    "s above the order": der(minimal(R), minimal(S + ORDER)) if S + ORDER < 2**263 else b"",
    "negative r": der((-R).to_bytes(33, signed=True), minimal(S)),
    "leading zero": der(b"\x00" + minimal(R), minimal(S)),
    "no sign byte": der((ORDER - 1).to_bytes(32), minimal(S)),
    "long length": b"\x30\x81" + der(minimal(R), minimal(S))[1:],
    "indefinite length": b"\x30\x80" + der(minimal(R), minimal(S))[2:] + b"\x00\x00",
    "behind": der(minimal(R), minimal(S), behind=b"\x00"),
    "inside": der(minimal(R), minimal(S) + b"", extra=1),
    "third integer": der(minimal(R), minimal(S), behind=b"\x02\x01\x01", extra=3),
    "wrong tag": der(minimal(R), minimal(S), tag=0x31),
    "empty integer": der(b"", minimal(S)),
    "cut": der(minimal(R), minimal(S))[:-1],
    "raw zero": bytes(64),
    "raw order": ORDER.to_bytes(32) * 2,
    "raw short": R.to_bytes(32) + S.to_bytes(32)[:-1],
    "raw long": R.to_bytes(33) + S.to_bytes(33),
}


@pytest.mark.parametrize("name", BAD)
def test_parse_signature__not_the_one_form__is_refused(name: str) -> None:
    with pytest.raises(SignatureMalformed):
        parse_signature(BAD[name])


@given(st.binary(max_size=80))
def test_parse_signature__any_bytes__are_two_numbers_in_range_or_refused(data: bytes) -> None:
    try:
        r, s = parse_signature(data)
    except SignatureMalformed:
        return
    assert 0 < r < ORDER
    assert 0 < s < ORDER
    if len(data) != 64:
        assert encode_dss_signature(r, s) == data


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_parse_signature__any_pair_of_numbers__comes_back(r: int, s: int) -> None:
    data = encode_dss_signature(r, s)
    if len(data) != 64:
        assert parse_signature(data) == (r, s)
    assert parse_signature(r.to_bytes(32) + s.to_bytes(32)) == (r, s)
