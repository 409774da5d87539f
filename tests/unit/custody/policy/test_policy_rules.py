from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from policy_samples import (
    APPROVE_ABI,
    MAIL_TYPES,
    NOW,
    SHOP,
    STRANGER,
    SYSTEM,
    TOKEN,
    TRANSFER_ABI,
    WALLET,
    approve_data,
    compiled,
    condition,
    decide,
    mail,
    policy,
    rule,
    say,
    send,
    sign,
    transfer_data,
    tx,
)

from lockstep.chains.evm import Contract, abi_encode_call
from lockstep.custody.policy import Outcome, ReasonCode, evaluate, load_policy
from lockstep.custody.view import parse_rpc, view_request

SEND, SIGN = "eth_sendTransaction", "eth_signTransaction"
TYPED = {"types": MAIL_TYPES, "primary_type": "Mail"}


def test_evaluate__no_policy_attached__denies() -> None:
    verdict = decide(send(to=SHOP, value="1"))

    assert (verdict.decision, verdict.reason_code) == (Outcome.DENY, ReasonCode.NO_POLICY)


def test_evaluate__one_rule_allows__names_rule_policy_and_revision() -> None:
    verdict = decide(
        send(to=SHOP, value="5"),
        compiled(
            rule("ALLOW", SEND, tx("to", "eq", SHOP), tx("value", "lte", "5"), id="pay", name="Pay the shop"),
            revision=4,
        ),
    )

    assert verdict.allowed
    assert (verdict.policy_id, verdict.rule_id, verdict.policy_revision) == ("policy-1", "pay", 4)
    assert verdict.matched == ("ethereum_transaction.to eq", "ethereum_transaction.value lte")
    assert verdict.reason == 'Allowed by rule "Pay the shop" of policy "Test".'


def test_evaluate__amount_above_the_bound__says_which_condition_and_how_far_off() -> None:
    rules = (
        rule("ALLOW", SEND, tx("to", "eq", STRANGER), name="Other"),
        rule("ALLOW", SEND, tx("to", "eq", SHOP), tx("value", "lte", "5"), name="Pay the shop"),
    )
    verdict = decide(send(to=SHOP, value="6"), compiled(*rules))

    assert verdict.reason_code is ReasonCode.NO_MATCHING_RULE
    assert verdict.unmet == "ethereum_transaction.value lte"
    assert verdict.matched == ("ethereum_transaction.to eq",)
    assert verdict.reason == (
        'No rule of policy "Test" allows this: "Pay the shop" wants ethereum_transaction.value to be at most 5, but it is 6.'
    )


def test_evaluate__text_that_does_not_match__is_not_repeated_in_the_reason() -> None:
    verdict = decide(
        say("my secret"),
        compiled(rule("ALLOW", "personal_sign", condition("ethereum_message", "content", "eq", "login 123"))),
    )

    assert "secret" not in verdict.reason
    assert "123" not in verdict.reason


def test_evaluate__deny_and_allow_match__deny_wins_in_any_order() -> None:
    allow, deny = rule("ALLOW", SEND), rule("DENY", SEND, tx("to", "in", [SHOP, STRANGER]), id="stop")

    for rules in ((allow, deny), (deny, allow)):
        verdict = decide(send(to=STRANGER, value="1"), compiled(*rules))
        assert (verdict.reason_code, verdict.rule_id) == (ReasonCode.DENIED_BY_RULE, "stop")
    assert decide(send(to=TOKEN, value="1"), compiled(allow, deny)).allowed


def test_evaluate__rule_of_another_method__does_not_cover_this_one() -> None:
    assert not decide(sign(to=SHOP), compiled(rule("ALLOW", SEND))).allowed
    assert not decide(send(to=SHOP), compiled(rule("ALLOW", SIGN))).allowed
    assert decide(sign(to=SHOP), compiled(rule("ALLOW", "*"))).allowed


def test_evaluate__several_policies__all_must_allow() -> None:
    wide = compiled(rule("ALLOW", SEND), policy_id="wallet")
    narrow = compiled(rule("ALLOW", SEND, tx("value", "lte", "5")), policy_id="session", revision=2)

    assert decide(send(to=SHOP, value="5"), narrow, wide).allowed
    for attached in ((narrow, wide), (wide, narrow)):
        verdict = decide(send(to=SHOP, value="6"), *attached)
        assert (verdict.reason_code, verdict.policy_id) == (ReasonCode.NO_MATCHING_RULE, "session")
        assert set(verdict.policies) == {("wallet", 1), ("session", 2)}


def test_evaluate__contract_creation__has_no_recipient_to_compare() -> None:
    body = send(data="0x6001600055")
    zero = "0x" + "00" * 20

    for operator, value in (("eq", zero), ("neq", SHOP), ("not_in", [SHOP])):
        verdict = decide(body, compiled(rule("ALLOW", SEND, tx("to", operator, value))))
        assert not verdict.allowed
        assert verdict.unknown == (f"ethereum_transaction.to {operator}",)
    denied = decide(body, compiled(rule("ALLOW", SEND), rule("DENY", SEND, tx("to", "eq", SHOP))))
    assert denied.reason_code is ReasonCode.DENIED_BY_RULE
    assert "cannot be decided" in denied.reason


def test_evaluate__open_gas_and_fees__cannot_be_decided() -> None:
    capped = compiled(rule("ALLOW", SEND, tx("max_fee_per_gas", "lte", "100")))

    assert not decide(send(to=SHOP), capped).allowed
    assert decide(send(to=SHOP, max_fee_per_gas="100"), capped).allowed


def test_evaluate__tip__is_a_fact_where_there_is_one() -> None:
    capped = compiled(rule("ALLOW", "*", tx("max_priority_fee_per_gas", "lte", "1")))
    legacy = sign(to=SHOP, gas_price=1)
    for name in ("max_fee_per_gas", "max_priority_fee_per_gas"):
        del legacy["params"]["transaction"][name]

    assert decide(sign(to=SHOP), capped).allowed
    assert decide(send(to=SHOP, max_fee_per_gas="9", max_priority_fee_per_gas="1"), capped).allowed
    for body in (sign(to=SHOP, max_priority_fee_per_gas=2), send(to=SHOP), legacy):
        assert not decide(body, capped).allowed


def test_evaluate__session_limited_to_small_approvals__refuses_more_and_other_spenders() -> None:
    session = compiled(
        rule(
            "ALLOW",
            SEND,
            tx("to", "eq", TOKEN),
            tx("value", "eq", "0"),
            condition("ethereum_calldata", "function_name", "eq", "approve", abi=APPROVE_ABI),
            condition("ethereum_calldata", "approve.spender", "in", [SHOP], abi=APPROVE_ABI),
            condition("ethereum_calldata", "approve.amount", "lte", "25", abi=APPROVE_ABI),
        )
    )

    assert decide(send(to=TOKEN, data=approve_data(SHOP, 25)), session).allowed
    for data in (
        approve_data(SHOP, 26),
        approve_data(STRANGER, 1),
        transfer_data(SHOP, 1),
        approve_data() + "00",
        "0x",
    ):
        assert not decide(send(to=TOKEN, data=data), session).allowed
    assert not decide(send(to=TOKEN, data=approve_data(), value="1"), session).allowed
    assert not decide(send(to=STRANGER, data=approve_data()), session).allowed


def test_evaluate__struct_argument__is_compared_inside() -> None:
    abi = [
        {
            "type": "function",
            "name": "take",
            "inputs": [
                {
                    "name": "order",
                    "type": "tuple",
                    "components": [
                        {"name": "maker", "type": "address"},
                        {"name": "note", "type": "string"},
                        {"name": "price", "type": "tuple", "components": [{"name": "least", "type": "uint256"}]},
                    ],
                },
                {"name": "proof", "type": "bytes"},
            ],
        }
    ]
    body = send(
        to=TOKEN,
        data="0x"
        + Contract(abi)
        .encode("take", {"order": {"maker": SHOP, "note": "n", "price": {"least": 7}}, "proof": b"\x01\x02"})
        .hex(),
    )

    def allows(field: str, operator: str, value: str) -> bool:
        return decide(
            body, compiled(rule("ALLOW", SEND, condition("ethereum_calldata", field, operator, value, abi=abi)))
        ).allowed

    assert allows("take.order.price.least", "gte", "7")
    assert not allows("take.order.price.least", "gt", "7")
    assert allows("take.order.maker", "eq", SHOP)
    assert allows("take.order.note", "eq", "n")
    assert allows("take.proof", "starts_with", "0x01")


def test_evaluate__typed_data__compares_numbers_by_their_type_however_they_are_written() -> None:
    capped = compiled(
        rule(
            "ALLOW",
            "eth_signTypedData_v4",
            condition("ethereum_typed_data_domain", "verifying_contract", "eq", TOKEN),
            condition("ethereum_typed_data_domain", "chain_id", "eq", "31337"),
            condition("ethereum_typed_data_message", "tip", "lte", "9", typed_data=TYPED),
        )
    )

    for tip in ("9", 9, "0x9"):
        assert decide(mail(tip), capped).allowed
    for tip in ("10", 10, "0xa"):
        assert not decide(mail(tip), capped).allowed
    assert not decide(mail(domain={"name": "Post", "chainId": 1, "verifyingContract": TOKEN}), capped).allowed
    assert not decide(mail(domain={"name": "Post"}), capped).allowed


def test_evaluate__other_types_under_the_same_names__cannot_be_decided() -> None:
    swapped = {**TYPED, "types": {**MAIL_TYPES, "Person": MAIL_TYPES["Person"][::-1]}}
    allow = compiled(
        rule(
            "ALLOW",
            "eth_signTypedData_v4",
            condition("ethereum_typed_data_message", "tip", "lte", "9", typed_data=swapped),
        )
    )
    deny = compiled(
        rule("ALLOW", "*"),
        rule(
            "DENY",
            "eth_signTypedData_v4",
            condition("ethereum_typed_data_message", "tip", "gt", "9", typed_data=swapped),
        ),
    )

    verdict = decide(mail("5"), allow)
    assert not verdict.allowed
    assert verdict.unknown == ("ethereum_typed_data_message.tip lte",)
    assert decide(mail("5"), deny).reason_code is ReasonCode.DENIED_BY_RULE


def test_evaluate__time_and_session__are_facts_of_the_system() -> None:
    until = compiled(
        rule(
            "ALLOW",
            "*",
            condition("system", "current_unix_timestamp", "lt", str(NOW + 1)),
            condition("system", "session_id", "eq", "session-1"),
        )
    )

    assert decide(say("hi"), until, system=replace(SYSTEM, session_id="session-1")).allowed
    assert not decide(
        say("hi"), until, system=replace(SYSTEM, session_id="session-1", current_unix_timestamp=NOW + 1)
    ).allowed
    assert decide(say("hi"), until).unknown == ("system.session_id eq",)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23T08:59:59", False),  # a Monday
        ("2026-11-23T09:00:00", True),
        ("2026-11-27T16:59:59", True),  # the Friday after it
        ("2026-11-27T17:00:00", False),
        ("2026-11-28T12:00:00", False),
        ("2026-11-29T12:00:00", False),
        ("1970-01-01T09:00:00", True),  # a Thursday
    ],
)
def test_evaluate__office_hours__end_with_the_hour_and_the_week(moment: str, is_open: bool) -> None:
    office = compiled(
        rule(
            "ALLOW",
            "*",
            condition("system", "hour_utc", "gte", "9"),
            condition("system", "hour_utc", "lt", "17"),
            condition("system", "weekday_utc", "lte", "5"),
        )
    )
    seconds = int(datetime.fromisoformat(moment + "+00:00").timestamp())

    assert decide(say("hi"), office, system=replace(SYSTEM, current_unix_timestamp=seconds)).allowed is is_open


PAYOUT_ABI = [
    {
        "type": "function",
        "name": "payout",
        "inputs": [
            {
                "name": "parts",
                "type": "tuple[]",
                "components": [{"name": "to", "type": "address"}, {"name": "amounts", "type": "uint256[]"}],
            }
        ],
    }
]


def payout(*parts: tuple[str, list[int]]) -> dict[str, Any]:
    return send(to=TOKEN, data="0x" + abi_encode_call("payout((address,uint256[])[])", [list(parts)]).hex())


def test_evaluate__list_in_a_call__every_element_must_hold_or_any_one_does() -> None:
    def parts(field: str, operator: str, value: Any) -> dict[str, Any]:
        return condition("ethereum_calldata", f"payout.parts{field}", operator, value, abi=PAYOUT_ABI)

    limited = compiled(
        rule(
            "ALLOW",
            SEND,
            parts("[*].to", "in", [SHOP, WALLET]),
            parts("[*].amounts[*]", "lte", "100"),
            parts("[count]", "lte", "2"),
        ),
        rule("DENY", SEND, parts("[any].amounts[any]", "eq", "13")),
    )

    assert decide(payout((SHOP, [100, 5]), (WALLET, [])), limited).allowed
    assert decide(payout(), limited).allowed
    for denied in (
        payout((SHOP, [1]), (STRANGER, [1])),
        payout((SHOP, [1]), (WALLET, [1, 101])),
        payout((SHOP, [1]), (WALLET, [5, 13])),
        payout((SHOP, []), (SHOP, []), (SHOP, [])),
        send(to=TOKEN, data=transfer_data()),
    ):
        assert not decide(denied, limited).allowed


def test_evaluate__message_that_is_not_text__has_no_content_to_compare() -> None:
    for operator in ("neq", "not_in"):
        value = ["x"] if operator == "not_in" else "x"
        allow = compiled(rule("ALLOW", "personal_sign", condition("ethereum_message", "content", operator, value)))
        assert not decide(say("0xff", "hex"), allow).allowed
        assert decide(say("0x6869", "hex"), allow).allowed


def test_load_policy__stored_document_that_is_not_understood__denies_everything() -> None:
    broken = policy(rule("ALLOW", SEND), rule("DENY", SEND, {**tx("to", "eq", STRANGER), "operator": "is"}))
    verdict = decide(send(to=SHOP), load_policy(broken, "policy-9", 3))

    assert (verdict.reason_code, verdict.policy_id, verdict.policy_revision) == (
        ReasonCode.POLICY_INVALID,
        "policy-9",
        3,
    )
    assert not decide(send(to=SHOP), compiled(rule("ALLOW", "*")), load_policy(None, "policy-9", 3)).allowed


@pytest.mark.parametrize("name", ["function_name", "transfer.amount"])
def test_evaluate__call_outside_the_conditions_abi__cannot_be_decided(name: str) -> None:
    value = "transfer" if name == "function_name" else "5"
    verdict = decide(
        send(to=TOKEN, data=approve_data()),
        compiled(rule("ALLOW", SEND, condition("ethereum_calldata", name, "neq", value, abi=TRANSFER_ABI))),
    )

    assert verdict.unknown == (f"ethereum_calldata.{name} neq",)


def test_evaluate__a_hundred_rules__stays_within_a_millisecond() -> None:
    rules = [
        rule(
            "ALLOW",
            SEND,
            tx("chain_id", "eq", "31337"),
            tx("to", "in", [TOKEN, SHOP]),
            condition("ethereum_calldata", "transfer.amount", "lte", str(at), abi=TRANSFER_ABI),
        )
        for at in range(100)
    ]
    attached = [compiled(*rules)]
    view = view_request(parse_rpc(send(to=TOKEN, data=transfer_data(SHOP, 99))), WALLET)
    took = []
    for _ in range(30):
        began = time.perf_counter()
        verdict = evaluate(view, attached, SYSTEM)
        took.append(time.perf_counter() - began)

    assert verdict.rule_id == "rule-100"
    assert min(took) < 0.001
