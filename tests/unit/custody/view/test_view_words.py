from __future__ import annotations

import json
from typing import Any

import pytest

from lockstep.chains.evm import Contract, abi_encode_call, to_checksum
from lockstep.custody.view import ChainFact, TokenFact, WordFacts, Words, describe, parse_rpc, view_request
from lockstep.custody.view.orders import ORDER

WALLET, SHOP, FACTORY = "0x" + "11" * 20, "0x" + "bb" * 20, "0x" + "fa" * 20
TKA, TKB, UNKNOWN = "0x" + "aa" * 20, "0x" + "ab" * 20, "0x" + "dd" * 20
ONE, TWO = "eip155:31337", "eip155:31338"
FACTS = WordFacts(
    chains={ONE: ChainFact("Devnet One"), TWO: ChainFact("Devnet Two")},
    tokens={(ONE, TKA): TokenFact("TKA", 18), (TWO, TKB): TokenFact("TKB", 6)},
    contracts={(ONE, FACTORY): "EscrowFactory"},
)
EXPIRY = 1_772_548_325  # 2026-03-03 14:32:05 UTC
shop, tka, tkb = to_checksum(SHOP), to_checksum(TKA), to_checksum(TKB)


def send(facts: WordFacts = FACTS, **transaction: Any) -> Words:
    body = {"method": "eth_sendTransaction", "caip2": ONE, "params": {"transaction": transaction}}
    return describe(view_request(parse_rpc(body), WALLET), facts)


def call(to: str, signature: str, *values: Any, **transaction: Any) -> Words:
    return send(to=to, data="0x" + abi_encode_call(signature, values).hex(), **transaction)


def typed(document: dict[str, Any]) -> Words:
    body = {"method": "eth_signTypedData_v4", "params": {"typed_data": document}}
    return describe(view_request(parse_rpc(body), WALLET), FACTS)


def order_message(**changes: Any) -> dict[str, Any]:
    return {
        "maker": WALLET,
        "sourceToken": TKA,
        "sourceAmount": str(1_000 * 10**18),
        "destination": {"chain": TWO, "factory": "0x" + "fb" * 20, "token": TKB, "receiver": WALLET},
        "price": {"startTime": 1, "duration": 60, "endAmount": "990000000", "initialRateBump": 0, "points": []},
        "deposits": {"source": "1", "destination": "1"},
        "timeLocks": dict.fromkeys(
            (
                "sourceWithdrawal",
                "sourcePublicWithdrawal",
                "sourceCancellation",
                "sourcePublicCancellation",
                "destinationWithdrawal",
                "destinationPublicWithdrawal",
                "destinationCancellation",
            ),
            1,
        ),
        "hashlockInfo": "0x" + "22" * 32,
        "allowedTakers": [],
        "nonce": "1",
        "expiry": EXPIRY,
        "extensionHash": "0x" + "00" * 32,
        **changes,
    }


def order(domain: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    given = {"name": "Lockstep", "version": "1", "chainId": 31337, "verifyingContract": FACTORY}
    return {"types": _types(), "primary_type": "Order", "domain": domain or given, "message": order_message(**changes)}


def _types() -> dict[str, list[dict[str, str]]]:
    types = {}
    for part in ORDER.split(")")[:-1]:
        name, _, members = part.partition("(")
        types[name] = [dict(zip(("type", "name"), one.split(" "), strict=True)) for one in members.split(",")]
    return types


def test_describe__native_coin__names_amount_recipient_and_chain() -> None:
    words = send(to=SHOP, value="1500000000000000000")

    assert words.sentence == f"Send 1.5 ETH to {shop} on Devnet One (eip155:31337)"
    assert words.warnings == ()


def test_describe__token_transfer__names_the_token_by_its_address_too() -> None:
    words = call(TKA, "transfer(address,uint256)", SHOP, 25 * 10**18)

    assert words.sentence == f"Send 25 TKA (token {tka}) to {shop} on Devnet One (eip155:31337)"


def test_describe__smallest_unit__is_never_shown_as_nothing() -> None:
    assert "0.000000000000000001 TKA" in call(TKA, "transfer(address,uint256)", SHOP, 1).sentence


def test_describe__allowances__say_how_much_and_warn_when_unlimited() -> None:
    approve = "approve(address,uint256)"

    assert call(TKA, approve, SHOP, 5 * 10**18).sentence.startswith(f"Allow {shop} to spend up to 5 TKA (token {tka})")
    assert call(TKA, approve, SHOP, 0).sentence.startswith(f"Take back the allowance of {shop} over TKA")
    unlimited = call(TKA, approve, SHOP, 2**256 - 1)
    assert f"spend an UNLIMITED amount of TKA (token {tka})" in unlimited.sentence
    assert any("unlimited" in warning for warning in unlimited.warnings)


def test_describe__unregistered_token__has_no_symbol_and_a_warning() -> None:
    words = call(UNKNOWN, "transfer(address,uint256)", SHOP, 25)

    assert words.sentence.startswith(
        f"Send 25 smallest units of the unregistered token {to_checksum(UNKNOWN)} to {shop}"
    )
    assert "not a token that is registered" in words.warnings[0]


def test_describe__unknown_call__is_called_unknown_with_its_raw_bytes() -> None:
    words = send(to=UNKNOWN, data="0xdeadbeef" + "00" * 32, value="1")

    assert words.sentence == (
        f"Call an unknown function 0xdeadbeef of {to_checksum(UNKNOWN)} with 32 bytes of arguments, "
        "sending 0.000000000000000001 ETH along on Devnet One (eip155:31337)"
    )
    assert any(detail.value == "0xdeadbeef" + "00" * 32 for detail in words.details)
    assert words.warnings == ("What this call does is not known here.",)


@pytest.mark.parametrize("tail", ["00", "", "f"])
def test_describe__known_selector_with_arguments_in_another_form__is_called_unknown(tail: str) -> None:
    data = abi_encode_call("transfer(address,uint256)", [SHOP, 25]).hex()
    changed = {"00": data + "00", "": data[:-2], "f": data[:8] + "ff" * 12 + data[32:]}[tail]

    assert send(to=TKA, data="0x" + changed).sentence.startswith("Call an unknown function 0xa9059cbb")


def test_describe__contract_creation__is_not_a_transfer_to_somebody() -> None:
    words = send(data="0x6001600055")

    assert words.sentence == "Create a contract from 5 bytes of code on Devnet One (eip155:31337)"
    assert any(detail.value == "a new contract" for detail in words.details)


def test_describe__unknown_chain__says_so_and_shows_wei() -> None:
    assert send(WordFacts(), to=SHOP, value="1500").sentence == (
        f"Send 1,500 of the smallest native unit (wei) to {shop} on the unknown chain eip155:31337"
    )


def test_describe__order__says_both_sides_receiver_and_deadline() -> None:
    words = typed(order())

    assert words.sentence == (
        f"Sign order: swap 1,000 TKA (token {tka}) on Devnet One (eip155:31337) for at least 990 TKB (token {tkb}) "
        f"on Devnet Two (eip155:31338) to {to_checksum(WALLET)}, until 2026-03-03 14:32:05 UTC"
    )
    assert words.warnings == ()
    json.dumps(words.to_json())


def test_describe__order_with_foreign_parts__warns_about_each() -> None:
    document = order(maker=SHOP, destination={"chain": TWO, "factory": "0x", "token": TKB, "receiver": SHOP})
    document["domain"] = {**document["domain"], "verifyingContract": UNKNOWN}

    assert len(typed(document).warnings) == 3


def test_describe__order_to_another_kind_of_chain__shows_raw_bytes() -> None:
    destination = {"chain": "cardano:1\u202e", "factory": "0x01", "token": "0x" + "07" * 28, "receiver": "0x0203"}
    sentence = typed(order(destination=destination)).sentence

    assert f'token 0x{"07" * 28} on the unknown chain "cardano:1\\u202e" to 0x0203' in sentence


def test_describe__permit__says_who_may_spend() -> None:
    types = {
        "Permit": [
            {"name": name, "type": "address" if name in ("owner", "spender") else "uint256"}
            for name in ("owner", "spender", "value", "nonce", "deadline")
        ]
    }
    message = {"owner": WALLET, "spender": SHOP, "value": str(2**256 - 1), "nonce": 0, "deadline": str(2**256 - 1)}
    domain = {"name": "TKA", "chainId": 31337, "verifyingContract": TKA}
    words = typed({"types": types, "primary_type": "Permit", "domain": domain, "message": message})

    assert words.sentence.startswith(f"Sign permit: allow {shop} to spend an UNLIMITED amount of TKA (token {tka})")
    assert "the end of time" in words.sentence
    assert len(words.warnings) == 1


def test_describe__other_typed_data__is_not_said_to_be_understood() -> None:
    types = {"Mail": [{"name": "text", "type": "string"}]}
    words = typed({"types": types, "primary_type": "Mail", "domain": {"name": "A\nB"}, "message": {"text": "x"}})

    assert words.sentence == 'Sign typed data "Mail" for "A\\x0aB", valid on any chain'
    assert words.warnings[0] == "What this signature allows is not known here."


def test_describe__message__is_quoted_and_hidden_letters_are_shown() -> None:
    def say(message: str, encoding: str = "utf-8") -> Words:
        body = {"method": "personal_sign", "params": {"message": message, "encoding": encoding}}
        return describe(view_request(parse_rpc(body), WALLET), FACTS)

    assert say('Log in" now\u202e').sentence == 'Sign the message "Log in\\" now\\u202e" (14 bytes)'
    assert say("0xff00", "hex").sentence == "Sign a message that is not text: 0xff00 (2 bytes)"
    assert "bare hash" in say("0x" + "ff" * 32, "hex").warnings[0]
    assert "bare hash" in say("ab" * 32).warnings[0]
    assert say("x" * 300).sentence.endswith(" … (300 characters in all) (300 bytes)")


def test_describe__legs_of_a_swap__are_said_for_the_known_factory() -> None:
    factory = Contract.load("EscrowFactory")
    plain = order_message()
    plain = {
        **plain,
        "sourceAmount": int(plain["sourceAmount"]),
        "destination": {
            "chain": TWO,
            **{name: bytes.fromhex(plain["destination"][name][2:]) for name in ("factory", "token", "receiver")},
        },
        "price": {**plain["price"], "endAmount": 990_000_000},
        "deposits": {"source": 1, "destination": 1},
        "hashlockInfo": b"\x22" * 32,
        "nonce": 1,
        "extensionHash": bytes(32),
    }
    source = factory.encode("createSource", [plain, b"", b""])
    immutables = {
        "orderHash": bytes(32),
        "hashlock": bytes(32),
        "maker": SHOP,
        "taker": WALLET,
        "token": TKA,
        "amount": 990 * 10**18,
        "safetyDeposit": 10**16,
        "timelocks": 0,
        "parameters": bytes(128),
    }
    destination = factory.encode("createDestination", [immutables, 5])
    withdraw = Contract.load("SourceEscrow").encode("withdrawTo", [bytes(32), SHOP, immutables])

    taken = send(to=FACTORY, data="0x" + source.hex(), value=str(10**16))
    assert taken.sentence == (
        f"Take the order of maker {to_checksum(WALLET)}: lock the maker's 1,000 TKA (token {tka}) in escrow against "
        f"at least 990 TKB (token {tkb}) on Devnet Two (eip155:31338) to {to_checksum(WALLET)}, "
        "with a safety deposit of 0.01 ETH on Devnet One (eip155:31337)"
    )
    assert taken.warnings == ()
    locked = send(to=FACTORY, data="0x" + destination.hex(), value=str(10**16))
    assert locked.sentence.startswith(
        f"Lock 990 TKA (token {tka}) in escrow for {shop}, with a safety deposit of 0.01 ETH"
    )
    withdrawn = send(to=UNKNOWN, data="0x" + withdraw.hex())
    assert withdrawn.sentence.startswith(f"Reveal the secret and withdraw 990 TKA (token {tka}) from escrow")
    assert "not a contract that is known here" in withdrawn.warnings[0]
    cancelled = call(FACTORY, "invalidateNonce(uint256)", 7)
    assert cancelled.sentence.startswith("Cancel every own order with nonce 7")
    assert call(FACTORY, "pause()").sentence.startswith(f"Call pause of EscrowFactory {to_checksum(FACTORY)}")
