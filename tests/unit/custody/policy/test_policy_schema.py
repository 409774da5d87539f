from __future__ import annotations

import json
from typing import Any

import pytest
from policy_samples import (
    MAIL_TYPES,
    SHOP,
    TOKEN,
    TRANSFER_ABI,
    condition,
    policy,
    rule,
    tx,
)

from lockstep.custody.policy import PolicyInvalid, parse_policy

SEND = "eth_sendTransaction"
CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
TYPED = {"types": MAIL_TYPES, "primary_type": "Mail"}

AGGREGATION = "aggregation.01900000-0000-7000-8000-0000000000aa"


def faults(document: Any) -> dict[str, str]:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(document)
    assert caught.value.http_status == 422
    assert caught.value.code == "policy_invalid"
    assert caught.value.fields["faults"] == [
        {"path": fault.path, "message": fault.message} for fault in caught.value.faults
    ]
    return {fault.path: fault.message for fault in caught.value.faults}


def one_fault(given: dict[str, Any], path: str, method: str = SEND) -> str:
    found = faults(policy(rule("ALLOW", method, given)))
    assert list(found) == [f"rules[0].conditions[0].{path}"]
    return next(iter(found.values()))


def test_parse_policy__nothing_wrong__keeps_the_flat_document_and_gives_rules_an_id() -> None:
    read = parse_policy(policy(rule("ALLOW", SEND, tx("to", "eq", SHOP)), rule("DENY", "*", id="no", name="No")))

    assert [one.id for one in read.rules] == ["rule-1", "no"]
    assert [one["id"] for one in read.document["rules"]] == ["rule-1", "no"]
    assert parse_policy(read.document) == read
    assert json.loads(json.dumps(read.document)) == read.document


def test_parse_policy__nested_rules_of_the_other_family__reads_the_same_policy() -> None:
    flat = policy(rule("ALLOW", SEND, tx("value", "lte", "1"), id="a"))
    nested = {**flat, "rules": {"version": "1.0", "rules": flat["rules"]}}

    assert parse_policy(nested) == parse_policy(flat)


def test_parse_policy__no_rules__is_legal_and_denies_everything() -> None:
    assert parse_policy(policy()).rules == ()


def test_parse_policy__more_faults_than_anybody_reads__are_counted_and_not_all_listed() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy({f"k{number}": 1 for number in range(10_000)})

    assert len(json.dumps(caught.value.problem())) < 10_000
    assert caught.value.detail.endswith("(and 10002 more)")


def test_parse_policy__several_faults__reports_all_of_them_with_their_paths() -> None:
    found = faults(
        {
            "name": "",
            "chain_type": "solana",
            "version": "2",
            "default_action": "ALLOW",
            "rules": [
                rule("MAYBE", "eth_sign", {"field": "to"}, id="a"),
                rule("ALLOW", SEND, tx("value", "lte", "01"), id="a", extra=1),
            ],
        }
    )

    assert set(found) == {
        "name",
        "chain_type",
        "version",
        "default_action",
        "rules[0].method",
        "rules[0].action",
        "rules[0].conditions[0].field_source",
        "rules[0].conditions[0].operator",
        "rules[0].conditions[0].value",
        "rules[1].conditions[0].value",
        "rules[1].extra",
        "rules[1].id",
    }


@pytest.mark.parametrize("document", [None, [], "policy", 1, {"rules": float("nan")}, {"name": b"x"}, {1: {2}}])
def test_parse_policy__not_a_document__refuses(document: Any) -> None:
    faults(document)


@pytest.mark.parametrize(
    ("field", "operator", "value", "says"),
    [
        ("to", "lt", SHOP, "does not fit"),
        ("to", "starts_with", "0x", "does not fit"),
        ("value", "starts_with", "1", "does not fit"),
        ("value", "lte", 5, "expected text"),
        ("value", "lte", "05", "leading zero"),
        ("value", "lte", "0x05", "leading zero"),
        ("value", "lte", "+5", "whole number"),
        ("value", "lte", "-1", "out of the range"),
        ("value", "lte", "1e18", "whole number"),
        ("value", "lte", "1.5", "whole number"),
        ("value", "lte", str(2**256), "out of the range"),
        ("value", "lte", "9" * 300, "whole number"),
        ("value", "lte", "٣", "whole number"),
        ("to", "eq", "0x" + "11" * 19, "40 hex digits"),
        ("to", "eq", CHECKSUMMED.replace("aA", "Aa"), "checksum"),
        ("data", "eq", "0xabc", "two digits each"),
        ("data", "eq", "abcd", "two digits each"),
        ("data", "contains", "0x", "at least one"),
        ("function_selector", "eq", "0xa9059c", "4 bytes"),
        ("to", "in", [], "1 to 500"),
        ("to", "in", SHOP, "1 to 500"),
        ("to", "eq", [SHOP], "expected text"),
    ],
)
def test_parse_policy__value_that_does_not_fit_its_field__says_what_was_expected(
    field: str, operator: str, value: Any, says: str
) -> None:
    path = "operator" if "fit" in says else "value"
    assert says in one_fault(tx(field, operator, value), path)


def test_parse_policy__one_bad_value_in_a_list__names_its_place() -> None:
    found = faults(policy(rule("ALLOW", SEND, tx("to", "in", [SHOP, "0x1", TOKEN]))))

    assert list(found) == ["rules[0].conditions[0].value[1]"]


def test_parse_policy__checksummed_and_upper_case_addresses__are_read_as_the_same_address() -> None:
    values = [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper()]
    read = parse_policy(policy(rule("ALLOW", SEND, tx("to", "in", values))))

    assert set(read.rules[0].conditions[0].values) == {CHECKSUMMED.lower()}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (tx("destination", "eq", SHOP), "field"),
        (condition("transaction", "to", "eq", SHOP), "field_source"),
        (condition("ethereum_7702_authorization", "contract", "eq", SHOP), "field_source"),
        (condition("reference", "aggregation.1", "lte", "5"), "field"),
        (condition("reference", AGGREGATION, "eq", "5"), "operator"),
        (condition("reference", AGGREGATION, "lte", "-5"), "value"),
        (tx("to", "in_condition_set", "set-1"), "value"),
        (tx("to", "regex", ".*"), "operator"),
        (tx("nonce", "eq", "1"), "field"),
        (condition("ethereum_message", "content", "eq", "x"), "field_source"),
        ({**tx("to", "eq", SHOP), "abi": TRANSFER_ABI}, "abi"),
    ],
)
def test_parse_policy__what_is_not_known_or_never_decidable__is_refused_and_not_skipped(
    given: dict[str, Any], path: str
) -> None:
    one_fault(given, path)


@pytest.mark.parametrize(
    "method",
    ["exportPrivateKey", "eth_call", ["*"], None],
)
def test_parse_policy__method_that_is_not_offered__is_refused(method: Any) -> None:
    assert "rules[0].method" in faults(policy(rule("DENY", method)))


@pytest.mark.parametrize("action", ["allow", None, ["ALLOW"], {}])
def test_parse_policy__unknown_action__is_refused(action: Any) -> None:
    assert "rules[0].action" in faults(policy(rule(action, SEND)))


def test_parse_policy__allow_without_conditions__must_say_so() -> None:
    bare = {"method": SEND, "action": "ALLOW", "conditions": []}

    assert "unconditional" in faults(policy(bare))["rules[0].conditions"]
    assert parse_policy(policy({**bare, "unconditional": True})).rules[0].conditions == ()
    assert parse_policy(policy({**bare, "action": "DENY"})).rules[0].conditions == ()
    assert "rules[0].unconditional" in faults(
        policy({**bare, "unconditional": True, "conditions": [tx("to", "eq", SHOP)]})
    )
    assert "rules[0].unconditional" in faults(policy({**bare, "unconditional": "yes"}))


def test_parse_policy__too_large__is_refused_before_it_is_read() -> None:
    many = [rule("DENY", SEND) for _ in range(101)]
    long_list = tx("to", "in", ["0x" + f"{n:040x}" for n in range(501)])

    assert "at most 100" in faults(policy(*many))["rules"]
    assert "policy" in faults(policy(rule("ALLOW", SEND, tx("data", "eq", "0x" + "00" * 200_000))))
    one_fault(long_list, "value")
    assert "rules[0].conditions" in faults(policy(rule("ALLOW", SEND, *[tx("to", "eq", SHOP)] * 51)))


LISTS = [
    {
        "type": "function",
        "name": "payout",
        "inputs": [{"name": "to", "type": "address[]"}, {"name": "grid", "type": "uint8[2][]"}],
    }
]


def call(field: str, value: Any = "5", operator: str = "lte", abi: Any = TRANSFER_ABI) -> dict[str, Any]:
    return condition("ethereum_calldata", field, operator, value, abi=abi)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (condition("ethereum_calldata", "transfer.amount", "lte", "5"), "abi"),
        (call("transfer.amount", abi=[]), "abi"),
        (call("transfer.amount", abi="transfer(address,uint256)"), "abi"),
        (
            call(
                "transfer.amount",
                abi=[{"type": "function", "name": "transfer", "inputs": [{"name": "a", "type": "uint"}]}],
            ),
            "abi",
        ),
        (call("transfer.amount", abi=TRANSFER_ABI * 2), "abi"),
        (call("approve.amount"), "field"),
        (call("transfer.value"), "field"),
        (call("transfer"), "field"),
        (call("transfer."), "field"),
        (call("transfer.amount.more"), "field"),
        (call("transfer.amount[*]"), "field"),
        (call("payout.to", abi=LISTS), "field"),
        (call("payout.to[0]", abi=LISTS), "field"),
        (call("payout.to[*].more", abi=LISTS), "field"),
        (call("payout.to[count].more", abi=LISTS), "field"),
        (call("payout.to[count][*]", abi=LISTS), "field"),
        (call("payout.grid[*]", abi=LISTS), "field"),
        (call("payout.to[count]", "many", abi=LISTS), "value"),
        (call("payout.to[any]", "5", "lte", abi=LISTS), "operator"),
        (call("transfer.to", SHOP, "gt"), "operator"),
        (call("function_name", "transfer", "starts_with"), "operator"),
        (call("function_name", "approve", "eq"), "value"),
        (call("transfer.amount", "0x", "lte"), "value"),
    ],
)
def test_parse_policy__call_condition_that_does_not_hold__is_refused(given: dict[str, Any], path: str) -> None:
    one_fault(given, path)


def test_parse_policy__overloaded_function__wants_the_full_signature() -> None:
    other = {"type": "function", "name": "transfer", "inputs": [{"name": "amount", "type": "uint256"}]}
    abi = [*TRANSFER_ABI, other, {"type": "event", "name": "Transfer", "inputs": []}]

    assert "overloaded" in one_fault(call("transfer.amount", abi=abi), "field")
    assert "overloaded" in one_fault(call("function_name", "transfer", "eq", abi=abi), "value")
    parse_policy(policy(rule("ALLOW", SEND, call("transfer(uint256).amount", abi=abi))))
    parse_policy(policy(rule("ALLOW", SEND, call("function_name", "transfer(uint256)", "eq", abi=abi))))


def test_parse_policy__struct_and_unnamed_parameters__are_found_by_name_and_by_position() -> None:
    abi = [
        {
            "type": "function",
            "name": "pay",
            "inputs": [
                {"name": "", "type": "uint64"},
                {
                    "name": "order",
                    "type": "tuple",
                    "components": [{"name": "maker", "type": "address"}, {"name": "points", "type": "uint32[]"}],
                },
            ],
        }
    ]
    for field, value, operator in (("pay.0", "5", "lte"), ("pay.order.maker", SHOP, "eq")):
        parse_policy(policy(rule("ALLOW", SEND, call(field, value, operator, abi))))
    assert "not a single value" in one_fault(call("pay.order", "5", "lte", abi), "field")
    assert "not a single value" in one_fault(call("pay.order.points", "5", "lte", abi), "field")


def typed(field: str, value: str = "5", operator: str = "lte", **changes: Any) -> dict[str, Any]:
    return condition("ethereum_typed_data_message", field, operator, value, typed_data={**TYPED, **changes})


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (condition("ethereum_typed_data_message", "tip", "lte", "5"), "typed_data"),
        (typed("tip", primary_type="Letter"), "typed_data"),
        (typed("tip", types=[]), "typed_data"),
        (typed("tip", types={"Mail": [{"name": "tip", "type": "Coin"}]}), "typed_data"),
        (typed("tip", types={"Mail": [{"name": "tip", "type": "uint128", "extra": 1}]}), "typed_data"),
        (typed("tip", extra=1), "typed_data"),
        (typed("tips"), "field"),
        (typed("from"), "field"),
        (typed("tip.more"), "field"),
        (typed("tip", str(2**128)), "value"),
        (typed("from.wallet", SHOP, "lt"), "operator"),
    ],
)
def test_parse_policy__typed_data_condition_that_does_not_hold__is_refused(given: dict[str, Any], path: str) -> None:
    one_fault(given, path, "eth_signTypedData_v4")


def test_parse_policy__both_spellings_of_the_domain__are_the_same_condition() -> None:
    for mine, theirs, value in (("chain_id", "chainId", "1"), ("verifying_contract", "verifyingContract", TOKEN)):
        one, other = (
            parse_policy(
                policy(
                    rule("ALLOW", "eth_signTypedData_v4", condition("ethereum_typed_data_domain", name, "eq", value))
                )
            )
            for name in (mine, theirs)
        )
        assert one.rules[0].conditions == other.rules[0].conditions
