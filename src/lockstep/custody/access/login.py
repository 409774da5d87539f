"""The message by which somebody with an own key logs in: EIP-4361, and nothing that could mean anything else.

Pure. The text names the address, the origin it is good for, its purpose, a nonce and an end at most five minutes away;
signed with `personal_sign` it cannot be a transaction or an order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from lockstep.chains.evm import Address, BadAddress, parse_address, to_checksum
from lockstep.custody.errors import LoginInvalid
from lockstep.kit.clock import rfc3339

LOGIN_PURPOSE: Final = "Sign in to trade with your own key. This moves nothing and costs nothing."
MAX_LIFETIME: Final = timedelta(minutes=5)
MAX_SKEW: Final = timedelta(seconds=60)
MAX_BYTES: Final = 2_000

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z"
_MESSAGE = re.compile(
    r"(?P<domain>[A-Za-z0-9.:\[\]-]{1,255}) wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n\n"
    r"(?P<purpose>[^\n]{1,200})\n\n"
    r"URI: (?P<uri>[^\n ]{1,300})\n"
    r"Version: 1\n"
    r"Chain ID: [1-9][0-9]{0,31}\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,64})\n"
    rf"Issued At: (?P<issued_at>{_TIME})\n"
    rf"Expiration Time: (?P<expires_at>{_TIME})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginMessage:
    """What a login message says."""

    address: Address
    nonce: str
    expires_at: datetime


def login_message(*, address: Address, origin: str, chain_id: int, nonce: str, now: datetime) -> str:
    """The text to sign, good for `MAX_LIFETIME`."""
    return (
        f"{urlsplit(origin).netloc} wants you to sign in with your Ethereum account:\n{to_checksum(address)}\n\n"
        f"{LOGIN_PURPOSE}\n\nURI: {origin}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\n"
        f"Issued At: {rfc3339(now)}\nExpiration Time: {rfc3339(now + MAX_LIFETIME)}"
    )


def read_login_message(text: str, origins: tuple[str, ...], now: datetime) -> LoginMessage:
    """Read a message and check everything but the signature and the nonce's freshness.

    Args:
        origins: the public origins of this deployment, ``https://host[:port]``.

    Raises:
        LoginInvalid: another form, origin or purpose, not yet or no longer valid, or valid for too long.
    """
    found = _MESSAGE.fullmatch(text) if len(text) <= MAX_BYTES else None
    if found is None:
        raise LoginInvalid("expected a sign-in message as EIP-4361 lays it out, with its purpose and expiry")
    if found["uri"] not in origins or found["domain"] != urlsplit(found["uri"]).netloc:
        raise LoginInvalid("the message was made for another origin")
    if found["purpose"] != LOGIN_PURPOSE:
        raise LoginInvalid(f'expected the purpose "{LOGIN_PURPOSE}"')
    try:
        address = parse_address(found["address"])
        issued_at = datetime.fromisoformat(found["issued_at"])
        expires_at = datetime.fromisoformat(found["expires_at"])
    except (BadAddress, ValueError) as error:
        raise LoginInvalid("an address or a time of the message does not hold") from error
    if issued_at > now + MAX_SKEW:
        raise LoginInvalid("the message was issued in the future")
    if expires_at <= now:
        raise LoginInvalid("the message has expired")
    if expires_at > now + MAX_LIFETIME + MAX_SKEW or expires_at - issued_at > MAX_LIFETIME:
        raise LoginInvalid("a login message is valid for at most 5 minutes")
    return LoginMessage(address=address, nonce=found["nonce"], expires_at=expires_at)
