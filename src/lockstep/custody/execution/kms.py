"""Key-encryption keys: the provider that wraps data keys, and the local one, whose key is a file.

A key file holds exactly 32 bytes as 64 hex digits and belongs to its reader alone. What the file holds is never used
itself: every purpose derives its own key by HKDF. Does not know what the wrapped keys open.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockstep.custody.execution.errors import KeyFileInvalid, SameKeyForBothShares, SealBroken

KEY_BYTES = 32
NONCE_BYTES = 12
KEK_LOCAL = 1
KEY_ID = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,63}")
_HEX = re.compile(rb"[0-9a-fA-F]{64}\n?")


class Provider(Protocol):
    """Wraps data keys under a key that never leaves the provider."""

    @property
    def kind(self) -> int:
        """Number of the kind of provider in an envelope."""

    @property
    def key_id(self) -> str: ...

    @property
    def key_version(self) -> int:
        """Version that new data keys are wrapped with."""

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that are equal exactly when the key is; says nothing else about it."""

    def wrap(self, data_key: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, version: int, aad: bytes) -> bytes:
        """
        Raises:
            SealBroken: another key or version, other associated data, or edited bytes.
        """


def derive_key(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose out of 32 uniform bytes (HKDF-SHA256, RFC 5869, no salt)."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"lockstep:{purpose}".encode()).derive(key)


class LocalKms:
    """A provider whose keys are in this process's memory.

    Data keys are wrapped by AES-256-GCM with a random nonce; one key may wrap 2^32 of them (NIST SP 800-38D 8.3).
    """

    kind = KEK_LOCAL

    def __init__(self, keys: dict[int, bytes], *, key_id: str, version: int | None = None) -> None:
        """
        Args:
            keys: 32 bytes each, by version.
            version: the one for new data keys; default: the highest.
        """
        if not KEY_ID.fullmatch(key_id):
            raise KeyFileInvalid("expected a key id of at most 64 lower-case letters, digits and . _ : / -")
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise KeyFileInvalid(f"expected keys of {KEY_BYTES} bytes")
        self.key_id = key_id
        self.key_version = max(keys) if version is None else version
        if self.key_version not in keys or not all(0 < number < 2**32 for number in keys):
            raise KeyFileInvalid("expected key versions of at least 1, the current one among them")
        self._ciphers = {number: AESGCM(derive_key(key, "kek:wrap:v1")) for number, key in keys.items()}
        self.fingerprints = frozenset(derive_key(key, "kek:fingerprint:v1", 16) for key in keys.values())
        """Of every version: none of them may be among those of the other side."""
        self.fingerprint = derive_key(keys[self.key_version], "kek:fingerprint:v1", 16)

    @classmethod
    def from_file(cls, path: Path, *, key_id: str, version: int = 1) -> LocalKms:
        """
        Raises:
            KeyFileInvalid: see `read_key_file`.
        """
        return cls({version: read_key_file(path)}, key_id=key_id)

    def wrap(self, data_key: bytes, aad: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[self.key_version].encrypt(nonce, data_key, self._bind(self.key_version, aad))

    def unwrap(self, wrapped: bytes, version: int, aad: bytes) -> bytes:
        cipher = self._ciphers.get(version)
        if cipher is None:
            raise SealBroken(f"key {self.key_id} has no version {version} here")
        try:
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], self._bind(version, aad))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"key {self.key_id} version {version} does not open this data key") from error

    def _bind(self, version: int, aad: bytes) -> bytes:
        return b"lockstep:data-key:v1\n%d\n%s\n%s" % (version, self.key_id.encode(), aad)


def read_key_file(path: Path) -> bytes:
    """The 32 bytes of a key file.

    Raises:
        KeyFileInvalid: missing, no regular file, readable or writable by group or others, or not exactly 64 hex digits.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not make us wait
    except OSError as error:
        raise KeyFileInvalid(f"the key file {path} cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileInvalid(f"{path} is not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyFileInvalid(f"{path} must be for its owner only (mode 0600), was {mode:04o}")
        content = os.read(descriptor, 80)
    finally:
        os.close(descriptor)
    if not _HEX.fullmatch(content):
        raise KeyFileInvalid(f"{path} must hold exactly 64 hex digits (32 bytes)")
    return bytes.fromhex(content.decode().strip())


def create_key_file(path: Path, key: bytes | None = None) -> None:
    """Write a key (fresh by default) into a new file of mode 0600.

    Raises:
        FileExistsError: there is a file already; a key is never overwritten.
    """
    content = (secrets.token_bytes(KEY_BYTES) if key is None else key).hex() + "\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def refuse_same_key(auth: Provider | LocalKms, exec_fingerprint: bytes) -> None:
    """Check that the key of the auth shares is not the key of the exec shares.

    Raises:
        SameKeyForBothShares: they are the same, so that one stolen file would open both shares.
    """
    known = auth.fingerprints if isinstance(auth, LocalKms) else frozenset({auth.fingerprint})
    if exec_fingerprint in known:
        raise SameKeyForBothShares(
            "the key files of the auth shares and of the exec shares must hold different keys, but hold the same one"
        )
