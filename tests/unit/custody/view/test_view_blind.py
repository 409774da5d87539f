"""Blind signing: a hash as it is, bytes under a function, and a word of warning."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from lockstep.chains.evm import Authorization, UnsignedTransaction, keccak256
from lockstep.custody.view import (
    BlindSign,
    Method,
    RpcInvalid,
    describe,
    parse_raw_sign,
    parse_rpc,
    view_request,
)

WALLET, SHOP = "0x" + "11" * 20, "0x" + "bb" * 20
HASH = "0x" + "ab" * 32


def raw(**params: Any) -> dict[str, Any]:
    return {"params": params}


def in_hex(content: bytes, function: str = "keccak256") -> dict[str, Any]:
    return raw(bytes="0x" + content.hex(), encoding="hex", hash_function=function)


def paths(body: Any) -> list[str]:
    with pytest.raises(RpcInvalid) as caught:
        parse_raw_sign(body)
    return [fault.path for fault in caught.value.faults]


def test_hash__asked_either_way__is_signed_as_it_is() -> None:
    asked = parse_rpc({"method": "secp256k1_sign", "params": {"hash": HASH}})
    same = parse_raw_sign(raw(hash=HASH))

    assert isinstance(asked, BlindSign)
    assert (asked.asked_as, same.asked_as) == ("secp256k1_sign", "raw_sign")
    for request in (asked, same):
        view = view_request(request, WALLET)
        assert (view.method, view.digest) == (Method.SIGN_HASH, bytes.fromhex("ab" * 32))
        assert dict(view.fields) == {}


def test_bytes__under_a_function__are_hashed_with_it() -> None:
    for body, digest in (
        (in_hex(b"hello"), keccak256(b"hello")),
        (in_hex(b"hello", "sha256"), hashlib.sha256(b"hello").digest()),
        (raw(bytes="hellö", encoding="utf-8", hash_function="sha256"), hashlib.sha256("hellö".encode()).digest()),
    ):
        assert view_request(parse_raw_sign(body), WALLET).digest == digest


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (raw(), ["params.hash"]),
        (raw(hash="0x" + "ab" * 31), ["params.hash"]),
        (raw(hash="ab" * 32), ["params.hash"]),
        (raw(hash=HASH, bytes="0x"), ["params.hash", "params.encoding", "params.hash_function"]),
        (raw(bytes="0x00", encoding="hex"), ["params.hash_function"]),
        (raw(bytes="0x00", encoding="base64", hash_function="sha256"), ["params.encoding"]),
        (raw(bytes="0x0", encoding="hex", hash_function="sha256"), ["params.bytes"]),
        (raw(bytes="0x00", encoding="hex", hash_function="sha3"), ["params.hash_function"]),
        (raw(bytes="0xab", encoding="utf-8", hash_function="sha256"), ["params.encoding"]),
        (raw(bytes=5, encoding="utf-8", hash_function="sha256"), ["params.bytes"]),
        (raw(bytes="\ud800", encoding="utf-8", hash_function="sha256"), ["params.bytes"]),
        (in_hex(bytes(131_073)), ["params.bytes"]),
        ({**raw(hash=HASH), "method": "raw_sign"}, ["method"]),
        ({**raw(hash=HASH), "preview_digest": "x"}, ["preview_digest"]),
        ({}, ["params"]),
        ([], ["body"]),
    ],
)
def test_body__that_does_not_hold__is_refused_with_its_path(body: Any, expected: list[str]) -> None:
    assert paths(body) == expected


TRANSACTION = UnsignedTransaction(
    chain_id=1,
    nonce=0,
    to=SHOP,  # type: ignore[arg-type]  # in lower case
    value=1,
    data=b"",
    gas_limit=21_000,
    max_fee_per_gas=1,
    max_priority_fee_per_gas=1,
)


@pytest.mark.parametrize(
    ("content", "method"),
    [
        (TRANSACTION.signing_payload(), "eth_signTransaction"),
        (Authorization(chain_id=1, contract=SHOP, nonce=0).signing_payload(), "eth_sign7702Authorization"),  # type: ignore[arg-type]
        (b"\x19Ethereum Signed Message:\n2hi", "personal_sign"),
        (b"\x19\x01" + bytes(64), "eth_signTypedData_v4"),
    ],
)
def test_trap_13__bytes_that_another_method_signs__are_sent_to_its_rules(content: bytes, method: str) -> None:
    with pytest.raises(RpcInvalid, match=method):
        parse_raw_sign(in_hex(content))
    parse_raw_sign(in_hex(content, "sha256"))


def test_describe__hash__warns() -> None:
    words = describe(view_request(parse_raw_sign(raw(hash=HASH)), WALLET))
    assert words.sentence == f"Sign the hash {HASH}, whatever it stands for"
    assert "takes everything" in words.warnings[0]
    shown = describe(view_request(parse_raw_sign(in_hex(b"hi")), WALLET)).details
    assert [(one.label, one.value) for one in shown][2:] == [("Bytes", "0x6869")]
