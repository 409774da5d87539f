"""A value in a set and the same value in a request have one form, however each was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_samples import SHOP, policy, rule, say, tx

from lockstep.chains.evm import Address, to_checksum
from lockstep.custody.policy import PolicyInvalid, SetType, SystemFacts, check_sets, compile_policy, parse_policy
from lockstep.custody.policy.rules import questions
from lockstep.custody.policy.sets import MAX_SETS, MAX_TEXT, item_text, parse_item, set_type_of
from lockstep.custody.policy.values import atom_type
from lockstep.custody.view import parse_rpc, view_request

SEND = "eth_sendTransaction"
IDS = [f"00000000-0000-7000-8000-0000000000{number:02}" for number in range(MAX_SETS + 1)]


@given(st.integers(-(2**255), 2**256 - 1))
def test_form__of_a_number__is_the_same_from_decimal_hex_and_request(number: int) -> None:
    assert parse_item(SetType.INTEGER, str(number)) == item_text(number)
    if number >= 0:
        assert parse_item(SetType.INTEGER, hex(number)) == item_text(number)


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=4, max_size=4))
def test_form__of_bytes__is_the_same_from_any_case_and_request(address: bytes, selector: bytes) -> None:
    plain = Address("0x" + address.hex())
    for written in (plain, to_checksum(plain), "0x" + address.hex().upper()):
        assert parse_item(SetType.ADDRESS, written) == item_text(plain)
    assert parse_item(SetType.SELECTOR, "0x" + selector.hex().upper()) == item_text(selector)


@given(st.one_of(st.text(max_size=MAX_TEXT + 2), st.text(alphabet="\x00\ud800a", max_size=4)))
def test_form__of_a_text__is_itself_or_it_can_be_in_no_set(text: str) -> None:
    if item_text(text):
        assert parse_item(SetType.STRING, text) == item_text(text) == text
    else:
        with pytest.raises(ValueError):
            parse_item(SetType.STRING, text)


@pytest.mark.parametrize(
    ("kind", "set_type"),
    [
        ("address", SetType.ADDRESS),
        ("uint8", SetType.INTEGER),
        ("int256", SetType.INTEGER),
        ("bytes4", SetType.SELECTOR),
        ("string", SetType.STRING),
        ("bool", None),
        ("bytes", None),
        ("bytes32", None),
    ],
)
def test_set_type__of_each_kind_of_field__fits_or_there_is_none(kind: str, set_type: SetType | None) -> None:
    value_type = atom_type(kind)
    assert value_type is not None
    assert set_type_of(value_type) is set_type


def test_check_sets__more_sets_than_a_policy_may_name__is_refused() -> None:
    rules = [rule("ALLOW", SEND, tx("to", "in_condition_set", set_id)) for set_id in IDS]
    known = dict.fromkeys(IDS, SetType.ADDRESS)

    check_sets(parse_policy(policy(*rules[:-1])), known)
    with pytest.raises(PolicyInvalid, match=f"at most {MAX_SETS} condition sets"):
        check_sets(parse_policy(policy(*rules)), known)


def test_questions__of_a_request__are_asked_for_its_method_only_and_once() -> None:
    both = compile_policy(
        parse_policy(
            policy(
                rule("ALLOW", SEND, tx("to", "in_condition_set", IDS[0])),
                rule("DENY", SEND, tx("to", "not_in_condition_set", IDS[0]), tx("value", "in_condition_set", IDS[1])),
            )
        ),
        "p",
        1,
    )
    system = SystemFacts(current_unix_timestamp=0, wallet_id="w", app_id="a")
    body = {
        "method": SEND,
        "caip2": "eip155:1",
        "params": {"transaction": {"to": SHOP, "value": "0x10"}},
    }

    asked = questions(view_request(parse_rpc(body), SHOP), [both, both], system)
    assert asked == {(IDS[0], SHOP), (IDS[1], "16")}
    assert questions(view_request(parse_rpc(say("hi")), SHOP), [both], system) == set()
