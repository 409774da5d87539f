"""Signed requests: what is signed, and how it is read from a request.

    payload   = RFC 8785 of {"version": 1, "method", "url", "body", "headers": {"x-app-id", "idempotency-key",
                "x-request-expiry"}}
    signature = ECDSA P-256 over SHA-256(payload), DER or raw r‖s, in base64

Members are left out where the request has no such header or no body; the body ``{}`` is signed as the empty string. The
URL is the deployment's public origin with the path and query that arrived: no header of a caller has a say in it. The
body is the parsed object that the route is given too, so nothing is read twice and differently.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lockstep.custody.authority.errors import (
    RequestExpired,
    RequestExpiryInvalid,
    RequestExpiryMissing,
    RequestNotSignable,
    SignatureMalformed,
)
from lockstep.custody.authority.p256 import parse_signature
from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.idempotency.service import KEEP
from lockstep.kit.canonical import canonical_json
from lockstep.kit.clock import Clock

MAX_AHEAD: Final = KEEP
"""How far ahead a request may expire: no longer than its idempotency key is remembered, else it could come again."""
MAX_SIGNATURES: Final = 10
SIGNED_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SIGNATURE, KEY_ID, EXPIRY = "x-authorization-signature", "x-authorization-key-id", "x-request-expiry"
SIGNED_HEADERS: Final = ("x-app-id", "idempotency-key", EXPIRY)
_READ: Final = frozenset({SIGNATURE, KEY_ID, *SIGNED_HEADERS})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS: Final = 10**11
"""Milliseconds say 1973 here, seconds the year 5138: smaller numbers are seconds."""
_MILLISECONDS = re.compile(r"[1-9][0-9]{0,15}")
NO_BODY: Final = object()


def request_payload(method: str, url: str, headers: Mapping[str, str], body: object = NO_BODY) -> dict[str, Any]:
    """The object that is signed for a request.

    Args:
        url: the full one, with the query and without a slash at the end.
        headers: those of `SIGNED_HEADERS` that the request carries, as they are sent.
        body: the JSON value; `NO_BODY`: the request has none.
    """
    payload: dict[str, Any] = {"version": 1, "method": method, "url": url, "headers": dict(headers)}
    if body is not NO_BODY:
        payload["body"] = "" if body == {} else body
    return payload


class RequestSignatures:
    """Reads the signatures of requests to one deployment. Whose they are is decided later, by who owns what."""

    def __init__(self, origin: str, clock: Clock) -> None:
        """
        Args:
            origin: where the world reaches this deployment, as configured: scheme, host and port.
        """
        self._origin, self._clock = origin.rstrip("/"), clock

    @staticmethod
    def are_in(method: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a request carries signatures that count for anything."""
        return method in SIGNED_METHODS and any(name == SIGNATURE.encode() for name, _ in headers)

    def read(
        self, method: str, target: str, headers: Sequence[tuple[bytes, bytes]], body: object = NO_BODY
    ) -> RequestProof:
        """The signatures of a request that carries some.

        Args:
            target: path and query as they arrived.
            headers: names in lower case.
            body: parsed, without a member that stands twice; `NO_BODY`: there is none.

        Raises:
            SignatureMalformed: a header cannot be read, or is there twice.
            RequestExpiryMissing, RequestExpiryInvalid, RequestExpired: as named.
            RequestNotSignable: a number in the body has no canonical form.
        """
        given = _read_headers(headers)
        expires_at = self._read_expiry(given.get(EXPIRY))
        signatures = [_read_signature(part) for part in given[SIGNATURE].split(",")]
        if len(signatures) > MAX_SIGNATURES:
            raise SignatureMalformed(f"expected at most {MAX_SIGNATURES} signatures, was {len(signatures)}")
        hint = given.get(KEY_ID)
        signed = {name: given[name] for name in SIGNED_HEADERS if name in given}
        path, question, query = target.partition("?")
        url = self._origin + path.rstrip("/") + question + query
        try:
            payload = canonical_json(request_payload(method, url, signed, body))
        except ValueError as error:
            raise RequestNotSignable(str(error)) from error
        return RequestProof(
            payload, signatures, expires_at, frozenset(part.strip() for part in hint.split(",")) if hint else None
        )

    def _read_expiry(self, text: str | None) -> datetime:
        if text is None:
            raise RequestExpiryMissing
        if not _MILLISECONDS.fullmatch(text):
            raise RequestExpiryInvalid("expected Unix milliseconds as a decimal number")
        if int(text) < _SECONDS:
            raise RequestExpiryInvalid(f"expected Unix milliseconds, {text} looks like seconds")
        now, expires_in = self._clock.now(), int(text)
        until = (now - _EPOCH) // timedelta(milliseconds=1)
        if expires_in <= until:
            raise RequestExpired
        if expires_in > until + MAX_AHEAD // timedelta(milliseconds=1):
            raise RequestExpiryInvalid(f"expected a time at most {MAX_AHEAD // timedelta(hours=1)} hours ahead")
        return _EPOCH + timedelta(milliseconds=expires_in)


def _read_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that are signed or say how. Two of a name could be read as one or the other: refused."""
    given: dict[str, str] = {}
    for raw_name, value in headers:
        name = raw_name.decode("latin-1")
        if name not in _READ:
            continue
        if name in given:
            raise SignatureMalformed(f"expected the header {name} once, was there twice")
        given[name] = value.decode("latin-1")
    return given


def _read_signature(text: str) -> tuple[int, int]:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureMalformed("expected base64, several separated by commas") from error
    return parse_signature(raw)
