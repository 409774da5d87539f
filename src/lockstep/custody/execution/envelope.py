"""Sealed bytes: AES-256-GCM under a fresh data key, which a provider wraps; both bound to their place.

    "CSE1" | u8 alg (1 = AES-256-GCM) | u8 kek type (1 = local)
    u16 length, kek id | u32 kek version | u16 length, wrapped data key | 12-byte nonce | ciphertext and 16-byte tag

The place (of a share: app, wallet, address, kind, set, index, threshold, total; of a secret: order and fill), the
algorithm and the key id are the associated data, as RFC 8785 JSON: what is moved to another row does not open. The
version of the key is bound to the wrapped data key only, so that rotation wraps the data key anew and leaves the sealed
bytes as they are.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockstep.custody.execution.errors import SealBroken
from lockstep.custody.execution.kms import KEY_BYTES, KEY_ID, NONCE_BYTES, Provider
from lockstep.kit.canonical import canonical_json

ShareKind = Literal["auth", "exec", "recovery"]

MAGIC = b"CSE1"
ALG_AES_256_GCM = 1
TAG_BYTES = 16
MAX_PLAINTEXT = 4096
MAX_WRAPPED_KEY = 1024
_HEAD = struct.Struct(">4sBBH")


class Place(Hashable, Protocol):
    """The one place where sealed bytes are valid."""

    def members(self) -> dict[str, str | int]:
        """What names it. No two kinds of places have the same members."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SealContext:
    """The place of a share."""

    app_id: str
    wallet_id: str
    address: str
    share: ShareKind
    set_id: bytes
    index: int
    threshold: int
    total: int

    def members(self) -> dict[str, str | int]:
        return {
            "app": self.app_id,
            "wallet": self.wallet_id,
            "address": self.address,
            "share": self.share,
            "set": self.set_id.hex(),
            "index": self.index,
            "t": self.threshold,
            "n": self.total,
        }


@lru_cache(maxsize=8192)
def associated_data(place: Place, alg: str, key_id: str) -> bytes:
    """Version 1 of the associated data, as RFC 8785 JSON."""
    return canonical_json({"v": 1, **place.members(), "alg": alg, "kek": key_id})


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The parts of sealed bytes."""

    alg: int
    kek_type: int
    kek_id: str
    kek_version: int
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes

    def encode(self) -> bytes:
        """The bytes that are stored."""
        key_id = self.kek_id.encode()
        return b"".join(
            (
                _HEAD.pack(MAGIC, self.alg, self.kek_type, len(key_id)),
                key_id,
                self.kek_version.to_bytes(4, "big"),
                len(self.wrapped_key).to_bytes(2, "big"),
                self.wrapped_key,
                self.nonce,
                self.ciphertext,
            )
        )


@lru_cache(maxsize=8192)
def decode_envelope(content: bytes) -> Envelope:
    """Read an envelope; does not open it.

    Raises:
        SealBroken: another magic or algorithm, a key id that is none, or parts that do not fill the bytes.
    """
    try:
        magic, alg, kek_type, id_length = _HEAD.unpack_from(content)
        at = _HEAD.size + id_length
        kek_id = content[_HEAD.size : at].decode("ascii")
        version, key_length = struct.unpack_from(">IH", content, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise SealBroken("the envelope is cut off or is none") from error
    wrapped_end = at + 6 + key_length
    nonce_end = wrapped_end + NONCE_BYTES
    ciphertext = content[nonce_end:]
    if magic != MAGIC or alg != ALG_AES_256_GCM:
        raise SealBroken("expected an envelope CSE1 with AES-256-GCM")
    if not KEY_ID.fullmatch(kek_id) or version == 0 or not 0 < key_length <= MAX_WRAPPED_KEY:
        raise SealBroken("the envelope names no key that there can be")
    if not TAG_BYTES < len(ciphertext) <= MAX_PLAINTEXT + TAG_BYTES:
        raise SealBroken("the envelope is cut off or too long")
    return Envelope(
        alg=alg,
        kek_type=kek_type,
        kek_id=kek_id,
        kek_version=version,
        wrapped_key=content[at + 6 : wrapped_end],
        nonce=content[wrapped_end:nonce_end],
        ciphertext=ciphertext,
    )


def seal(provider: Provider, plaintext: bytes | bytearray, place: Place) -> bytes:
    """Seal bytes for one place under a fresh data key; returns the encoded envelope.

    Raises:
        ValueError: nothing, or more than 4,096 bytes.
    """
    if not 0 < len(plaintext) <= MAX_PLAINTEXT:
        raise ValueError(f"expected 1 to {MAX_PLAINTEXT} bytes to seal, was {len(plaintext)}")
    aad = associated_data(place, "AES-256-GCM", provider.key_id)
    data_key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    return Envelope(
        alg=ALG_AES_256_GCM,
        kek_type=provider.kind,
        kek_id=provider.key_id,
        kek_version=provider.key_version,
        wrapped_key=provider.wrap(data_key, aad),
        nonce=nonce,
        ciphertext=AESGCM(data_key).encrypt(nonce, plaintext, aad),
    ).encode()


def open_envelope(provider: Provider, envelope: Envelope, place: Place) -> bytearray:
    """Open an envelope at its place. The caller wipes what it gets.

    Raises:
        SealBroken: another key, another place, or edited bytes.
    """
    if envelope.kek_type != provider.kind or envelope.kek_id != provider.key_id:
        raise SealBroken(f"the envelope is sealed with another key than {provider.key_id}")
    aad = associated_data(place, "AES-256-GCM", provider.key_id)
    data_key = provider.unwrap(envelope.wrapped_key, envelope.kek_version, aad)
    if len(data_key) != KEY_BYTES:
        raise SealBroken(f"expected a data key of {KEY_BYTES} bytes, was {len(data_key)}")
    plaintext = bytearray(len(envelope.ciphertext) - TAG_BYTES)
    try:
        AESGCM(data_key).decrypt_into(envelope.nonce, envelope.ciphertext, aad, plaintext)
    except InvalidTag as error:
        raise SealBroken("the sealed bytes were moved or edited") from error
    return plaintext
