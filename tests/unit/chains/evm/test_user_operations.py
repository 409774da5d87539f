"""User operations of version 0.7: a published hash, a second computation of it, and one encoding."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import eth_abi
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import (
    ENTRY_POINT,
    Address,
    MalformedTransaction,
    UserOperation,
    decode_user_operation,
)

# An operation on Sepolia, with the hash that the tests of a public wallet library expect for it.
PUBLISHED = UserOperation(
    chain_id=11_155_111,
    entry_point=ENTRY_POINT,
    sender=Address("0xa3abdc7f6334cd3ee466a115f30522377787c024"),
    nonce=16,
    call_data=bytes.fromhex(
        "b61d27f6"
        "000000000000000000000000d8da6bf26964af9d7eed9e03e53415d37aa96045"
        "0000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000060"
        "0000000000000000000000000000000000000000000000000000000000000005"
        "68656c6c6f000000000000000000000000000000000000000000000000000000"
    ),
    call_gas_limit=80_000,
    verification_gas_limit=68_389,
    pre_verification_gas=55_721,
    max_fee_per_gas=17_578_054_897,
    max_priority_fee_per_gas=1_138_018_869,
    paymaster=Address("0x0000000000000039cd5e8ae05257ce51c473ddd1"),
    paymaster_verification_gas_limit=27_776,
    paymaster_post_op_gas_limit=1,
    paymaster_data=bytes.fromhex(
        "00000066cc6b8b000000000000bce787423a07dde9c43cdf50ff33bf35b18babd336cc9739fd9f6dca86e200934505c311454b60c3aa1d206e"
        "6bb893f3489e77ace4c58f30d47cebd368a1422a1c"
    ),
)


def test_hash__published_operation__is_the_published_one() -> None:
    assert PUBLISHED.hash().hex() == "a1ea19d934f05fc2d725f2be8452ad7e2f29d9747674045ea366a320b782411d"


def test_digest__is_the_hash_as_a_personal_message() -> None:
    account = Account.from_key("0x" + "46" * 32)
    signed = account.sign_message(encode_defunct(primitive=PUBLISHED.hash()))
    assert bytes(signed.message_hash) == PUBLISHED.digest()


def computed_apart(op: UserOperation) -> bytes:
    """The hash as the entry point's own code computes it, written again with other tools."""
    init = b"" if op.factory is None else bytes.fromhex(op.factory[2:]) + op.factory_data
    paying = b""
    if op.paymaster is not None:
        limits = (op.paymaster_verification_gas_limit << 128) | op.paymaster_post_op_gas_limit
        paying = bytes.fromhex(op.paymaster[2:]) + limits.to_bytes(32, "big") + op.paymaster_data
    words = [
        eth_abi.encode(["address"], [op.sender]),
        op.nonce.to_bytes(32, "big"),
        keccak(init),
        keccak(op.call_data),
        ((op.verification_gas_limit << 128) | op.call_gas_limit).to_bytes(32, "big"),
        op.pre_verification_gas.to_bytes(32, "big"),
        ((op.max_priority_fee_per_gas << 128) | op.max_fee_per_gas).to_bytes(32, "big"),
        keccak(paying),
    ]
    return keccak(keccak(b"".join(words)) + eth_abi.encode(["address", "uint256"], [op.entry_point, op.chain_id]))


addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
gas = st.integers(0, 2**128 - 1)


@st.composite
def operations(draw: st.DrawFn) -> UserOperation:
    factory, paymaster = draw(st.none() | addresses), draw(st.none() | addresses)
    fee = draw(gas)
    paying: dict[str, Any] = {}
    if paymaster is not None:
        paying = {
            "paymaster_verification_gas_limit": draw(gas),
            "paymaster_post_op_gas_limit": draw(gas),
            "paymaster_data": draw(st.binary(max_size=60)),
        }
    return UserOperation(
        chain_id=draw(st.integers(1, 2**64 - 1)),
        entry_point=draw(addresses),
        sender=draw(addresses),
        nonce=draw(st.integers(0, 2**256 - 1)),
        call_data=draw(st.binary(max_size=100)),
        call_gas_limit=draw(gas),
        verification_gas_limit=draw(gas),
        pre_verification_gas=draw(st.integers(0, 2**256 - 1)),
        max_fee_per_gas=fee,
        max_priority_fee_per_gas=draw(st.integers(0, fee)),
        factory=factory,
        factory_data=b"" if factory is None else draw(st.binary(max_size=60)),
        paymaster=paymaster,
        **paying,
    )


@settings(max_examples=examples(100), deadline=None)
@given(operations())
def test_user_operation__any__is_read_back_and_hashed_the_same_by_a_second_computation(op: UserOperation) -> None:
    payload = op.encode()
    assert decode_user_operation(payload) == op
    assert op.hash() == computed_apart(op)
    for wrong in (payload + bytes(32), payload[:-1], payload[32:]):
        with pytest.raises(MalformedTransaction):
            decode_user_operation(wrong)


@given(st.binary(max_size=600))
def test_decode_user_operation__any_bytes__are_refused_or_canonical(raw: bytes) -> None:
    with contextlib.suppress(MalformedTransaction):
        assert decode_user_operation(raw).encode() == raw


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"chain_id": 2**64},
        {"nonce": 2**256},
        {"nonce": True},
        {"call_gas_limit": 2**128},
        {"pre_verification_gas": -1},
        {"sender": "0x12"},
        {"entry_point": "0x" + "AB" * 20},
        {"entry_point": "0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789"},
        {"entry_point": "0x4337084d9e255ff0702461cf8895ce9e3b5ff108"},
        {"factory_data": b"x"},
        {"factory": "0x12"},
        {"paymaster": None},
        {"max_priority_fee_per_gas": PUBLISHED.max_fee_per_gas + 1},
        {"call_data": bytes(131_072)},
    ],
)
def test_user_operation__that_does_not_hold__is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedTransaction):
        replace(PUBLISHED, **changes)


def test_max_cost__is_all_gas_at_the_highest_fee() -> None:
    assert PUBLISHED.max_cost == (80_000 + 68_389 + 55_721 + 27_776 + 1) * 17_578_054_897
