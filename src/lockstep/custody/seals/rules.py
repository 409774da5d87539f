"""The code of a seal, and what its absence or its age means. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from lockstep.kit.canonical import canonical


class Kind(StrEnum):
    """What is sealed."""

    APP = "app"
    APP_ACCESS = "app_access"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    USER = "user"
    ADMIN = "admin"
    LOGIN = "login"
    WALLET = "wallet"
    SESSION = "session"
    SESSION_TOKEN = "session_token"  # noqa: S105 - the name of a kind
    POLICY = "policy"
    POLICY_DOCUMENT = "policy_document"
    AUTHORIZATION_KEY = "authorization_key"
    KEY_QUORUM = "key_quorum"
    ACCOUNT = "account"
    CONDITION_SET = "condition_set"
    APPROVAL = "approval"
    KILL_SWITCH = "kill_switch"


Member: TypeAlias = "str | bool | tuple[Member, ...] | None"
Content: TypeAlias = tuple[Member, ...]
"""What carries authority in a row, in a fixed order; numbers and times as text, so that nothing is rounded."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal as its row has it."""

    revision: int
    code: bytes


def seal_code(key: bytes, kind: str, subject: str, revision: int, content: Content) -> bytes:
    """HMAC-SHA256, 32 bytes; another kind, id, revision or content has another one."""
    text = canonical([str(kind), subject, str(revision), _plain(content)])
    return hmac.new(key, b"lockstep seal v1\n" + text, hashlib.sha256).digest()


def refuse_age(kind: Kind, revision: int | None, anchored: int | None) -> str | None:
    """Why a row of this revision (None: it has no seal) is not believed, though its code may be right; None: it is.

    Args:
        anchored: the newest revision that was noted outside the database; None: none was.
    """
    if revision is None:
        # A kill switch that was never touched has no row; everything else is sealed when it is made.
        never_touched = kind is Kind.KILL_SWITCH and anchored is None
        return None if never_touched else "has no seal"
    if anchored is not None and revision < anchored:
        return f"is at revision {revision} and was at {anchored}"
    return None


def _plain(content: Sequence[Member]) -> list[object]:
    return [_plain(member) if isinstance(member, tuple) else member for member in content]
