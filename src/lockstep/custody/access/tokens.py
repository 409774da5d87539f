"""User tokens: a JWT of an issuer that the app trusts, checked by the issuer's public keys.

Only RS256, ES256 and EdDSA; a token chooses the key of its issuer, never the algorithm of a key. Times are compared
with the injected clock. Knows no table.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from lockstep.custody.access.types import Issuer
from lockstep.custody.errors import IssuerInvalid, IssuerUnavailable, TokenExpired, TokenInvalid
from lockstep.kit.clock import Clock

LEEWAY: Final = timedelta(seconds=30)
MAX_TOKEN: Final = 8_192
MAX_KEYS: Final = 50
MAX_KEY_SET: Final = 256 * 1024
KEYS_FRESH: Final = timedelta(minutes=5)
KEYS_RETRY: Final = timedelta(seconds=10)
_KEY_TYPES: Final = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
_PRIVATE_MEMBERS: Final = {"d", "p", "q", "dp", "dq", "qi", "k"}

OURS: Final = "urn:lockstep:"
"""Begins the issuers of users that this deployment vouches for itself: a foreign one must never name them."""

KeySet = Mapping[str, jwt.PyJWK]


class TokenVerifier:
    """Checks tokens; remembers the key sets of issuers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, tuple[datetime, list[jwt.PyJWK]]] = {}
        self._failed: dict[str, datetime] = {}
        """When key sets could not be read; a token may name any key, and must not make us try for each."""
        self._locks: dict[str, asyncio.Lock] = {}

    async def verify(self, token: str, issuers: tuple[Issuer, ...]) -> tuple[Issuer, str, datetime]:
        """Check a token; returns its issuer, its subject and when it expires.

        Raises:
            TokenInvalid: malformed, another issuer, audience, algorithm or key, or not valid yet.
            TokenExpired: it has expired.
            IssuerUnavailable: the issuer's keys cannot be read.
        """
        if len(token) > MAX_TOKEN:
            raise TokenInvalid("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            claimed = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise TokenInvalid("the token is not a JWT") from error
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in _KEY_TYPES:
            raise TokenInvalid("expected a token signed with RS256, ES256 or EdDSA")
        issuer = next((known for known in issuers if known.issuer == claimed.get("iss")), None)
        if issuer is None:
            raise TokenInvalid("the token's issuer is not one of this app")
        key = await self._key(issuer, header.get("kid"), algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise TokenInvalid("the token does not hold for this app") from error
        return issuer, _subject(claims), self._check_times(claims)

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        now = self._clock.now()
        expires_at = _moment(claims["exp"])
        if now >= expires_at + LEEWAY:
            raise TokenExpired
        for name in ("nbf", "iat"):
            if name in claims and _moment(claims[name]) > now + LEEWAY:
                raise TokenInvalid("the token is not valid yet")
        return expires_at + LEEWAY

    async def _key(self, issuer: Issuer, kid: object, algorithm: str) -> jwt.PyJWK:
        for may_be_old in (True, False):
            fitting = [key for key in await self._key_set(issuer, may_be_old) if _fits(key, kid, algorithm)]
            if len(fitting) == 1:
                return fitting[0]
        raise TokenInvalid("no key of the issuer fits this token")

    async def _key_set(self, issuer: Issuer, may_be_old: bool) -> list[jwt.PyJWK]:
        if issuer.jwks is not None:
            # The text is part of the key: an issuer whose keys were changed is another entry.
            place = json.dumps([issuer.issuer, issuer.jwks], sort_keys=True)
        else:
            place = issuer.jwks_url or issuer.jwks_file or ""
        async with self._locks.setdefault(place, asyncio.Lock()):
            now = self._clock.now()
            known, failed_at = self._keys.get(place), self._failed.get(place)
            has_failed = failed_at is not None and now - failed_at < KEYS_RETRY
            fresh = issuer.jwks is not None or (known is not None and now - known[0] < KEYS_FRESH)
            new_enough = may_be_old or issuer.jwks is not None or has_failed
            if known is not None and fresh and (new_enough or now - known[0] < KEYS_RETRY):
                return known[1]
            if has_failed:  # those who wait behind the lock must not each wait for another try
                raise IssuerUnavailable(f"the key set of {issuer.issuer} could not be read a moment ago")
            try:
                keys = parse_key_set(issuer.jwks if issuer.jwks is not None else await _read_key_set(issuer))
            except IssuerInvalid as error:
                self._failed[place] = now
                raise IssuerUnavailable(f"the key set of {issuer.issuer} does not hold: {error.detail}") from error
            except IssuerUnavailable:
                self._failed[place] = now
                raise
            self._failed.pop(place, None)
            if len(self._keys) >= 1_000:
                self._keys.pop(next(iter(self._keys)))
            self._keys[place] = (now, keys)
            return keys


def check_issuer(issuer: Issuer) -> None:
    """Refuse an issuer that could not work or would be unsafe.

    Raises:
        IssuerInvalid: no or several sources of keys, a key set that does not hold, or an address that is not https.
    """
    if not 0 < len(issuer.issuer) <= 255 or not 0 < len(issuer.audience) <= 255:
        raise IssuerInvalid("issuer and audience have 1 to 255 characters")
    if issuer.issuer.startswith(OURS):
        raise IssuerInvalid(f"{OURS} stands for issuers of Lockstep's own")
    sources = [source for source in (issuer.jwks, issuer.jwks_url, issuer.jwks_file) if source is not None]
    if len(sources) != 1:
        raise IssuerInvalid(
            f"expected exactly one of jwks and jwks_url for {issuer.issuer}, was {len(sources)};"
            " none will do only for an issuer and audience that stand in the deployment's settings"
        )
    if issuer.jwks is not None:
        parse_key_set(issuer.jwks)
    if issuer.jwks_url is not None:
        _check_url(issuer.jwks_url)


def parse_key_set(document: object) -> list[jwt.PyJWK]:
    """The usable keys of a JWKS document.

    Raises:
        IssuerInvalid: not a key set, no usable key, a private key, or an RSA key below 2048 bits.
    """
    members = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(members, list) or not 0 < len(members) <= MAX_KEYS:
        raise IssuerInvalid(f'expected a key set: {{"keys": [...]}} with 1 to {MAX_KEYS} keys')
    keys = []
    for member in members:
        if not isinstance(member, Mapping):
            raise IssuerInvalid("a key of the set is not an object")
        if _PRIVATE_MEMBERS & member.keys():
            raise IssuerInvalid("the key set holds a private or symmetric key")
        algorithm = _algorithm(member)
        if algorithm is None or member.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(dict(member), algorithm)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise IssuerInvalid("a key of the set cannot be read") from error
        if isinstance(key.key, RSAPublicKey) and key.key.key_size < 2048:
            raise IssuerInvalid("an RSA key has at least 2048 bits")
        keys.append(key)
    if not keys:
        raise IssuerInvalid("the key set has no key for RS256, ES256 or EdDSA")
    return keys


def _algorithm(member: Mapping[str, Any]) -> str | None:
    """The one algorithm that we use a key with; what the key itself names must agree."""
    for algorithm, (kind, curve) in _KEY_TYPES.items():
        if member.get("kty") == kind and curve in (None, member.get("crv")):
            return algorithm if member.get("alg", algorithm) == algorithm else None
    return None


def _fits(key: jwt.PyJWK, kid: object, algorithm: str) -> bool:
    return key.algorithm_name == algorithm and (kid is None or key.key_id == kid)


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or "\x00" in subject:
        raise TokenInvalid("expected a subject of 1 to 255 characters")
    return subject


def _moment(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise TokenInvalid("a time of the token is not a number of seconds")
    return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(seconds=value)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise IssuerInvalid("jwks_url is not a URL") from error
    loopback = host in ("127.0.0.1", "::1", "localhost")
    if len(url) > 500 or not host or parts.username is not None:
        raise IssuerInvalid("jwks_url is not a plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise IssuerInvalid("expected jwks_url with https, or with http on the loopback interface")


async def _read_key_set(issuer: Issuer) -> object:
    try:
        if issuer.jwks_file is not None:
            return json.loads(await asyncio.to_thread(Path(issuer.jwks_file).read_bytes))
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(issuer.jwks_url or "", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise IssuerUnavailable(f"the key set of {issuer.issuer} answered with status {answer.status}")
            content = bytearray()
            async for chunk in answer.content.iter_chunked(16_384):
                content += chunk
                if len(content) > MAX_KEY_SET:
                    raise IssuerUnavailable(f"the key set of {issuer.issuer} has more than {MAX_KEY_SET} bytes")
            return json.loads(content)
    except (OSError, TimeoutError, ValueError, aiohttp.ClientError) as error:
        raise IssuerUnavailable(f"the key set of {issuer.issuer} cannot be read") from error
