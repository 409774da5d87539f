"""Addresses, transaction bodies and messages of Cardano: published ones, and what must not be read in two ways."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.cardano import (
    BadCardanoAddress,
    Input,
    MalformedBody,
    Token,
    address_text,
    cose_key,
    cose_sign1,
    enterprise_address,
    message_payload,
    payment_key_hash,
    read_address,
    read_body,
    read_message_payload,
)
from lockstep.chains.cardano import cbor as _cbor  # the module's own file; not part of the public names

# CIP-19's test vectors, all of one key.
KEY = bytes.fromhex("73fea80d424276ad0978d4fe5310e8bc2d485f5f6bb3bf87612989f112ad5a7d")
MAIN = "addr1vx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzers66hrl8"
TEST = "addr_test1vz2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzerspjrlsz"
BASE = "addr1qx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer3n0d3vllmyqwsx5wktcd8cc3sq835lu7drv2xwl2wywfgse35a3x"
# A body with its id and the signature over it by a known key, from the tests of a public library.
BODY = bytes.fromhex(
    "a50081825820732bfd67e66be8e8288349fcaaa2294973ef6271cc189a239bb431275401b8e500018282581d60f6532850e1bccee9c72a9113"
    "ad98bcc5dbb30d2ac960262444f6e5f41b000000174876e80082581d60f6532850e1bccee9c72a9113ad98bcc5dbb30d2ac960262444f6e5f4"
    "1b000000ba43b4b7f7021a000288090d800e80"
)
SEED = bytes.fromhex("093be5cd3987d0c9fd8854ef908f7746b69e2d73320db6dc0f780d81585b84c2")
SIGNATURE = (
    b"\xb6+-g\xba\x18TL\xe0\xa1\x975\xf9R\x8b\x89\x0b\x1a*\x7f\x8a\xf9\x03\xa3\xde\x92\x7f\x91\xb8\x1f\xdbF\xbdy\xc9\x15"
    b"\xc7\x05T\xdb\xa4i\xaa\xb8\xa39\x90\xa7\x1d\xe0\xb0$\x9fL~p\x9d`)\xbb\xac\xe1P\x04"
)
ADDRESS = enterprise_address(KEY, "testnet")
SPENT = [bytes(32), 0]


def body(**members: Any) -> bytes:
    """A body of the shortest form; members by name of their number, as in `_3`."""
    plain: dict[int, Any] = {0: [SPENT], 1: [[ADDRESS, 5]], 2: 7}
    return _cbor.write({**plain, **{int(name[1:]): value for name, value in members.items()}})


def test_address__of_a_key__is_that_of_cip_19() -> None:
    assert address_text(enterprise_address(KEY, "mainnet")) == MAIN
    assert address_text(enterprise_address(KEY, "testnet")) == TEST
    for text in (MAIN, TEST, BASE):
        assert address_text(read_address(text)) == text
        assert payment_key_hash(read_address(text)) == ADDRESS[1:]


@pytest.mark.parametrize(
    "text", ["", "addr1", MAIN[:-1], MAIN.upper(), MAIN.replace("addr1", "addr_test1"), MAIN[:-1] + "9", "Ae2tdPwUPEZ"]
)
def test_read_address__something_else__is_refused(text: str) -> None:
    with pytest.raises(BadCardanoAddress):
        read_address(text)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=70))
def test_address_text__any_bytes__are_refused_or_read_back(raw: bytes) -> None:
    with contextlib.suppress(BadCardanoAddress):
        text = address_text(raw)
        if raw[0] >> 4 != 8:  # those of Byron are shown, not read
            assert read_address(text) == raw


def test_body__published_one__has_its_id_and_its_signature() -> None:
    read = read_body(BODY)

    assert read.id.hex() == "4b5b9ed087b596150f8c95f14de821ab066ddb74f00919228acf33b85d9ca6ca"
    assert Ed25519PrivateKey.from_private_bytes(SEED).sign(read.id) == SIGNATURE
    assert read.inputs == (Input(bytes.fromhex("732bfd67e66be8e8288349fcaaa2294973ef6271cc189a239bb431275401b8e5"), 0),)
    assert [(one.text, one.lovelace) for one in read.outputs] == [
        ("addr_test1vrm9x2zsux7va6w892g38tvchnzahvcd9tykqf3ygnmwtaqyfg52x", amount)
        for amount in (100_000_000_000, 799_999_834_103)
    ]
    assert (read.fee, read.ttl, read.has_scripts) == (165_897, None, False)


def test_body__everything_in_it__is_read() -> None:
    policy = b"p" * 28
    raw = body(
        _0=_cbor.Tagged(258, [SPENT]),
        _1=[{0: ADDRESS, 1: [9, {policy: {b"tok": 3}}], 2: [0, bytes(32)]}, [ADDRESS, 1, bytes(32)]],
        _3=100,
        _4=[[0, [0, bytes(28)]]],
        _5={b"\xe0" + bytes(28): 4},
        _7=bytes(32),
        _8=50,
        _9={policy: {b"tok": -2}},
        _11=bytes(32),
        _13=[[bytes(32), 1]],
        _14=[bytes(28)],
        _15=0,
        _16=[ADDRESS, 2],
        _17=6,
        _18=[[bytes(32), 2]],
        _22=8,
    )
    read = read_body(raw)
    assert read.raw == raw
    assert read.outputs[0].tokens == (Token(policy, b"tok", 3),)
    assert [one.has_datum for one in read.outputs] == [True, True]
    assert (read.ttl, read.valid_from, read.donation, read.total_collateral) == (100, 50, 8, 6)
    assert read.certificates == ("stake registration",)
    assert read.withdrawals == ((address_text(b"\xe0" + bytes(28)), 4),)
    assert read.mint == (Token(policy, b"tok", -2),)
    assert read.collateral == (Input(bytes(32), 1),)
    assert read.collateral_return is not None
    assert (read.required_signers, read.reference_inputs, read.network_id) == ((bytes(28),), (Input(bytes(32), 2),), 0)
    assert read.has_scripts


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        BODY + b"\x00",
        BODY[:-1],
        _cbor.write([1]),
        _cbor.write({0: [SPENT], 1: []}),
        body(_0=[]),
        body(_0=[SPENT, SPENT]),
        body(_0=[[bytes(31), 0]]),
        body(_0=[[bytes(32), 65_536]]),
        body(_0=_cbor.Tagged(259, [SPENT])),
        body(_1=[[ADDRESS[:-1], 1]]),
        body(_1=[[ADDRESS, -1]]),
        body(_1=[[ADDRESS, True]]),
        body(_1=[{0: ADDRESS, 1: 1, 4: 0}]),
        body(_1=[[ADDRESS, [1, {b"short": {}}]]]),
        body(_1=[[ADDRESS, [1, {bytes(28): {bytes(33): 1}}]]]),
        body(_1=[[ADDRESS, [1, {bytes(28): {b"": -1}}]]]),
        body(_4=[[5, 1]]),
        body(_5={b"\xe0": 1}),
        body(_6=[]),
        body(_19={}),
        body(_20=[]),
        body(_21=1),
        body(_99=1),
        body(_7=1) + bytes(16_384),
        b"\xa4" + body()[1:] + b"\x02\x01",  # the fee twice
        b"\xa1\x00" * 20_000,
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_read_body__what_is_not_understood_as_a_whole__is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_body(raw)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(BODY)))
def test_read_body__any_bytes__are_refused_or_kept_as_they_are(noise: bytes, at: int) -> None:
    for raw in (noise, BODY[:at] + noise + BODY[at:], BODY[:at] + noise):
        with contextlib.suppress(MalformedBody):
            assert read_body(raw).raw == raw


def test_cbor__lengths_left_open__mean_the_same() -> None:
    assert _cbor.read(bytes.fromhex("9f01ff")) == _cbor.read(bytes.fromhex("8101")) == [1]
    assert _cbor.read(bytes.fromhex("bf0102ff")) == {1: 2}
    assert _cbor.read(bytes.fromhex("5f41614162ff")) == b"ab"
    for wrong in ("5f6161ff", "fb3ff0000000000000", "f7", "1c", "7fff", "a201000100", "a1800"[:-1], "9f", "ff"):
        with pytest.raises(ValueError):
            _cbor.read(bytes.fromhex(wrong))


items = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9) | st.binary(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=examples(100), deadline=None)
@given(items)
def test_cbor__any_item__is_read_back(item: Any) -> None:
    assert _cbor.read(_cbor.write(item)) == item


def test_message__signed_and_handed_over__is_what_cip_8_says() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public = key.public_key().public_bytes_raw()
    address = enterprise_address(public, "testnet")
    payload = message_payload(address, b"hello")

    protected = bytes.fromhex("a201276761646472657373581d") + address
    assert payload == bytes.fromhex("846a5369676e617475726531") + _cbor.write(protected) + b"\x40\x45hello"
    assert read_message_payload(payload) == (address, b"hello")
    signature = key.sign(payload)
    signed = _cbor.read(cose_sign1(address, b"hello", signature))
    assert signed == [protected, {"hashed": False}, b"hello", signature]
    assert _cbor.read(cose_key(public)) == {1: 1, 3: -8, -1: 6, -2: public}


@pytest.mark.parametrize("raw", [b"", BODY, _cbor.write(["Signature", b"", b"", b""]), _cbor.write([1, 2, 3, 4])])
def test_read_message_payload__something_else__is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_message_payload(raw)
