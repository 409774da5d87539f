"""What is signed for a request, golden vectors of it, and everything by which a signed request is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import START
from tests.support.keys import Key, signed_headers

from lockstep.custody.authority.errors import (
    RequestExpired,
    RequestExpiryInvalid,
    RequestExpiryMissing,
    RequestNotSignable,
    SignatureMalformed,
)
from lockstep.custody.authority.p256 import parse_public_key, parse_signature
from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.authority.requests import MAX_AHEAD, NO_BODY, RequestSignatures, request_payload
from lockstep.custody.authority.types import OwnerKey
from lockstep.kit.canonical import canonical_json
from lockstep.kit.clock import ManualClock, epoch_ms

ORIGIN = "https://lockstep.example"
PATH = "/v1/wallets/0190/rpc"
KEY, OTHER = Key(7), Key(8)
BODY = {"method": "personal_sign", "params": {"message": "€", "encoding": "utf-8"}}
GOLDEN_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjlM7b6C/e0YluzBmfAH7YH75+LioD+9bMAYocDGHsqNz6x294DMYNm0Gn4Om9ZAAU8c2M8sEGyHFXhqGwfQAtA=="
GOLDEN_HASH = "bf63f139b9276edae38d88ff82a4c3dcfc3b05d11e005629b5991918c91a7806"
GOLDEN_SIGNATURE = "MEUCIQDvmUQSH6UJ27aw2MWYAOSKPy9Zt+2AfWsX7ABk+uUcdAIgJoAVvCmarz0PoXxC1MH4uAWq8qF9N2QFU8mE41O+HiY="
SOON = epoch_ms(START + timedelta(minutes=15))


def read(
    *keys: Key,
    method: str = "POST",
    target: str = PATH,
    body: Any = BODY,
    at: int = SOON,
    url: str | None = None,
    signed_body: Any = ...,
    **changes: str | None,
) -> RequestProof:
    """The proof of a request that these keys signed, as it arrives with some headers changed."""
    signed = body if signed_body is ... else signed_body
    headers: dict[str, str | None] = {
        **signed_headers(
            method, url or ORIGIN + target, signed, *keys, expires_ms=at, app_id="app", idempotency_key="k"
        )
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    wire = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    reader = RequestSignatures(ORIGIN + "/", ManualClock(START))
    return reader.read(method, target, wire, NO_BODY if body is None else body)


def test_read__signed_as_documented__is_by_those_keys() -> None:
    proof = read(KEY, OTHER)
    assert proof.is_by(KEY.spki)
    assert proof.is_by(OTHER.spki)
    assert not proof.is_by(Key(9).spki)
    assert proof.expires_at == START + timedelta(minutes=15)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "PATCH", "url": ORIGIN + PATH + "x"},
        {"url": "http://lockstep.example" + PATH},
        {"url": ORIGIN + PATH + "?dry=1"},
        {"signed_body": {**BODY, "method": "eth_sendTransaction"}},
        {"signed_body": None},
        {"x_app_id": "another"},
        {"x_app_id": None},
        {"idempotency_key": "another"},
        {"x_request_expiry": str(SOON + 1)},
    ],
)
def test_read__anything_else_than_was_signed__is_by_nobody(other: dict[str, Any]) -> None:
    assert not read(KEY, **other).is_by(KEY.spki)


def test_read__query_and_empty_bodies__are_signed_as_documented() -> None:
    assert read(KEY, target=PATH + "?a=1&b=%20").is_by(KEY.spki)
    assert read(KEY, method="DELETE", body=None).is_by(KEY.spki)
    assert read(KEY, body={}).is_by(KEY.spki)
    assert request_payload("POST", "u", {}, {})["body"] == ""
    assert "body" not in request_payload("POST", "u", {})


def test_trap_18__forwarded_host__has_no_say_in_the_signed_url() -> None:
    forwarded = {"x_forwarded_host": "evil.example", "x_forwarded_proto": "http", "host": "evil.example"}
    assert read(KEY, **forwarded).is_by(KEY.spki)
    assert not read(KEY, url="http://evil.example" + PATH, **forwarded).is_by(KEY.spki)


def test_read__hint__leaves_other_keys_out() -> None:
    named = OwnerKey(id="mine", public_key=KEY.spki, revision=1, is_active=True)
    assert read(KEY, x_authorization_key_id="other, mine").covers(named)
    assert not read(KEY, x_authorization_key_id="other").covers(named)


@pytest.mark.parametrize(
    ("expiry", "refusal", "words"),
    [
        (None, RequestExpiryMissing, "Unix milliseconds"),
        (str(SOON // 1000), RequestExpiryInvalid, "looks like seconds"),
        ("soon", RequestExpiryInvalid, "decimal"),
        ("-1", RequestExpiryInvalid, "decimal"),
        (str(SOON) + ".5", RequestExpiryInvalid, "decimal"),
        (str(epoch_ms(START)), RequestExpired, "expired"),
        (str(epoch_ms(START + MAX_AHEAD) + 1), RequestExpiryInvalid, "24 hours"),
    ],
)
def test_read__expiry_missing_late_or_far__is_refused_with_its_own_code(
    expiry: str | None, refusal: type[Exception], words: str
) -> None:
    with pytest.raises(refusal, match=words):
        read(KEY, x_request_expiry=expiry)


def test_read__last_moment_and_furthest__are_taken() -> None:
    assert read(KEY, at=epoch_ms(START) + 1).is_by(KEY.spki)
    assert read(KEY, at=epoch_ms(START + MAX_AHEAD)).is_by(KEY.spki)


@pytest.mark.parametrize("text", ["", "?", "AAAA", "====", ",".join(["AAAA"] * 11)])
def test_read__signature_that_is_none__is_malformed(text: str) -> None:
    with pytest.raises(SignatureMalformed):
        read(KEY, x_authorization_signature=text)


def test_read__header_twice__is_malformed() -> None:
    headers = [(b"x-authorization-signature", b"AAAA"), (b"x-request-expiry", b"1"), (b"x-request-expiry", b"2")]
    with pytest.raises(SignatureMalformed, match="twice"):
        RequestSignatures(ORIGIN, ManualClock(START)).read("POST", PATH, headers, BODY)


def test_read__number_that_others_would_round__is_not_signable() -> None:
    with pytest.raises(RequestNotSignable):
        read(KEY, body={"value": 2**53}, signed_body={"value": 1})


def test_request_payload__golden_vectors__stay() -> None:
    """The same ones stand in the guide: client libraries of others are tested with them."""
    wallet = "01a1f8f4-3ad8-7056-bbc5-a62291987af4"
    payload = request_payload(
        "POST",
        f"https://lockstep.example/v1/wallets/{wallet}/rpc",
        {
            "x-app-id": "01a1f8f4-0000-7000-8000-000000000001",
            "idempotency-key": "pay-1",
            "x-request-expiry": "1777637700000",
        },
        BODY,
    )
    text = canonical_json(payload)
    assert text.decode() == (
        '{"body":{"method":"personal_sign","params":{"encoding":"utf-8","message":"€"}},"headers":{"idempotency-key":'
        '"pay-1","x-app-id":"01a1f8f4-0000-7000-8000-000000000001","x-request-expiry":"1777637700000"},"method":"POST",'
        f'"url":"https://lockstep.example/v1/wallets/{wallet}/rpc","version":1}}'
    )
    assert json.loads(text) == payload
    assert hashlib.sha256(text).hexdigest() == GOLDEN_HASH
    signature = base64.b64decode(GOLDEN_SIGNATURE)
    assert RequestProof(text, [parse_signature(signature)], START).is_by(parse_public_key(GOLDEN_KEY))
