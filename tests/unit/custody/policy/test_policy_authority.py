"""EIP-7702 and blobs under policies: what hands over an account or costs more must be named by a rule."""

from __future__ import annotations

from typing import Any

import pytest
from policy_samples import (
    AUTHORITY,
    SHOP,
    TOKEN,
    WALLET,
    authorize,
    authorized,
    compiled,
    condition,
    decide,
    rule,
    say,
    sign,
    tx,
)

from lockstep.custody.policy import PolicyInvalid, ReasonCode, parse_policy

METHOD = "eth_sign7702Authorization"


def auth(field: str, operator: str, value: Any) -> dict[str, Any]:
    return condition("ethereum_7702_authorization", field, operator, value)


def delegating(*signed: dict[str, Any]) -> dict[str, Any]:
    return sign(to=SHOP, authorization_list=list(signed))


def blobs(fee: str = "5") -> dict[str, Any]:
    return sign(to=SHOP, max_fee_per_blob_gas=fee, blob_versioned_hashes=["0x01" + "00" * 31])


def test_star__allows_no_delegation__and_denies_every_one() -> None:
    everything, nothing = rule("ALLOW", "*"), rule("DENY", "*")

    assert decide(say("hi"), compiled(everything)).allowed
    assert decide(authorize(), compiled(everything)).reason_code is ReasonCode.NO_MATCHING_RULE
    assert decide(authorize(), compiled(everything, rule("ALLOW", METHOD))).allowed
    assert not decide(authorize(), compiled(nothing, rule("ALLOW", METHOD))).allowed


def test_star__allows_no_blind_signature__and_denies_every_one() -> None:
    blind = {"method": "secp256k1_sign", "params": {"hash": "0x" + "ab" * 32}}
    everything, nothing, named = rule("ALLOW", "*"), rule("DENY", "*"), rule("ALLOW", "secp256k1_sign")

    assert decide(blind, compiled(everything)).reason_code is ReasonCode.NO_MATCHING_RULE
    assert decide(blind, compiled(everything, named)).allowed
    assert not decide(blind, compiled(nothing, named)).allowed
    until = condition("system", "current_unix_timestamp", "lt", "1")
    assert not decide(blind, compiled(rule("ALLOW", "secp256k1_sign", until))).allowed


def test_type_4__a_rule_about_the_transaction_alone__does_not_carry_its_authorizations() -> None:
    transactions = rule("ALLOW", "eth_signTransaction")
    known = rule("ALLOW", METHOD, auth("contract", "eq", TOKEN))

    refused = decide(delegating(authorized()), compiled(transactions))
    assert refused.reason_code is ReasonCode.NO_MATCHING_RULE
    assert refused.reason.startswith("Part 2 of 2:")
    assert decide(delegating(authorized()), compiled(transactions, known)).allowed
    assert not decide(delegating(authorized()), compiled(known)).allowed
    second_is_unknown = delegating(authorized(), authorized(SHOP))
    assert decide(second_is_unknown, compiled(transactions, known)).reason.startswith("Part 3 of 3:")


def test_type_4__authority__is_the_account_that_signed_it() -> None:
    transactions = rule("ALLOW", "eth_signTransaction")
    own = rule("ALLOW", METHOD, auth("authority", "eq", WALLET))
    theirs = rule("ALLOW", METHOD, auth("authority", "eq", AUTHORITY.address))

    assert decide(authorize(), compiled(own)).allowed
    assert not decide(authorize(), compiled(theirs)).allowed
    assert not decide(delegating(authorized()), compiled(transactions, own)).allowed
    assert decide(delegating(authorized()), compiled(transactions, theirs)).allowed


def test_type_4__a_deny_about_delegations__stops_the_transaction() -> None:
    allows = rule("ALLOW", "eth_signTransaction"), rule("ALLOW", METHOD)
    never = rule("DENY", METHOD, auth("contract", "neq", SHOP))

    assert decide(delegating(authorized(TOKEN)), compiled(*allows, never)).reason_code is ReasonCode.DENIED_BY_RULE
    assert decide(delegating(authorized(SHOP)), compiled(*allows, never)).allowed


@pytest.mark.parametrize(
    ("conditions", "allowed"),
    [
        ([], False),
        ([auth("contract", "eq", TOKEN)], False),
        ([auth("chain_id", "lte", "1")], False),
        ([auth("chain_id", "neq", "1")], False),
        ([auth("chain_id", "in", ["1", "31337"])], False),
        ([auth("chain_id", "eq", "0")], True),
        ([auth("chain_id", "in", ["0", "31337"]), auth("contract", "eq", TOKEN)], True),
    ],
)
def test_every_chain__only_a_rule_that_names_it__allows_it(conditions: list[dict[str, Any]], allowed: bool) -> None:
    policy = compiled(rule("ALLOW", METHOD, *conditions))

    assert decide(authorize(chain_id=0), policy).allowed is allowed


def test_every_chain__the_refusal__says_what_is_missing() -> None:
    verdict = decide(authorize(chain_id=0), compiled(rule("ALLOW", METHOD, auth("contract", "eq", TOKEN))))

    assert "wants ethereum_7702_authorization.chain_id not to be 0, but it is 0" in verdict.reason


@pytest.mark.parametrize(
    ("conditions", "allowed"),
    [
        ([], True),
        ([tx("to", "eq", SHOP)], True),
        ([tx("max_fee_per_gas", "lte", str(10**9))], False),
        ([tx("max_fee_per_gas", "lte", str(10**9)), tx("max_fee_per_blob_gas", "lte", "5")], True),
        ([tx("max_fee_per_gas", "lte", str(10**9)), tx("max_fee_per_blob_gas", "lte", "4")], False),
        ([tx("max_fee_per_gas", "lte", str(10**9)), tx("type", "eq", "3")], True),
        ([tx("blob_count", "lte", "1")], True),
        ([tx("blob_count", "gt", "1")], False),
    ],
)
def test_blobs__a_rule_that_bounds_fees__bounds_those_of_blobs_too(
    conditions: list[dict[str, Any]], allowed: bool
) -> None:
    assert decide(blobs(), compiled(rule("ALLOW", "eth_signTransaction", *conditions))).allowed is allowed
    if conditions == [tx("max_fee_per_gas", "lte", str(10**9))]:
        assert decide(sign(to=SHOP), compiled(rule("ALLOW", "eth_signTransaction", *conditions))).allowed


def test_parse_policy__conditions_that_a_method_never_has__are_refused() -> None:
    for method, one in (
        ("eth_signTransaction", auth("contract", "eq", TOKEN)),
        (METHOD, tx("to", "eq", SHOP)),
        ("eth_sendTransaction", tx("max_fee_per_blob_gas", "lte", "1")),
        (METHOD, auth("contract", "lt", TOKEN)),
        (METHOD, auth("code", "eq", TOKEN)),
    ):
        with pytest.raises(PolicyInvalid):
            parse_policy({"name": "x", "chain_type": "ethereum", "rules": [rule("ALLOW", method, one)]})


def test_parse_policy__delegate__is_another_name_of_the_contract() -> None:
    verdict = decide(authorize(), compiled(rule("ALLOW", METHOD, auth("delegate", "eq", TOKEN))))

    assert verdict.allowed
