"""Signatures of keys: published vectors, low s, and nothing released that does not recover to the address."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import HALF_ORDER, ORDER, Address, UnsignedTransaction, encode_signed, recover_address
from lockstep.custody.execution import PersonalMessagePayload, TransactionPayload, TypedDataPayload
from lockstep.custody.execution.errors import ShareMismatch, SignatureFault
from lockstep.custody.execution.keys import (
    assert_backend,
    generate_scalar,
    is_scalar,
    public_address,
    public_key,
    sign_digest,
)

MAIL = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}


def scalar(value: int) -> bytearray:
    return bytearray(value.to_bytes(32, "big"))


def test_backend__at_start__passes_its_check() -> None:
    assert_backend()


@pytest.mark.parametrize(
    ("key", "message", "expected"),
    [
        (
            1,
            b"Satoshi Nakamoto",
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        ),
        (
            1,
            b"All those moments will be lost in time, like tears in rain. Time to die...",
            "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
        ),
        (
            ORDER - 1,
            b"Satoshi Nakamoto",
            "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d06b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        ),
    ],
)
def test_sign_digest__rfc_6979_vectors__agree(key: int, message: bytes, expected: str) -> None:
    secret = scalar(key)
    signature = sign_digest(secret, hashlib.sha256(message).digest(), public_address(secret))
    assert signature[:64].hex() == expected


def test_sign__eip_155_example__agrees() -> None:
    payload = TransactionPayload(
        UnsignedTransaction(
            type=0,
            chain_id=1,
            nonce=9,
            to=Address("0x" + "35" * 20),
            value=10**18,
            data=b"",
            gas_limit=21_000,
            max_fee_per_gas=20 * 10**9,
            max_priority_fee_per_gas=20 * 10**9,
        )
    )
    assert payload.digest().hex() == "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    secret = scalar(int("46" * 32, 16))
    signature = sign_digest(secret, payload.digest(), public_address(secret))
    raw = encode_signed(
        payload.transaction,
        int.from_bytes(signature[:32], "big"),
        int.from_bytes(signature[32:64], "big"),
        signature[64] - 27,
    )
    assert raw.hex() == (
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195"
        "fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    )


def test_sign__eip_712_mail_example__agrees() -> None:
    payload = TypedDataPayload(MAIL)
    assert payload.digest().hex() == "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    secret = bytearray.fromhex("c85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4")  # keccak256("cow")
    signature = sign_digest(secret, payload.digest(), Address("0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826"))
    assert signature.hex() == (
        "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c"
    )


def test_digest__personal_message__counts_bytes() -> None:
    assert PersonalMessagePayload(b"Some data").digest().hex() == (
        "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"
    )
    assert PersonalMessagePayload("é".encode()).digest() != PersonalMessagePayload(b"e").digest()


@settings(max_examples=examples(50))
@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_sign_digest__any_key_and_digest__recovers_with_low_s(key: int, digest: bytes) -> None:
    secret = scalar(key)
    signature = sign_digest(secret, digest, public_address(secret))
    assert recover_address(digest, signature) == public_address(secret)
    assert int.from_bytes(signature[32:64], "big") <= HALF_ORDER
    assert signature[64] in (27, 28)
    assert sign_digest(secret, digest, public_address(secret)) == signature


def test_sign_digest__key_of_another_address__releases_nothing() -> None:
    with pytest.raises(ShareMismatch):
        sign_digest(scalar(1), bytes(32), public_address(scalar(2)))


@pytest.mark.parametrize("value", [0, ORDER, 2**256 - 1])
def test_scalar__outside_the_group__is_no_key(value: int) -> None:
    assert not is_scalar(scalar(value))
    with pytest.raises(ShareMismatch):
        public_key(scalar(value))
    with pytest.raises(ShareMismatch):
        sign_digest(scalar(value), bytes(32), public_address(scalar(1)))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_scalar__of_another_length__is_no_key(length: int) -> None:
    assert not is_scalar(bytearray(length))
    with pytest.raises(ShareMismatch):
        sign_digest(bytearray(length), bytes(32), public_address(scalar(1)))


def test_sign_digest__digest_of_another_length__is_refused() -> None:
    with pytest.raises(SignatureFault):
        sign_digest(scalar(1), bytes(31), public_address(scalar(1)))


def test_generate_scalar__twice__makes_two_keys() -> None:
    one, other = generate_scalar(), generate_scalar()
    assert is_scalar(one)
    assert one != other
