"""The recovery share: encrypted to a public key whose private key stays off line.

    "CSR1" | 16-byte id of the public key | HPKE message (RFC 9180: X25519, HKDF-SHA256, AES-256-GCM, base mode)

The place of the share is bound as HPKE's `info`. The signer only seals; opening is the operator's, with the private key.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from lockstep.custody.execution.envelope import SealContext, associated_data
from lockstep.custody.execution.errors import KeyFileInvalid, SealBroken
from lockstep.custody.execution.kms import create_key_file
from lockstep.custody.execution.shamir import Share
from lockstep.custody.execution.shares import SealedShare, decode_sealed
from lockstep.custody.execution.types import WalletKey

MAGIC = b"CSR1"
_ID_BYTES = 16
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_HEX = re.compile(r"[0-9a-fA-F]{64}\n?")


def read_recovery_key(path: Path) -> X25519PublicKey:
    """The public key of a file with 64 hex digits. It is no secret, but who can change the file can take the shares.

    Raises:
        KeyFileInvalid: missing, something else in it, or writable by group or others.
    """
    try:
        content, mode = path.read_text("ascii"), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileInvalid(f"the recovery public key {path} cannot be read") from error
    if mode & 0o022:
        raise KeyFileInvalid(f"{path} must be writable by its owner only")
    if not _HEX.fullmatch(content):
        raise KeyFileInvalid(f"{path} must hold exactly 64 hex digits (an X25519 public key)")
    return X25519PublicKey.from_public_bytes(bytes.fromhex(content.strip()))


def create_recovery_key(private_file: Path, public_file: Path) -> None:
    """Make a recovery key pair as two new files; the private one (mode 0600) is to be kept off line.

    Raises:
        FileExistsError: there is a file already; a key is never overwritten.
    """
    private = X25519PrivateKey.generate()
    create_key_file(private_file, private.private_bytes_raw())
    create_key_file(public_file, private.public_key().public_bytes_raw())


def seal_recovery_share(recipient: X25519PublicKey, share: Share, key: WalletKey) -> bytes:
    """Encrypt a recovery share for its row."""
    blank = SealedShare(
        kind="recovery",
        set_id=share.set_id,
        index=share.index,
        threshold=share.threshold,
        total=share.total,
        sealed=b"",
    )
    key_id = _key_id(recipient)
    message = _SUITE.encrypt(bytes(share.value), recipient, _info(blank.context(key), key_id))
    return blank.encode() + MAGIC + key_id + message


def open_recovery_share(private: X25519PrivateKey, content: bytes, key: WalletKey) -> Share:
    """Open a recovery share with the operator's private key.

    Raises:
        SealBroken: sealed to another key or for another wallet, or edited bytes.
    """
    sealed = decode_sealed(content, "recovery")
    key_id = _key_id(private.public_key())
    if sealed.sealed[: len(MAGIC) + _ID_BYTES] != MAGIC + key_id:
        raise SealBroken("the recovery share is sealed to another recovery key")
    try:
        value = _SUITE.decrypt(sealed.sealed[len(MAGIC) + _ID_BYTES :], private, _info(sealed.context(key), key_id))
    except (InvalidTag, ValueError) as error:
        raise SealBroken("the recovery share was moved or edited") from error
    return sealed.with_value(bytearray(value))


def _info(context: SealContext, key_id: bytes) -> bytes:
    return b"lockstep:recovery-share:v1\n" + associated_data(context, "HPKE-X25519-AES-256-GCM", key_id.hex())


def _key_id(public: X25519PublicKey) -> bytes:
    return hashlib.sha256(public.public_bytes_raw()).digest()[:_ID_BYTES]
