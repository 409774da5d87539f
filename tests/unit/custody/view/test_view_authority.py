"""Transactions of types 1, 3 and 4 and EIP-7702 authorizations: from the body to the bytes, and in words."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account

from lockstep.chains.evm import MalformedTransaction, decode_unsigned, to_checksum
from lockstep.custody.view import (
    ChainFact,
    Method,
    RpcInvalid,
    SignAuthorization,
    SignTransaction,
    WordFacts,
    describe,
    parse_rpc,
    view_request,
)

WALLET, SHOP, CODE = "0x" + "11" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20
OTHER = Account.from_key("0x" + "46" * 32)
ONE = "eip155:31337"
HASH = "0x01" + "00" * 31
FACTS = WordFacts(chains={ONE: ChainFact("Devnet One")})
FEES = {"max_fee_per_gas": "1000000000", "max_priority_fee_per_gas": 1}


def sign(**transaction: Any) -> dict[str, Any]:
    plain = {"nonce": 7, "gas_limit": 100_000, "to": SHOP}
    return {"method": "eth_signTransaction", "caip2": ONE, "params": {"transaction": {**plain, **transaction}}}


def authorize(**params: Any) -> dict[str, Any]:
    plain = {"chain_id": 31337, "contract": CODE, "nonce": 7}
    return {"method": "eth_sign7702Authorization", "params": {**plain, **params}}


def signed(nonce: int = 3, **changes: Any) -> dict[str, Any]:
    given = OTHER.sign_authorization({"chainId": 31337, "address": CODE, "nonce": nonce})
    signature = {"y_parity": given.y_parity, "r": f"0x{given.r:064x}", "s": f"0x{given.s:064x}"}
    return {"chain_id": 31337, "contract": CODE, "nonce": nonce, **signature, **changes}


def paths(body: Any) -> list[str]:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc(body)
    return [fault.path.removeprefix("params.").removeprefix("transaction.") for fault in caught.value.faults]


def kind(body: Any) -> int:
    request = parse_rpc(body)
    assert isinstance(request, SignTransaction)
    assert decode_unsigned(request.transaction.signing_payload()) == request.transaction
    return request.transaction.type


LISTED = [{"address": SHOP, "storage_keys": ["0x" + "00" * 32]}, {"address": CODE, "storage_keys": []}]


def test_parse_rpc__type__follows_from_the_members() -> None:
    blobs = {"max_fee_per_blob_gas": "5", "blob_versioned_hashes": [HASH]}

    assert kind(sign(gas_price="5")) == 0
    assert kind(sign(gas_price="5", access_list=LISTED)) == 1
    assert kind(sign(gas_price="5", type=1)) == 1
    assert kind(sign(**FEES, access_list=LISTED)) == 2
    assert kind(sign(**FEES, **blobs)) == 3
    assert kind(sign(**FEES, authorization_list=[signed()], access_list=LISTED)) == 4


@pytest.mark.parametrize(
    ("transaction", "fault"),
    [
        ({**FEES, "type": 1}, "type"),
        ({**FEES, "type": 4}, "type"),
        ({"gas_price": "5", "access_list": LISTED, "type": 0}, "type"),
        ({**FEES, "authorization_list": [signed()], "type": 2}, "type"),
        ({"gas_price": "5", "max_fee_per_gas": "5"}, "max_fee_per_gas"),
        ({**FEES, "authorization_list": []}, "authorization_list"),
        ({**FEES, "authorization_list": {}}, "authorization_list"),
        ({**FEES, "authorization_list": [signed()] * 257}, "authorization_list"),
        ({**FEES, "authorization_list": [signed(y_parity=2)]}, "authorization_list[0].y_parity"),
        ({**FEES, "authorization_list": [signed(r="0x00")]}, "authorization_list[0]"),
        ({**FEES, "authorization_list": [signed(r=5)]}, "authorization_list[0].r"),
        ({**FEES, "authorization_list": [signed(destination=SHOP)]}, "authorization_list[0].destination"),
        ({**FEES, "access_list": [{"address": SHOP}]}, "access_list[0].storage_keys"),
        ({**FEES, "access_list": [{"address": SHOP, "storage_keys": ["0x00"]}]}, "access_list[0].storage_keys[0]"),
        ({**FEES, "access_list": "0x"}, "access_list"),
        ({**FEES, "blob_versioned_hashes": [HASH]}, "max_fee_per_blob_gas"),
        ({**FEES, "max_fee_per_blob_gas": "1"}, "blob_versioned_hashes"),
        ({**FEES, "max_fee_per_blob_gas": "1", "blob_versioned_hashes": ["0x"]}, "blob_versioned_hashes[0]"),
        ({**FEES, "max_fee_per_blob_gas": "1", "blob_versioned_hashes": [HASH], "blobs": []}, "blobs"),
    ],
)
def test_parse_rpc__list_that_does_not_hold__is_named(transaction: dict[str, Any], fault: str) -> None:
    assert fault in paths(sign(**transaction))


def test_parse_rpc__blob_of_an_unknown_version__is_refused() -> None:
    with pytest.raises(MalformedTransaction):
        parse_rpc(sign(**FEES, max_fee_per_blob_gas="1", blob_versioned_hashes=["0x02" + "00" * 31]))


def test_parse_rpc__gas_below_what_lists_cost__is_refused() -> None:
    for least, lists in (
        (21_000 + 2 * 2_400 + 1_900, {"access_list": LISTED}),
        (46_000, {"authorization_list": [signed()]}),
    ):
        assert kind(sign(**FEES, **lists, gas_limit=least))
        with pytest.raises(MalformedTransaction):
            parse_rpc(sign(**FEES, **lists, gas_limit=least - 1))


def test_parse_rpc__authorization__executed_by_the_account_itself_takes_the_next_nonce() -> None:
    plain, own = parse_rpc(authorize()), parse_rpc(authorize(executor="self"))

    assert isinstance(plain, SignAuthorization)
    assert isinstance(own, SignAuthorization)
    assert (plain.authorization.nonce, own.authorization.nonce) == (7, 8)
    assert (plain.is_self_executed, own.is_self_executed) == (False, True)


def test_parse_rpc__authorization_that_leaves_anything_open__is_refused() -> None:
    for name in ("chain_id", "contract", "nonce"):
        without = authorize()
        del without["params"][name]
        assert paths(without) == [name]
    assert paths(authorize(executor="other")) == ["executor"]
    assert paths(authorize(contract="0x12")) == ["contract"]
    assert paths(authorize(nonce=-1)) == ["nonce"]
    assert paths({**authorize(), "caip2": ONE}) == ["caip2"]
    assert paths(authorize(delegate=CODE)) == ["delegate"]


def test_view_request__authorization__shows_what_its_bytes_say() -> None:
    view = view_request(parse_rpc(authorize()), WALLET)

    source = "ethereum_7702_authorization."
    assert dict(view.fields) == {
        source + "contract": CODE,
        source + "chain_id": 31337,
        source + "nonce": 7,
        source + "authority": WALLET,
    }
    assert view.digest is not None
    account = Account.from_key("0x" + "01" * 32)
    theirs = account.sign_authorization({"chainId": 31337, "address": CODE, "nonce": 7})
    assert bytes(theirs.authorization_hash) == view.digest


def test_view_request__transaction_with_authorizations__stands_for_each_of_them() -> None:
    view = view_request(parse_rpc(sign(**FEES, authorization_list=[signed(), signed(4)], gas_limit=200_000)), WALLET)

    assert [part.method for part in view.decided] == [Method.SIGN_TRANSACTION, *[Method.SIGN_AUTHORIZATION] * 2]
    assert view.decided[0].digest == view.digest
    assert view.decided[1].fields["ethereum_7702_authorization.authority"] == OTHER.address.lower()
    assert [part.fields["ethereum_7702_authorization.nonce"] for part in view.decided[1:]] == [3, 4]
    alone = view_request(parse_rpc(sign(**FEES)), WALLET)
    assert alone.decided == (alone,)


def test_describe__authorization__says_that_the_account_is_handed_over() -> None:
    words = describe(view_request(parse_rpc(authorize()), WALLET), FACTS)
    assert words.sentence == (
        f"Let account {to_checksum(WALLET)} run the code of {to_checksum(CODE)} on Devnet One (eip155:31337)"
    )
    assert "everything with the account" in words.warnings[0]
    everywhere = describe(view_request(parse_rpc(authorize(chain_id=0)), WALLET), FACTS)
    assert everywhere.sentence.endswith("on every chain")
    assert any("every chain" in line for line in everywhere.warnings)
    back = describe(view_request(parse_rpc(authorize(contract="0x" + "00" * 20)), WALLET), FACTS)
    assert back.sentence.startswith(f"Take back the delegation of account {to_checksum(WALLET)}")
    assert back.warnings == ()


def test_describe__transaction__names_blobs_lists_and_authorizations() -> None:
    blobs = sign(**FEES, max_fee_per_blob_gas="2", blob_versioned_hashes=[HASH, HASH], access_list=LISTED)
    words = describe(view_request(parse_rpc(blobs), WALLET), FACTS)
    shown = {detail.label: detail for detail in words.details}
    assert words.sentence.endswith("on Devnet One (eip155:31337), with 2 blobs of data")
    assert shown["Blob fee at most"].value == "0.000000000000524288 ETH"
    assert [child.value for child in shown["Blobs"].children] == [HASH, HASH]
    assert [child.label for child in shown["Access list"].children] == [to_checksum(SHOP), to_checksum(CODE)]

    delegating = sign(**FEES, authorization_list=[signed()])
    words = describe(view_request(parse_rpc(delegating), WALLET), FACTS)
    assert f"; and let account {OTHER.address} run the code of {to_checksum(CODE)}" in words.sentence
    assert "everything with the account" in words.warnings[0]
