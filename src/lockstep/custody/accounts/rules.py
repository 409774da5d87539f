"""What a name and a password must be, and how long to wait after failures. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import pairwise
from typing import Final, Literal

from lockstep.custody.errors import AccountNameInvalid, PasswordTooWeak

AttemptKind = Literal["name", "address", "registration"]
FREE_ATTEMPTS: Final[dict[AttemptKind, int]] = {"name": 5, "address": 30, "registration": 20}
"""Attempts in a row without a pause. An address may stand for a whole office."""
LONGEST_BLOCK: Final = timedelta(minutes=15)
MIN_PASSWORD, MAX_PASSWORD = 12, 256
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{3,254}")
_WORDS: Final = """
    password passwort passw0rd p@ssword p@ssw0rd letmein iloveyou welcome admin administrator qwerty qwertz azerty
    qwertyuiop qwertyuiopasdfghjkl asdfghjkl zxcvbnm 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qaz2wsx3edc q1w2e3r4t5 abc abcd
    abcdefgh monkey dragon football baseball sunshine princess superman batman trustno1 master shadow michael jennifer
    starwars whatever changeme secret default test testing login access hello computer internet google lockstep wallet
    bitcoin ethereum crypto
"""
_STEMS: Final = frozenset(_WORDS.split())
"""What the commonest passwords are made of: one of these words, alone, repeated, or with digits and signs around it."""
_SIGNS: Final = "!?.,;:#$%&*+-_=@ "
_TRIMMINGS: Final = "0123456789" + _SIGNS


def normal_name(name: str) -> str:
    """The one form of an account's name: compatibility forms and case folded.

    Raises:
        AccountNameInvalid: not 3 to 254 visible characters without spaces.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    if not _NAME.fullmatch(folded) or not folded.isprintable():
        raise AccountNameInvalid
    return folded


def normal_password(password: str) -> bytes:
    """The bytes of a password, the same on every keyboard (NFC, as RFC 8265 asks)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def check_password(password: str, name: str) -> None:
    """Refuse a password that is guessed among the first.

    Raises:
        PasswordTooWeak: too short or long, the name, one of the commonest, or a pattern of the keyboard or of few characters.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise PasswordTooWeak(f"expected {MIN_PASSWORD} to {MAX_PASSWORD} characters, was {len(password)}")
    folded = password.casefold()
    if folded.strip(_TRIMMINGS) in {"", name.casefold(), name.casefold().partition("@")[0]}:
        raise PasswordTooWeak("expected something else than digits, or the name with something around it")
    if len(set(folded)) < 5:
        raise PasswordTooWeak("expected at least 5 different characters")
    if _is_common(folded) or _is_run(folded):
        raise PasswordTooWeak("this is one of the first passwords that anybody would try")


def network_of(address: str) -> str:
    """Who an address stands for when attempts are counted: one host of IPv4, or the /64 of IPv6 that a single customer has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)


def block_after(kind: AttemptKind, attempts: int) -> timedelta | None:
    """How long nothing is tried after so many attempts without success; None: the next one may come at once."""
    over = attempts - FREE_ATTEMPTS[kind]
    if over < 0:
        return None
    return min(LONGEST_BLOCK, timedelta(seconds=2 ** min(over + 1, 20)))


def _is_common(folded: str) -> bool:
    """Whether it is one of the common words, repeated or not, with digits and signs around it."""
    for piece in (folded, folded.strip(_SIGNS), folded.strip(_TRIMMINGS)):
        for length in range(3, len(piece) + 1):
            if (
                len(piece) % length == 0
                and piece == piece[:length] * (len(piece) // length)
                and piece[:length] in _STEMS
            ):
                return True
    return False


def _is_run(folded: str) -> bool:
    """Whether each character follows its neighbour: 123456789012, abcdefghijkl, or backwards."""
    steps = {(ord(after) - ord(before)) for before, after in pairwise(folded)}
    return steps <= {1, -9} or steps <= {-1, 9}
