"""Transactions of types 1, 3 and 4 and EIP-7702 authorizations: published ones, and the same bytes as eth-account."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import (
    HALF_ORDER,
    ORDER,
    Address,
    Authorization,
    MalformedTransaction,
    SignedAuthorization,
    UnsignedTransaction,
    decode_authorization,
    decode_signed,
    decode_unsigned,
    encode_signed,
    intrinsic_gas,
    to_checksum,
)

ACCOUNT = Account.from_key("0x" + "46" * 32)
TO = Address("0x" + "35" * 20)
BLOB = b"\x01" + bytes(31)

# go-ethereum's own example of a type-1 transaction, with the digest that its test expects.
GETH_2930 = (
    "01f8630103018261a894b94f5374fce5edbc8e2a8697c15331677e6ebf0b0a825544c001a0c9519f4f2b30335884581971573fadf60c6204f59a9"
    "11df35ee8a540456b2660a032f1e8e2c5dd761f9e4f88f41c8310aeaba26a8bfcdacfedfa12ec3862d37521"
)
# Sepolia, transaction 0xab41e0e5bd3cc0415b441b57c3d9ec2d0547c9f34859e4136e5042ae7f7e20ea.
SEPOLIA_7702 = (
    "04f9036883aa36a70183603cb884193dca90830391b494c122f8378c32ba5acd599ec43fe6f6e264c1abae80b90184a6d0ad61"
    "0000000000000000000000000000000000000000000000000000000000000020"
    "0000000000000000000000000000000000000000000000000000000000000002"
    "0000000000000000000000000000000000000000000000000000000000000040"
    "00000000000000000000000000000000000000000000000000000000000000c0"
    "0000000000000000000000000000000000000000000000000000000000000060"
    "000000000000000000000000cb98643b8786950f0461f3b0edf99d88f274574d"
    "00000000000000000000000000000000000000000000000000038d7ea4c68000"
    + "00" * 32
    + "0000000000000000000000000000000000000000000000000000000000000060"
    + "000000000000000000000000d2135cfb216b74109775236e36d4b433f1df507b"
    + "00000000000000000000000000000000000000000000000000071afd498d0000"
    + "00" * 32
    + "f8b7f85994de0b295669a9fd93d5f28d9ec85e40f4cb697baef842a0"
    + "0000000000000000000000000000000000000000000000000000000000000003a0"
    + "0000000000000000000000000000000000000000000000000000000000000007"
    + "d694c122f8378c32ba5acd599ec43fe6f6e264c1abaec0d694cb98643b8786950f0461f3b0edf99d88f274574dc0"
    + "d694d2135cfb216b74109775236e36d4b433f1df507bc0d69400d627057cd4ba50f9c6bde33eee3ef1183df885c0"
    + "f8bbf85d83aa36a79400d627057cd4ba50f9c6bde33eee3ef1183df8850201"
    + "a01003c672e470c801843fcdedcd6b0f4b5de35e878c3d3c0dd936003129adcf0b"
    + "a04ba06410153cda14be60e336a8db39596ac0c5ef31b0aae70ab323527b48a3d6"
    + "f85a019400d627057cd4ba50f9c6bde33eee3ef1183df8850180"
    + "a0f927b261e29065e03948c4ace50b4c559c2fc8606b37ed8b6dd74c6485fc5b6f"
    + "a06b93cff0d9d30d2c9c4e1307ed10531d33fd9d0a276969512a0bc84100a043af"
    + "01a0768999a42a29b8659a00b19928f1fa176e0bde5a2d38a24988efbef0ab576a42"
    + "a07aea2fd7cf85d5484ad71feb2cbdfd3f5403a85665b45eca294cc06e83ccf2b6"
)


def valid(kind: int, **changes: Any) -> dict[str, Any]:
    of_type: dict[int, dict[str, Any]] = {
        1: {"max_priority_fee_per_gas": 2},
        3: {"max_fee_per_blob_gas": 3, "blob_hashes": (BLOB,)},
        4: {"authorizations": (authorized(),), "gas_limit": 46_000},
    }
    plain: dict[str, Any] = {
        "type": kind,
        "chain_id": 1,
        "nonce": 0,
        "to": TO,
        "value": 0,
        "data": b"",
        "gas_limit": 21_000,
        "max_fee_per_gas": 2,
        "max_priority_fee_per_gas": 1,
    }
    return {**plain, **of_type[kind], **changes}


def authorized(chain_id: int = 1, contract: str = TO, nonce: int = 5) -> SignedAuthorization:
    """An authorization by eth-account's key, signed by eth-account."""
    signed = ACCOUNT.sign_authorization(
        {"chainId": chain_id, "address": to_checksum(Address(contract)), "nonce": nonce}
    )
    authorization = Authorization(chain_id=chain_id, contract=Address(contract), nonce=nonce)
    assert bytes(signed.authorization_hash) == authorization.digest()
    return SignedAuthorization(authorization=authorization, y_parity=signed.y_parity, r=signed.r, s=signed.s)


def by_eth_account(tx: UnsignedTransaction) -> Any:
    content: dict[str, Any] = {
        "type": tx.type,
        "chainId": tx.chain_id,
        "nonce": tx.nonce,
        "to": b"" if tx.to is None else to_checksum(tx.to),
        "value": tx.value,
        "data": tx.data,
        "gas": tx.gas_limit,
        "accessList": [
            {"address": to_checksum(a), "storageKeys": ["0x" + key.hex() for key in keys]} for a, keys in tx.access_list
        ],
    }
    if tx.type == 1:
        content["gasPrice"] = tx.max_fee_per_gas
    else:
        content |= {"maxFeePerGas": tx.max_fee_per_gas, "maxPriorityFeePerGas": tx.max_priority_fee_per_gas}
    if tx.type == 3:
        content |= {"maxFeePerBlobGas": tx.max_fee_per_blob_gas, "blobVersionedHashes": list(tx.blob_hashes)}
    if tx.type == 4:
        content["authorizationList"] = [
            ACCOUNT.sign_authorization(
                {
                    "chainId": one.authorization.chain_id,
                    "address": to_checksum(one.authorization.contract),
                    "nonce": one.authorization.nonce,
                }
            )
            for one in tx.authorizations
        ]
    return ACCOUNT.sign_transaction(content)


addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
words = st.binary(min_size=32, max_size=32)


@st.composite
def transactions(draw: st.DrawFn) -> UnsignedTransaction:
    kind = draw(st.sampled_from((1, 3, 4)))
    fee = draw(st.integers(2**64, 2**100))
    fields = valid(
        kind,
        chain_id=draw(st.integers(1, 2**63)),
        nonce=draw(st.integers(0, 2**64 - 2)),
        to=draw(addresses if kind > 1 else st.none() | addresses),
        value=draw(st.integers(0, 2**256 - 1)),
        data=draw(st.binary(max_size=200)),
        gas_limit=draw(st.integers(200_000, 2**64 - 1)),
        max_fee_per_gas=fee,
        max_priority_fee_per_gas=fee if kind == 1 else draw(st.integers(0, 2**64)),
        access_list=tuple(draw(st.lists(st.tuples(addresses, st.lists(words, max_size=2).map(tuple)), max_size=2))),
    )
    if kind == 3:
        hashes = st.lists(words.map(lambda raw: b"\x01" + raw[1:]), min_size=1, max_size=6)
        fields |= {"max_fee_per_blob_gas": draw(st.integers(0, 2**256 - 1)), "blob_hashes": tuple(draw(hashes))}
    if kind == 4:
        tuples = st.builds(authorized, st.integers(0, 2**63), addresses, st.integers(0, 2**64 - 2))
        fields["authorizations"] = tuple(draw(st.lists(tuples, min_size=1, max_size=2)))
    return UnsignedTransaction(**fields)


@settings(max_examples=examples(60), deadline=None)
@given(transactions())
def test_types_1_3_and_4__any_fields__same_bytes_as_eth_account(tx: UnsignedTransaction) -> None:
    signed = by_eth_account(tx)
    raw = bytes(signed.raw_transaction)

    assert encode_signed(tx, signed.r, signed.s, signed.v) == raw
    assert decode_unsigned(tx.signing_payload()) == tx
    read = decode_signed(raw)
    assert (read.transaction, read.sender) == (tx, ACCOUNT.address.lower())


def test_type_1__example_of_go_ethereum__has_its_published_digest() -> None:
    read = decode_signed(bytes.fromhex(GETH_2930))

    assert read.transaction.type == 1
    assert read.transaction.digest().hex() == "49b486f0ec0a60dfbbca2d30cb07c9e8ffb2a2ff41f29a1ab6737475f6ff69f3"


def test_type_3__transaction_of_a_public_test_network__has_its_hash_and_sender() -> None:
    tx = UnsignedTransaction(
        type=3,
        chain_id=0x1A1F0FF42,
        nonce=1,
        to=Address("0x000000000000000000000000000000000000f1c1"),
        value=0,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=0xEE6B281C,
        max_priority_fee_per_gas=0xEE6B281C,
        max_fee_per_blob_gas=1_000,
        blob_hashes=(bytes.fromhex("010a8b6ba3ab54a1119c273b22a15c700be68aba00cc989903f0a53459d6daad"),),
    )
    r = 0x8A8EB78331B968788C11B9C418F6979CC6DEC32F4F4AD3BA398FEC5B9058F0FA
    s = 0x50225CB61B29987A032D6187AE3D4AF7FADD6107E17F1ADB9AD7F136417D3548

    read = decode_signed(encode_signed(tx, r, s, 0))

    assert read.hash.hex() == "a93f6ce94cd78c3344d2f639620e36f327f59bb8d583a65f4d851ce11e36e2d2"
    assert read.sender == "0x7e454a14b8e7528465eef86f0dc1da4f235d9d79"


def test_type_4__transaction_of_sepolia__has_its_hash_and_its_authorities() -> None:
    read = decode_signed(bytes.fromhex(SEPOLIA_7702))

    assert read.hash.hex() == "ab41e0e5bd3cc0415b441b57c3d9ec2d0547c9f34859e4136e5042ae7f7e20ea"
    own = "0xc122f8378c32ba5acd599ec43fe6f6e264c1abae"
    assert read.sender == own
    given = [one.authorization for one in read.transaction.authorizations]
    assert [(one.chain_id, one.nonce) for one in given] == [(11_155_111, 2), (1, 1)]
    assert {one.contract for one in given} == {"0x00d627057cd4ba50f9c6bde33eee3ef1183df885"}
    assert read.transaction.authorizations[0].recover_authority() == own


@pytest.mark.parametrize(
    "fields",
    [
        valid(1, max_priority_fee_per_gas=1),
        valid(1, blob_hashes=(BLOB,)),
        valid(1, authorizations=(authorized(),), gas_limit=46_000),
        valid(3, to=None, data=b"x", gas_limit=100_000),
        valid(3, blob_hashes=()),
        valid(3, blob_hashes=(BLOB,) * 7),
        valid(3, blob_hashes=(bytes(32),)),
        valid(3, blob_hashes=(BLOB[:31],)),
        valid(3, max_fee_per_blob_gas=2**256),
        valid(4, to=None, data=b"x", gas_limit=200_000),
        valid(4, authorizations=()),
        valid(4, gas_limit=45_999),
        valid(4, max_fee_per_blob_gas=1),
        valid(4, type=2),
        valid(3, type=2),
        valid(1, type=5),
    ],
)
def test_unsigned_transaction__of_another_type_than_its_fields__is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedTransaction):
        UnsignedTransaction(**fields)


def test_intrinsic_gas__lists__cost_what_the_standards_say() -> None:
    listed = ((TO, (bytes(32), bytes(32))), (TO, ()))

    assert intrinsic_gas(TO, b"", listed) == 21_000 + 2 * 2_400 + 2 * 1_900
    assert intrinsic_gas(TO, b"", (), 3) == 21_000 + 3 * 25_000


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**64 - 1), addresses, st.integers(0, 2**64 - 2))
def test_authorization__any__is_read_back_from_its_one_encoding(chain_id: int, contract: Address, nonce: int) -> None:
    authorization = Authorization(chain_id=chain_id, contract=contract, nonce=nonce)
    payload = authorization.signing_payload()

    assert decode_authorization(payload) == authorization
    for wrong in (payload + b"\x00", payload[:-1], b"\x04" + payload[1:], b""):
        with pytest.raises(MalformedTransaction):
            decode_authorization(wrong)


@given(st.binary(max_size=100))
def test_decode_authorization__any_bytes__are_refused_or_canonical(raw: bytes) -> None:
    with contextlib.suppress(MalformedTransaction):
        assert decode_authorization(b"\x05" + raw).signing_payload() == b"\x05" + raw


def test_authorization__out_of_range_or_malleated__is_refused() -> None:
    for changes in ({"chain_id": 2**64}, {"chain_id": -1}, {"nonce": 2**64 - 1}, {"contract": "0x12"}):
        with pytest.raises(MalformedTransaction):
            Authorization(**{"chain_id": 1, "contract": TO, "nonce": 0, **changes})  # type: ignore[arg-type]
    good = authorized()
    assert good.s <= HALF_ORDER
    for wrong in (
        {"y_parity": 1 - good.y_parity, "s": ORDER - good.s},
        {"y_parity": 2},
        {"r": 0},
        {"s": 0},
        {"r": ORDER},
    ):
        fields: dict[str, Any] = {"y_parity": good.y_parity, "r": good.r, "s": good.s, **wrong}
        with pytest.raises(MalformedTransaction):
            SignedAuthorization(authorization=good.authorization, **fields)
