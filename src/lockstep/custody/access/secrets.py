"""The text of secrets and tokens: 256 random bits behind a prefix that says what it is, stored as a hash.

Because a secret is random and long, a plain SHA-256 gives nothing away; a slow password hash would only cost time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

SecretKind = Literal["app", "admin"]
SESSION: Final = "lss_"
WALLET_LOGIN: Final = "lsx_"
ACCESS: Final = "lsu_"
REFRESH: Final = "lsr_"

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_SECRET = re.compile(r"ls_(app|admin)_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_TOKEN = re.compile(r"(lss_|lsx_|lsu_|lsr_)[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A fresh secret: its text is shown once, the rest is stored."""

    text: str = field(repr=False)
    prefix: str
    hash: bytes


def new_secret(kind: SecretKind) -> Secret:
    """A secret with a visible prefix, ``ls_app_<8>_<43>``."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    text = f"ls_{kind}_{prefix}_{secrets.token_urlsafe(32)}"
    return Secret(text, prefix, hash_secret(text))


def new_token(kind: str) -> tuple[str, bytes]:
    """A bearer token of a kind (`SESSION`, `WALLET_LOGIN`, `ACCESS`, `REFRESH`) and its hash, by which it is found."""
    text = kind + secrets.token_urlsafe(32)
    return text, hash_secret(text)


def prefix_of(kind: SecretKind, text: str) -> str | None:
    """The visible part of a secret of this kind; None when the text is none."""
    found = _SECRET.fullmatch(text)
    return found.group(2) if found is not None and found.group(1) == kind else None


def is_token(kind: str, text: str) -> bool:
    return text.startswith(kind) and _TOKEN.fullmatch(text) is not None


def hash_secret(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
