"""Bodies into typed requests, and requests into views of the bytes that would be signed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import (
    MalformedTransaction,
    MalformedTypedData,
    Speed,
    UnsignedTransaction,
    decode_unsigned,
    to_checksum,
)
from lockstep.custody.view import (
    Method,
    MethodNotOffered,
    PersonalSign,
    RpcInvalid,
    SendTransaction,
    SignTransaction,
    SignTypedData,
    WrongSender,
    parse_rpc,
    view_message,
    view_request,
    view_transaction,
)
from lockstep.kit.errors import LockstepError

WALLET, SHOP = "0x" + "11" * 20, "0x" + "bb" * 20
NUMBERS = {"nonce": 7, "gas_limit": "0x5208", "max_fee_per_gas": "1000000000", "max_priority_fee_per_gas": 1}
MAIL: dict[str, Any] = {
    "types": {"Mail": [{"name": "to", "type": "address"}, {"name": "tip", "type": "uint256"}]},
    "primary_type": "Mail",
    "domain": {"name": "Post", "chainId": 31337},
    "message": {"to": SHOP, "tip": "5"},
}


def body(method: str, transaction: Any = None, **envelope: Any) -> dict[str, Any]:
    return {"method": method, "caip2": "eip155:31337", "params": {"transaction": transaction}, **envelope}


def send(**transaction: Any) -> dict[str, Any]:
    return body("eth_sendTransaction", transaction)


def sign(**transaction: Any) -> dict[str, Any]:
    return body("eth_signTransaction", {**NUMBERS, **transaction})


def paths(given_body: Any) -> list[str]:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc(given_body)
    assert (caught.value.code, caught.value.http_status) == ("rpc_invalid", 422)
    return [fault.path for fault in caught.value.faults]


def test_parse_rpc__transaction_to_send__leaves_open_what_was_left_out() -> None:
    request = parse_rpc(send(to=SHOP, value="1000000000000000000"))

    assert isinstance(request, SendTransaction)
    assert request.chain == "eip155:31337"
    assert (request.draft.to, request.draft.value, request.draft.data) == (SHOP, 10**18, b"")
    assert (request.draft.gas_limit, request.draft.max_fee_per_gas) == (None, None)


def test_parse_rpc__speed__is_for_sending_only() -> None:
    def with_speed(request: dict, speed: object) -> dict:
        return {**request, "params": {**request["params"], "speed": speed}}

    request = parse_rpc(with_speed(send(to=SHOP), "fast"))
    assert isinstance(request, SendTransaction)
    assert request.speed is Speed.FAST
    assert parse_rpc(send(to=SHOP)) == parse_rpc(with_speed(send(to=SHOP), "standard"))
    for wrong in ("now", None, 3, ["fast"]):
        assert paths(with_speed(send(to=SHOP), wrong)) == ["params.speed"]
    assert paths(with_speed(sign(to=SHOP), "fast")) == ["params.speed"]


def test_parse_rpc__private__is_for_sending_only_and_open_when_left_out() -> None:
    def with_private(request: dict, private: object) -> dict:
        return {**request, "params": {**request["params"], "private": private}}

    for said in (True, False):
        request = parse_rpc(with_private(send(to=SHOP), said))
        assert isinstance(request, SendTransaction)
        assert request.is_private is said
    assert parse_rpc(send(to=SHOP)).is_private is None  # type: ignore[union-attr]  # a transaction to send
    for wrong in ("true", None, 1):
        assert paths(with_private(send(to=SHOP), wrong)) == ["params.private"]
    assert paths(with_private(sign(to=SHOP), True)) == ["params.private"]


def test_parse_rpc__quantities__hex_decimal_and_json_integers_mean_the_same() -> None:
    values = [parse_rpc(send(to=SHOP, value=one)) for one in ("0xff", "255", 255)]

    assert values[0] == values[1] == values[2]


def test_parse_rpc__pure_signing__demands_every_number() -> None:
    bare = body("eth_signTransaction", {"to": SHOP})

    assert paths(bare) == [f"params.transaction.{name}" for name in sorted(NUMBERS)]
    request = parse_rpc(sign(to=SHOP))
    assert isinstance(request, SignTransaction)
    assert (request.transaction.nonce, request.transaction.gas_limit) == (7, 21_000)


def test_parse_rpc__legacy_transaction__is_signed_but_not_sent() -> None:
    numbers = {"nonce": 0, "gas_limit": 21_000, "gas_price": "5", "to": SHOP}
    request = parse_rpc(body("eth_signTransaction", numbers))

    assert isinstance(request, SignTransaction)
    assert (request.transaction.type, request.transaction.max_fee_per_gas) == (0, 5)
    assert paths(body("eth_sendTransaction", {"to": SHOP, "gas_price": "5"})) == ["params.transaction.gas_price"]
    assert paths(body("eth_signTransaction", {**numbers, "type": 2})) == ["params.transaction.type"]


@pytest.mark.parametrize("field", ["authorization_list", "access_list", "sponsor", "gas", "chainId", "blob_hashes"])
def test_parse_rpc__unknown_member__is_named(field: str) -> None:
    assert paths(send(to=SHOP, **{field: []})) == [f"params.transaction.{field}"]


def test_parse_rpc__several_faults__are_reported_together() -> None:
    wrong = body("eth_sendTransaction", {"to": "0x12", "value": "01", "data": "0xabc", "gas_limit": 2**64, "nonce": 1})
    wrong["extra"] = True
    wrong["chain_type"] = "solana"
    assert set(paths(wrong)) == {"extra", "chain_type"}
    del wrong["extra"], wrong["chain_type"]
    assert set(paths(wrong)) == {f"params.transaction.{name}" for name in ("to", "value", "data", "gas_limit", "nonce")}


def test_parse_rpc__gas_limit__is_one_that_a_row_can_hold() -> None:
    assert isinstance(parse_rpc(send(to=SHOP, gas_limit=str(2**63 - 1))), SendTransaction)
    assert paths(send(to=SHOP, gas_limit=str(2**63))) == ["params.transaction.gas_limit"]


def test_parse_rpc__chain__must_be_given_once_and_agree() -> None:
    assert paths({"method": "eth_sendTransaction", "params": {"transaction": {"to": SHOP}}}) == ["caip2"]
    assert paths(body("eth_sendTransaction", {"to": SHOP}, caip2="cardano:1")) == ["caip2"]
    assert paths(body("eth_sendTransaction", {"to": SHOP}, caip2=31337)) == ["caip2"]
    assert paths(send(to=SHOP, chain_id=1)) == ["params.transaction.chain_id"]
    without = body("eth_signTransaction", {**NUMBERS, "to": SHOP})
    del without["caip2"]
    assert paths(without) == ["params.transaction.chain_id"]
    without["params"]["transaction"]["chain_id"] = 31337
    assert parse_rpc(without) == parse_rpc(sign(to=SHOP))


def test_parse_rpc__neither_recipient_nor_code__is_refused() -> None:
    assert paths(send(value="1")) == ["params.transaction.to"]
    assert paths(send(value="1", to=None)) == ["params.transaction.to"]
    assert paths(send(value="1", to="")) == ["params.transaction.to"]


def test_parse_rpc__data_above_128_kib__is_refused() -> None:
    assert paths(send(to=SHOP, data="0x" + "00" * 131_073)) == ["params.transaction.data"]
    assert paths({"method": "personal_sign", "params": {"message": "x" * 131_073}}) == ["params.message"]


def test_parse_rpc__numbers_that_do_not_hold_together__are_refused() -> None:
    with pytest.raises(MalformedTransaction):
        parse_rpc(send(to=SHOP, max_fee_per_gas="1", max_priority_fee_per_gas="2"))
    with pytest.raises(MalformedTransaction):
        parse_rpc(sign(to=SHOP, gas_limit=20_999))
    with pytest.raises(MalformedTransaction):
        view_request(parse_rpc(send(to=SHOP, gas_limit=20_999)), WALLET)


def test_parse_rpc__message__encoding_must_be_clear() -> None:
    def message(**params: Any) -> dict[str, Any]:
        return {"method": "personal_sign", "params": params}

    assert parse_rpc(message(message="hi")) == PersonalSign(content=b"hi")
    assert parse_rpc(message(message="0x6869", encoding="hex")) == PersonalSign(content=b"hi")
    assert parse_rpc(message(message="0x6869", encoding="utf-8")) == PersonalSign(content=b"0x6869")
    assert paths(message(message="0x" + "ab" * 32)) == ["params.encoding"]
    assert paths(message(message="hi", encoding="base64")) == ["params.encoding"]
    assert paths(message(message="0xabc", encoding="hex")) == ["params.message"]
    assert paths(message(message=5)) == ["params.message"]
    assert paths(message(message="\ud800")) == ["params.message"]
    assert paths({**message(message="hi"), "caip2": "eip155:1"}) == ["caip2"]


def test_parse_rpc__typed_data__takes_both_spellings_of_the_primary_type() -> None:
    camel = {("primaryType" if name == "primary_type" else name): part for name, part in MAIL.items()}
    one, other = (
        parse_rpc({"method": "eth_signTypedData_v4", "params": {"typed_data": document}}) for document in (MAIL, camel)
    )

    assert isinstance(one, SignTypedData)
    assert one == other
    assert set(one.document) == {"types", "primaryType", "domain", "message"}
    both = {**MAIL, "primaryType": "Mail"}
    assert paths({"method": "eth_signTypedData_v4", "params": {"typed_data": both}}) == [
        "params.typed_data.primary_type"
    ]


def test_parse_rpc__typed_data_that_does_not_hold__is_refused() -> None:
    wrong = {**MAIL, "message": {"to": SHOP}}
    with pytest.raises(MalformedTypedData):
        parse_rpc({"method": "eth_signTypedData_v4", "params": {"typed_data": wrong}})


def test_parse_rpc__more_faults_than_anybody_reads__are_counted_and_not_all_listed() -> None:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc({"method": "personal_sign", "params": {f"k{number}": 1 for number in range(10_000)}})

    assert len(json.dumps(caught.value.problem())) < 10_000
    assert caught.value.detail.endswith("(and 10000 more)")


def test_parse_rpc__preview_digest__is_carried_when_it_is_one() -> None:
    digest = "0x" + "ab" * 32

    assert parse_rpc({**send(to=SHOP), "preview_digest": digest}).preview_digest == digest
    assert paths({**send(to=SHOP), "preview_digest": digest.upper()}) == ["preview_digest"]


@pytest.mark.parametrize(
    "wrong", [None, [], "x", 5, {}, {"method": "personal_sign"}, {"method": "personal_sign", "params": []}]
)
def test_parse_rpc__not_an_envelope__is_refused(wrong: Any) -> None:
    paths(wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    method=st.sampled_from([*Method, "eth_sign"]),
    name=st.sampled_from(["transaction", "typed_data", "message", "encoding", "x"]),
    key=st.sampled_from(["to", "value", "data", "type", "types", "primary_type", "domain", "message", "nonce"]),
    value=json_values,
    flat=st.booleans(),
)
def test_parse_rpc__any_json__is_read_or_refused_by_our_own_errors(
    method: str, name: str, key: str, value: Any, flat: bool
) -> None:
    document = {"method": method, "caip2": "eip155:1", "params": {name: value if flat else {**MAIL, key: value}}}
    for candidate in (document, value, {**document, "caip2": value}):
        try:
            view_request(parse_rpc(candidate), WALLET)
        except LockstepError as error:
            assert error.http_status == 422
            json.dumps(error.problem())


def test_view_request__other_sender__is_refused() -> None:
    with pytest.raises(WrongSender):
        view_request(parse_rpc(send(**{"to": SHOP, "from": SHOP})), WALLET)
    assert view_request(parse_rpc(send(**{"to": SHOP, "from": WALLET})), WALLET).from_address == WALLET


def test_view_request__transaction_to_sign__shows_what_its_bytes_say() -> None:
    view = view_request(parse_rpc(sign(to=SHOP, value="5", data="0xa9059cbb", gas_limit=100_000)), WALLET)

    assert view.payload is not None
    assert decode_unsigned(view.payload) == view.transaction
    source = "ethereum_transaction."
    assert dict(view.fields) == {
        source + "to": SHOP,
        source + "from": WALLET,
        source + "value": 5,
        source + "chain_id": 31337,
        source + "data": bytes.fromhex("a9059cbb"),
        source + "function_selector": bytes.fromhex("a9059cbb"),
        source + "nonce": 7,
        source + "gas_limit": 100_000,
        source + "max_fee_per_gas": 10**9,
        source + "max_priority_fee_per_gas": 1,
        source + "type": 2,
    }
    with pytest.raises(TypeError):
        view.fields[source + "to"] = WALLET  # type: ignore[index]


def test_view_request__digest__is_the_one_that_eth_account_signs() -> None:
    account = Account.from_key("0x" + "01" * 32)
    view = view_request(parse_rpc(sign(to=SHOP, value="5")), account.address.lower())
    signed = account.sign_transaction(
        {
            "type": 2,
            "chainId": 31337,
            "nonce": 7,
            "to": to_checksum(SHOP),
            "value": 5,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": 10**9,
            "maxPriorityFeePerGas": 1,
        }
    )
    assert view.digest is not None
    assert account.unsafe_sign_hash(view.digest).signature[:64] == (
        signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big")
    )
    message = view_message(b"hi \xff", account.address.lower())
    assert message.digest is not None
    assert (
        account.unsafe_sign_hash(message.digest).signature == account.sign_message(encode_defunct(b"hi \xff")).signature
    )
    typed = view_request(parse_rpc({"method": "eth_signTypedData_v4", "params": {"typed_data": MAIL}}), WALLET)
    theirs = encode_typed_data(MAIL["domain"], MAIL["types"], MAIL["message"])
    assert typed.digest is not None
    assert account.unsafe_sign_hash(typed.digest).signature == account.sign_message(theirs).signature


def test_view_request__contract_creation__has_no_recipient_and_no_selector() -> None:
    view = view_request(parse_rpc(send(data="0x6001600055")), WALLET)

    assert "ethereum_transaction.to" not in view.fields
    assert "ethereum_transaction.function_selector" not in view.fields
    assert view.calldata is None


def test_view_request__draft__holds_no_fact_for_what_is_open() -> None:
    view = view_request(parse_rpc(send(to=SHOP, gas_limit=50_000)), WALLET)

    assert view.open_fields == ("nonce", "max_fee_per_gas", "max_priority_fee_per_gas")
    assert view.fields["ethereum_transaction.gas_limit"] == 50_000
    assert not {"ethereum_transaction.nonce", "ethereum_transaction.max_fee_per_gas"} & set(view.fields)
    assert (view.payload, view.digest) == (None, None)


def test_view_transaction__queued_one_with_its_nonce__is_still_a_send() -> None:
    transaction = UnsignedTransaction(
        chain_id=1, nonce=3, to=SHOP, value=0, data=b"", gas_limit=21_000, max_fee_per_gas=2, max_priority_fee_per_gas=1
    )
    view = view_transaction(transaction, WALLET, Method.SEND_TRANSACTION)

    assert view.method == "eth_sendTransaction"
    assert view.fields["ethereum_transaction.nonce"] == 3


def test_request_view__address_that_is_not_lower_case__is_refused() -> None:
    with pytest.raises(ValueError, match="lower case"):
        view_message(b"hi", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def test_method_not_offered__names_what_is() -> None:
    with pytest.raises(MethodNotOffered, match="eth_signTypedData_v4"):
        parse_rpc({"method": "eth_sign", "params": {}})
