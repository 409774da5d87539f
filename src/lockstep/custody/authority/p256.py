"""P-256 as authorization keys use it: public keys in the forms that people have, signatures read strictly. Pure.

A signature is raw (64 bytes, r ‖ s) or DER, decided by its length alone. ECDSA has a second signature (r, n - s) for
each: both hold, so nothing here or above takes a signature for the name of a request.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from lockstep.custody.authority.errors import PublicKeyInvalid, SignatureMalformed

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_POINT_BYTES: Final = 65
_RAW_BYTES: Final = 64
_MAX_DER_BYTES: Final = 72
_HEX_POINT = re.compile(r"(0x)?04[0-9a-fA-F]{128}")
_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))


def parse_public_key(text: str) -> bytes:
    """A public key as DER of SubjectPublicKeyInfo with the uncompressed point: one form for every key.

    Args:
        text: PEM, base64 of that DER, or the uncompressed point (65 bytes) in base64 or hex.

    Raises:
        PublicKeyInvalid: none of these, another curve, or a point that is not on it.
    """
    text = text.strip()
    try:
        if text.startswith("-----"):
            key = load_pem_public_key(text.encode("ascii"))
        elif _HEX_POINT.fullmatch(text):
            key = _from_point(bytes.fromhex(text.removeprefix("0x")))
        else:
            raw = base64.b64decode(text, validate=True)
            key = _from_point(raw) if len(raw) == _POINT_BYTES else load_der_public_key(raw)
    except (ValueError, TypeError, binascii.Error, UnicodeEncodeError) as error:
        raise PublicKeyInvalid("expected PEM, base64 of SubjectPublicKeyInfo, or the point 04‖X‖Y") from error
    except Exception as error:  # the library's own error for algorithms that it does not know
        raise PublicKeyInvalid("expected a key on the curve P-256") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PublicKeyInvalid("expected a key on the curve P-256")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def to_pem(public_key: bytes) -> str:
    """The PEM form of a stored key."""
    return _load(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def parse_signature(signature: bytes) -> tuple[int, int]:
    """r and s of a raw or a DER signature, each in 1..n-1.

    Raises:
        SignatureMalformed: another length, DER that is not the one form of these numbers, or numbers out of range.
    """
    if len(signature) == _RAW_BYTES:
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    else:
        r, s = _parse_der(signature)
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise SignatureMalformed("expected r and s between 1 and the order of the curve")
    return r, s


def is_signed_by(public_key: bytes, digest: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature of this key over a SHA-256 digest."""
    try:
        _load(public_key).verify(encode_dss_signature(r, s), digest, _SHA256)
    except InvalidSignature:
        return False
    return True


def _from_point(point: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


@lru_cache(maxsize=4_096)
def _load(public_key: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey), "stored keys were parsed"
    return key


def _parse_der(signature: bytes) -> tuple[int, int]:
    """SEQUENCE of two INTEGERs, each length in its shortest form and nothing behind."""
    if not 8 <= len(signature) <= _MAX_DER_BYTES or signature[0] != 0x30 or signature[1] != len(signature) - 2:
        raise SignatureMalformed("expected 64 bytes r‖s, or DER of both")
    r, rest = _parse_integer(signature[2:])
    s, rest = _parse_integer(rest)
    if rest:
        raise SignatureMalformed("there are bytes behind the DER of the signature")
    return r, s


def _parse_integer(data: bytes) -> tuple[int, bytes]:
    if len(data) < 3 or data[0] != 0x02 or not 1 <= data[1] <= 33 or len(data) < 2 + data[1]:
        raise SignatureMalformed("expected DER of an integer")
    number, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    if number[0] & 0x80:
        raise SignatureMalformed("an integer of the signature is negative")
    if len(number) > 1 and number[0] == 0 and not number[1] & 0x80:
        raise SignatureMalformed("an integer of the signature is not in its shortest form")
    return int.from_bytes(number), rest
