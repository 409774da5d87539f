"""The development keys and addresses of a devnet: every file 0600, made once, in one folder."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lockstep.app.devnet.machine import prepare_folder, secret_in, write_private

_SOCKET_PATH_LIMIT = 100
"""A Unix socket's path must fit into 108 bytes; a little room for a suffix."""


@dataclass(frozen=True, slots=True)
class DevnetKeys:
    """Where the secrets of one devnet are; `create` makes those that are missing."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> DevnetKeys:
        """Make what is missing; what exists is never overwritten."""
        keys = cls(prepare_folder(folder))
        for path in (keys.auth_shares, keys.exec_shares, keys.authorization, keys.transport_seed, keys.audit):
            if not path.exists():
                write_private(path, secrets.token_hex(32) + "\n")
        if not keys.recovery_public.exists():
            keys._make_recovery_pair()
        return keys

    @property
    def auth_shares(self) -> Path:
        return self.folder / "auth-shares.key"

    @property
    def exec_shares(self) -> Path:
        return self.folder / "exec-shares.key"

    @property
    def authorization(self) -> Path:
        return self.folder / "authorization.key"

    @property
    def transport_seed(self) -> Path:
        return self.folder / "transport-seed.key"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.key"

    @property
    def recovery_private(self) -> Path:
        return self.folder / "recovery-private.key"

    @property
    def recovery_public(self) -> Path:
        return self.folder / "recovery-public.key"

    def password(self, login: str) -> str:
        """The password of a database login."""
        return secret_in(self.folder / f"password-{login}")

    def mnemonic(self, chain_id: int) -> str:
        """The words behind the funded accounts of a chain: each chain has its own, so that nothing stands at the same
        address on two chains by accident."""
        path = self.folder / f"mnemonic-{chain_id}"
        if not path.exists():
            from eth_account.hdaccount.mnemonic import Mnemonic

            write_private(path, Mnemonic().generate(12) + "\n")
        return path.read_text().strip()

    def write_url(self, name: str, url: str) -> Path:
        """Keep an address that carries a password in a file of its own; returns the file."""
        path = self.folder / f"{name}.url"
        write_private(path, url + "\n")
        return path

    def _make_recovery_pair(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        pair = X25519PrivateKey.generate()
        write_private(self.recovery_private, pair.private_bytes_raw().hex() + "\n")
        write_private(self.recovery_public, pair.public_key().public_bytes_raw().hex() + "\n")


def socket_path(folder: Path) -> Path:
    """Where the signer listens: in the folder, or in a short one of our own when that path would be too long."""
    path = folder / "signer.sock"
    if len(bytes(path)) <= _SOCKET_PATH_LIMIT:
        return path
    short = hashlib.sha256(bytes(folder)).hexdigest()[:12]
    return prepare_folder(Path(tempfile.gettempdir()) / f"lockstep-{short}") / "signer.sock"
