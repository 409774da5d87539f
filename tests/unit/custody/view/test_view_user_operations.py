"""User operations: from the body to the bytes, to the calls that policies see, and in words."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.chains.evm import MalformedTransaction, abi_encode, abi_encode_call, personal_digest, to_checksum
from lockstep.custody.view import (
    ChainFact,
    Method,
    RequestView,
    RpcInvalid,
    TokenFact,
    WordFacts,
    describe,
    parse_rpc,
    view_request,
)

WALLET, ACCOUNT, SHOP, TOKEN = ("0x" + pair * 20 for pair in ("11", "5a", "bb", "aa"))
ENTRY_POINT = "0x0000000071727de22e5e9d8baf0edac6f37da032"
ONE = "eip155:31337"
FACTS = WordFacts(chains={ONE: ChainFact("Devnet One")}, tokens={(ONE, TOKEN): TokenFact("TKA", 0)})
NUMBERS = {
    "nonce": "0x10",
    "call_gas_limit": "80000",
    "verification_gas_limit": 70_000,
    "pre_verification_gas": 50_000,
    "max_fee_per_gas": "10",
    "max_priority_fee_per_gas": 1,
}


def body(call_data: bytes = b"", contract: str = ENTRY_POINT, **operation: Any) -> dict[str, Any]:
    plain = {"sender": ACCOUNT, "call_data": "0x" + call_data.hex(), **NUMBERS}
    params = {"chain_id": 31337, "contract": contract, "user_operation": {**plain, **operation}}
    return {"method": "eth_signUserOperation", "params": params}


def view(call_data: bytes, **operation: Any) -> RequestView:
    return view_request(parse_rpc(body(call_data, **operation)), WALLET)


def paths(given: Any) -> list[str]:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc(given)
    return [fault.path.removeprefix("params.").removeprefix("user_operation.") for fault in caught.value.faults]


TRANSFER = abi_encode_call("transfer(address,uint256)", [SHOP, 25])
BATCH = abi_encode_call("executeBatch(address[],uint256[],bytes[])", [[TOKEN, SHOP], [0, 10**18], [TRANSFER, b""]])
MODULAR = abi_encode_call(
    "execute(bytes32,bytes)",
    [b"\x01" + bytes(31), abi_encode(["(address,uint256,bytes)[]"], [[(TOKEN, 0, TRANSFER), (SHOP, 10**18, b"")]])],
)


@pytest.mark.parametrize("call_data", [BATCH, MODULAR])
def test_view__calls_of_the_account__are_shown_one_by_one(call_data: bytes) -> None:
    shown = view(call_data)

    assert (shown.method, shown.chain) == (Method.SIGN_USER_OPERATION, ONE)
    first, second = shown.decided
    source = "ethereum_transaction."
    assert (first.fields[source + "to"], first.fields[source + "value"]) == (TOKEN, 0)
    assert first.fields[source + "function_selector"] == TRANSFER[:4]
    assert first.arguments(("address", "uint256")) == (SHOP, 25)
    assert (second.fields[source + "to"], second.fields[source + "value"]) == (SHOP, 10**18)
    assert source + "function_selector" not in second.fields
    assert second.arguments(("address", "uint256")) is None
    for part in (first, second):
        assert part.fields[source + "from"] == part.fields["ethereum_user_operation.sender"] == ACCOUNT
        assert part.fields["ethereum_user_operation.max_cost"] == 2_000_000
        assert part.fields[source + "chain_id"] == 31337
        assert not {"ethereum_user_operation.factory", "ethereum_user_operation.paymaster"} & set(part.fields)


@pytest.mark.parametrize(
    "call_data",
    [
        b"",
        b"\xde\xad\xbe\xef",
        BATCH[:-1],
        BATCH + bytes(32),
        abi_encode_call("executeBatch(address[],bytes[])", [[], []]),
    ],
)
def test_view__data_that_cannot_be_read__has_no_facts_about_calls(call_data: bytes) -> None:
    shown = view(call_data)

    assert shown.decided == (shown,)
    assert shown.call is None
    assert not {f"ethereum_transaction.{name}" for name in ("to", "value", "data", "function_selector")} & set(
        shown.fields
    )


def test_view__digest__is_that_of_the_operation_as_a_message() -> None:
    request = parse_rpc(body(BATCH))
    assert view_request(request, WALLET).digest == personal_digest(request.operation.hash())  # type: ignore[union-attr]


def test_parse__members_that_do_not_hold__are_named() -> None:
    without = body()
    del without["params"]["user_operation"]["nonce"], without["params"]["contract"]
    assert paths(without) == ["contract", "nonce"]
    assert paths(body(signature="0x")) == ["signature"]
    assert paths(body(init_code="0x")) == ["init_code"]
    assert paths(body(call_gas_limit=str(2**128))) == ["call_gas_limit"]
    assert paths(body(sender="0x12")) == ["sender"]
    assert paths(body(sender=None, nonce=None)) == ["sender", "nonce"]
    assert paths({**body(), "caip2": ONE}) == ["caip2"]
    for wrong in (
        body(factory_data="0x12"),
        body(paymaster_data="0x12"),
        body(contract="0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789"),
        body(max_priority_fee_per_gas=11),
    ):
        with pytest.raises(MalformedTransaction):
            parse_rpc(wrong)


def test_parse__factory_and_paymaster__may_be_null_or_given() -> None:
    assert parse_rpc(body(factory=None, paymaster=None)) == parse_rpc(body())
    given = view(BATCH, factory=SHOP, factory_data="0x12", paymaster=TOKEN, paymaster_post_op_gas_limit=1)
    assert given.decided[0].fields["ethereum_user_operation.factory"] == SHOP
    assert given.decided[0].fields["ethereum_user_operation.paymaster"] == TOKEN


def test_describe__calls__are_told_in_order() -> None:
    words = describe(view(BATCH), FACTS)
    assert words.sentence == (
        f"Let account {to_checksum(ACCOUNT)} do this on Devnet One (eip155:31337): send 25 TKA (token "
        f"{to_checksum(TOKEN)}) to {to_checksum(SHOP)}; then send 1 ETH to {to_checksum(SHOP)}"
    )
    shown = {detail.label: detail for detail in words.details}
    assert shown["Call 2"].children[0].label == "To"
    assert shown["Gas fee at most"].value == "0.000000000002 ETH"
    many = abi_encode_call("executeBatch(address[],bytes[])", [[SHOP] * 5, [b""] * 5])
    assert describe(view(many), FACTS).sentence.endswith("; then 2 more calls")


def test_describe__what_cannot_be_read__says_so() -> None:
    words = describe(view(b"\xde\xad\xbe\xef"), FACTS)
    assert words.sentence.endswith("run its own code in a way that cannot be read")
    assert "not known" in words.warnings[0]
    other = describe(view_request(parse_rpc(body(BATCH, contract=SHOP)), WALLET), FACTS)
    assert any("entry point" in line for line in other.warnings)
