"""The codecs against eth-account, eth-abi and published examples."""

import contextlib

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import (
    HALF_ORDER,
    ORDER,
    Address,
    BadAddress,
    BadSignature,
    MalformedTransaction,
    UnsignedTransaction,
    decode_signed,
    decode_unsigned,
    encode_signed,
    intrinsic_gas,
    keccak256,
    parse_address,
    parse_chain,
    personal_digest,
    recover_address,
    to_checksum,
    transaction_hash,
)
from lockstep.chains.evm import rlp as _rlp  # the module's own file; not part of the public names
from lockstep.chains.evm.errors import UnknownChain

KEY = "0x4646464646464646464646464646464646464646464646464646464646464646"
ACCOUNT = Account.from_key(KEY)
TO = Address("0x" + "35" * 20)

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
transactions = st.builds(
    lambda **fields: fields,
    chain_id=st.integers(1, 2**63),
    nonce=st.integers(0, 2**64 - 2),
    to=st.none() | addresses,
    value=st.integers(0, 2**256 - 1),
    data=st.binary(max_size=300),
    gas_limit=st.integers(100_000, 2**64 - 1),
    max_priority_fee_per_gas=st.integers(0, 2**100),
    max_fee_per_gas=st.integers(2**100, 2**128),
    access_list=st.lists(
        st.tuples(addresses, st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple)), max_size=2
    ).map(tuple),
)


def _signed_by_eth_account(tx: UnsignedTransaction) -> tuple[bytes, int, int, int]:
    content = {
        "nonce": tx.nonce,
        "to": "" if tx.to is None else to_checksum(tx.to),
        "value": tx.value,
        "data": tx.data,
        "gas": tx.gas_limit,
        "chainId": tx.chain_id,
    }
    if tx.type == 2:
        content |= {
            "type": 2,
            "maxFeePerGas": tx.max_fee_per_gas,
            "maxPriorityFeePerGas": tx.max_priority_fee_per_gas,
            "accessList": [
                {"address": to_checksum(a), "storageKeys": ["0x" + key.hex() for key in keys]}
                for a, keys in tx.access_list
            ],
        }
    else:
        content |= {"gasPrice": tx.max_fee_per_gas}
    signed = ACCOUNT.sign_transaction(content)
    return bytes(signed.raw_transaction), signed.r, signed.s, signed.v


@settings(max_examples=examples(60), deadline=None)
@given(transactions)
def test_type_2__any_fields__same_bytes_as_eth_account(fields: dict) -> None:
    tx = UnsignedTransaction(**fields)
    raw, r, s, v = _signed_by_eth_account(tx)
    assert encode_signed(tx, r, s, v) == raw
    assert decode_unsigned(tx.signing_payload()) == tx
    read = decode_signed(raw)
    assert read.transaction == tx
    assert read.sender == ACCOUNT.address.lower()
    assert read.hash == transaction_hash(raw) == keccak256(raw)


@settings(max_examples=examples(40), deadline=None)
@given(transactions)
def test_type_0__any_fields__same_bytes_as_eth_account(fields: dict) -> None:
    fields |= {
        "type": 0,
        "access_list": (),
        "chain_id": fields["chain_id"] % 2**52 + 1,
        "max_priority_fee_per_gas": fields["max_fee_per_gas"],
    }
    tx = UnsignedTransaction(**fields)
    raw, r, s, v = _signed_by_eth_account(tx)
    assert encode_signed(tx, r, s, (v - 35) % 2) == raw
    assert decode_unsigned(tx.signing_payload()) == tx
    assert decode_signed(raw).transaction == tx
    assert decode_signed(raw).sender == ACCOUNT.address.lower()


def test_legacy__example_of_eip_155__published_digest_and_v() -> None:
    tx = UnsignedTransaction(
        type=0,
        chain_id=1,
        nonce=9,
        to=TO,
        value=10**18,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=20 * 10**9,
        max_priority_fee_per_gas=20 * 10**9,
    )
    assert tx.digest().hex() == "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    raw, r, s, v = _signed_by_eth_account(tx)
    assert v == 37
    assert encode_signed(tx, r, s, 0) == raw


def _valid(**changes: object) -> dict:
    return {
        "chain_id": 1,
        "nonce": 0,
        "to": TO,
        "value": 0,
        "data": b"",
        "gas_limit": 21_000,
        "max_fee_per_gas": 2,
        "max_priority_fee_per_gas": 1,
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"nonce": -1},
        {"nonce": 2**64 - 1},
        {"value": 2**256},
        {"value": True},
        {"gas_limit": 20_999},
        {"gas_limit": 2**64},
        {"max_priority_fee_per_gas": 3},
        {"to": "0x35"},
        {"to": "0x" + "AB" * 20},
        {"data": b"x" * 131_073, "gas_limit": 30_000_000},
        {"to": None, "data": b"x" * 49_153, "gas_limit": 30_000_000},
        {"type": 1},
        {"type": 0},
        {"access_list": ((TO, (b"short",)),), "gas_limit": 100_000},
    ],
)
def test_unsigned_transaction__field_that_does_not_hold__refused(changes: dict) -> None:
    with pytest.raises(MalformedTransaction):
        UnsignedTransaction(**_valid(**changes))


def test_decode_unsigned__pre_155_or_other_type_or_noise__refused() -> None:
    tx = UnsignedTransaction(**_valid())
    payload = tx.signing_payload()
    pre_155 = _rlp.encode([b"", b"\x01", b"\x52\x08", b"\x35" * 20, b"", b""])
    non_minimal = payload[:1] + bytes([payload[1] + 1]) + b"\x81\x01" + payload[3:]
    for raw in (b"", b"\x01" + payload[1:], payload + b"\x00", payload[:-1], pre_155, non_minimal, b"\x02\xc0"):
        with pytest.raises(MalformedTransaction):
            decode_unsigned(raw)


@given(st.binary(max_size=120))
def test_decode__any_bytes__refused_or_canonical(raw: bytes) -> None:
    for prefix in (b"", b"\x02"):
        with contextlib.suppress(MalformedTransaction):
            assert decode_unsigned(prefix + raw).signing_payload() == prefix + raw
    with contextlib.suppress(ValueError):
        assert _rlp.encode(_rlp.decode(raw)) == raw


def test_encode_signed__malleated__refused() -> None:
    tx = UnsignedTransaction(**_valid())
    signature = ACCOUNT.unsafe_sign_hash(tx.digest())
    with pytest.raises(MalformedTransaction):
        encode_signed(tx, signature.r, ORDER - signature.s, 1 - (signature.v - 27))


def test_intrinsic_gas__calldata__floor_of_eip_7623() -> None:
    assert intrinsic_gas(TO, b"") == 21_000
    assert intrinsic_gas(TO, b"\x00\x01") == 21_000 + 10 * 5
    assert intrinsic_gas(None, b"\x01" * 32) == 21_000 + 16 * 32 + 32_000 + 2


@settings(max_examples=examples(50), deadline=None)
@given(st.binary(max_size=200))
def test_personal_digest__any_bytes__recovers_like_eth_account(content: bytes) -> None:
    signed = ACCOUNT.sign_message(encode_defunct(primitive=content))
    assert personal_digest(content) == bytes(signed.message_hash)
    assert recover_address(personal_digest(content), bytes(signed.signature)) == ACCOUNT.address.lower()


def test_recover_address__malleated_or_odd__refused() -> None:
    digest = keccak256(b"x")
    signature = bytes(ACCOUNT.unsafe_sign_hash(digest).signature)
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    assert s <= HALF_ORDER
    twisted = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    for bad in (
        twisted,
        signature[:64],
        signature + b"\x00",
        signature[:64] + bytes([v - 27]),
        bytes(32) + signature[32:],
        b"\xff" * 64 + bytes([v]),
    ):
        with pytest.raises(BadSignature):
            recover_address(digest, bad)


def test_addresses__checksum_of_eip_55__read_and_checked() -> None:
    right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert parse_address(right) == right.lower()
    assert to_checksum(Address(right.lower())) == right
    assert parse_address(right.lower()) == right.lower()
    for bad in (right.replace("aA", "Aa"), right[:-1], "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "", "0x" + "g" * 40):
        with pytest.raises(BadAddress):
            parse_address(bad)


def test_parse_chain__caip_2__canonical_only() -> None:
    assert parse_chain("eip155:31337") == 31337
    for bad in ("eip155:0", "eip155:01", "cardano:1", "1", "eip155:", "eip155:1 "):
        with pytest.raises(UnknownChain):
            parse_chain(bad)
