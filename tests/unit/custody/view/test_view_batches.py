"""Calls of wallet_sendCalls: the transaction that they stand for, the calls that policies see, and words."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.chains.evm import MalformedTransaction, UnsignedTransaction, abi_decode, to_checksum
from lockstep.custody.view import (
    BATCH_MODE,
    ChainFact,
    Method,
    RequestView,
    RpcInvalid,
    SendTransaction,
    WordFacts,
    describe,
    parse_rpc,
    sent_draft,
    view_request,
    view_sent,
)

WALLET, SHOP, OTHER = ("0x" + pair * 20 for pair in ("11", "bb", "cc"))
ONE = "eip155:31337"
FACTS = WordFacts(chains={ONE: ChainFact("Devnet One")})


def body(*calls: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"method": "wallet_sendCalls", "caip2": ONE, "params": {"calls": list(calls), **params}}


PAIR = ({"to": SHOP, "value": "5"}, {"to": OTHER, "data": "0xdeadbeef"})


def parsed(given: dict[str, Any]) -> SendTransaction:
    request = parse_rpc(given)
    assert isinstance(request, SendTransaction)
    return request


def view(*calls: dict[str, Any]) -> RequestView:
    return view_request(parsed(body(*calls)), WALLET)


def paths(given: Any) -> list[str]:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc(given)
    return [fault.path.removeprefix("params.") for fault in caught.value.faults]


def test_draft__several_calls__are_the_batch_form_of_erc_7821() -> None:
    draft = sent_draft(parsed(body(*PAIR)), WALLET)

    assert (draft.to, draft.value) == (WALLET, 0)
    mode, packed = abi_decode(["bytes32", "bytes"], draft.data[4:])
    assert (draft.data[:4].hex(), mode) == ("e9ae5c53", BATCH_MODE)
    (calls,) = abi_decode(["(address,uint256,bytes)[]"], packed)
    assert [(to.lower(), value, data.hex()) for to, value, data in calls] == [(SHOP, 5, ""), (OTHER, 0, "deadbeef")]


def test_draft__one_call__is_made_as_it_is() -> None:
    draft = sent_draft(parsed(body(PAIR[0])), WALLET)
    assert (draft.to, draft.value, draft.data) == (SHOP, 5, b"")


def test_view__calls__are_decided_on_one_by_one() -> None:
    shown = view(*PAIR)

    assert shown.method is Method.SEND_CALLS
    first, second = shown.decided
    source = "ethereum_transaction."
    common = {source + "from": WALLET, source + "chain_id": 31337}
    assert dict(first.fields) == {**common, source + "to": SHOP, source + "value": 5, source + "data": b""}
    assert second.fields[source + "function_selector"] == second.calldata == bytes.fromhex("deadbeef")
    assert [part.method for part in shown.decided] == [Method.SEND_CALLS] * 2
    (single,) = view(PAIR[1]).decided
    assert dict(single.fields) == dict(second.fields)


def test_view__queued_transaction__shows_the_same_calls_as_the_request() -> None:
    for calls in (PAIR, PAIR[:1], PAIR[1:]):
        request = parsed(body(*calls))
        draft = sent_draft(request, WALLET)
        queued = UnsignedTransaction(
            chain_id=31337,
            nonce=3,
            to=draft.to,
            value=draft.value,
            data=draft.data,
            gas_limit=200_000,
            max_fee_per_gas=2,
            max_priority_fee_per_gas=1,
        )
        signed, asked = view_sent(queued, WALLET, Method.SEND_CALLS), view_request(request, WALLET)
        assert [dict(part.fields) for part in signed.decided] == [dict(part.fields) for part in asked.decided]
        assert signed.digest == queued.digest()


def test_view__call_of_the_account_itself__is_unwrapped_or_shown_as_it_is() -> None:
    inner = sent_draft(parsed(body(*PAIR)), WALLET)
    wrapped = view({"to": WALLET, "data": "0x" + inner.data.hex()})
    assert [part.fields["ethereum_transaction.to"] for part in wrapped.decided] == [SHOP, OTHER]
    unread = view({"to": WALLET, "data": "0xdeadbeef"})
    assert [part.fields["ethereum_transaction.to"] for part in unread.decided] == [WALLET]


def test_parse__calls_that_do_not_hold__are_named() -> None:
    assert paths(body()) == ["calls"]
    assert paths(body(*[{"to": SHOP}] * 51)) == ["calls"]
    assert paths(body({"value": "1"})) == ["calls[0].to"]
    assert paths(body(*PAIR, {"to": "0x12"})) == ["calls[2].to"]
    assert paths(body({"to": "0x" + "00" * 20})) == ["calls[0].to"]
    assert paths(body({"to": SHOP, "gas": 1})) == ["calls[0].gas"]
    assert paths(body({"to": SHOP, "value": -1})) == ["calls[0].value"]
    assert paths(body({"to": SHOP, "data": "0x" + "00" * 100_000}, {"to": SHOP, "data": "0x" + "00" * 40_000})) == [
        "calls"
    ]
    assert paths(body(PAIR[0], speed="now", private=1)) == ["speed", "private"]
    without = body(*PAIR)
    del without["caip2"]
    assert paths(without) == ["caip2"]
    with pytest.raises(MalformedTransaction):  # what stands around the calls makes it larger than nodes take
        view({"to": SHOP, "data": "0x" + "01" * 131_000}, {"to": SHOP})


def test_describe__calls__say_that_all_or_none_are_made() -> None:
    words = describe(view(*PAIR), FACTS)
    assert words.sentence == (
        f"All or nothing on Devnet One (eip155:31337): send 0.000000000000000005 ETH to {to_checksum(SHOP)}; then call "
        f"an unknown function 0xdeadbeef of {to_checksum(OTHER)}"
    )
    assert [detail.label for detail in words.details] == ["Chain", "From", "Call 1", "Call 2"]
    assert "not known" in words.warnings[0]
    single = describe(view(PAIR[0]), FACTS)
    assert single.sentence == f"Send 0.000000000000000005 ETH to {to_checksum(SHOP)} on Devnet One (eip155:31337)"
