"""Cardano transactions under policies: every output, every token, and all else that could take something."""

from __future__ import annotations

from typing import Any

import pytest
from policy_samples import SYSTEM, authorize, compiled, condition, rule, say

from lockstep.chains.cardano import address_text, enterprise_address
from lockstep.chains.cardano import cbor as _cbor  # writes bodies; not part of the public names
from lockstep.custody.execution import fingerprint
from lockstep.custody.policy import (
    CompiledPolicy,
    PolicyInvalid,
    ReasonCode,
    Verdict,
    compile_policy,
    evaluate,
    parse_policy,
)
from lockstep.custody.view import CardanoAccount, RequestView, parse_rpc, view_body, view_data, view_request

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
OWN, SHOP = enterprise_address(KEY, "testnet"), enterprise_address(OTHER, "testnet")
ACCOUNT = CardanoAccount(fingerprint(KEY), KEY, address_text(OWN))
POLICY, TOKEN = b"p" * 28, f"{(b'p' * 28).hex()}.{b'tok'.hex()}"
METHOD = "cardano_signTransaction"


def view(*outputs: Any, **members: Any) -> RequestView:
    content: dict[int, Any] = {0: [[bytes(32), 0]], 1: list(outputs), 2: 200_000}
    content |= {int(name[1:]): value for name, value in members.items()}
    body = {"method": METHOD, "params": {"body": "0x" + _cbor.write(content).hex()}}
    request: Any = parse_rpc(body)
    return view_body(request, ACCOUNT)


def tx(field: str, operator: str, value: Any) -> dict[str, Any]:
    return condition("cardano_transaction", field, operator, value)


def cardano(*rules: dict[str, Any]) -> CompiledPolicy:
    document = {"version": "1.0", "name": "Test", "chain_type": "cardano", "rules": list(rules)}
    return compile_policy(parse_policy(document), "policy-1", 1)


def decide(shown: RequestView, *policies: CompiledPolicy) -> Verdict:
    return evaluate(shown, policies, SYSTEM)


FEE = tx("fee", "lte", "300000")
PAYS = rule("ALLOW", METHOD, tx("address", "eq", address_text(SHOP)), tx("lovelace", "lte", "5000000"), FEE)
KEEPS = rule("ALLOW", METHOD, tx("is_own", "eq", "true"), FEE)
USUAL = cardano(PAYS, KEEPS)


def test_payment__with_its_change__is_allowed_output_by_output() -> None:
    assert decide(view([SHOP, 5_000_000], [OWN, 10**9]), USUAL).allowed
    refused = decide(view([OWN, 10**9], [SHOP, 5_000_001]), USUAL)
    assert refused.reason.startswith("Part 2 of 2:")
    assert not decide(view([SHOP, 1], [OWN, 1]), cardano(PAYS)).allowed
    stranger = enterprise_address(bytes(32), "testnet")
    assert not decide(view([SHOP, 1], [stranger, 1]), USUAL).allowed


def test_fee__above_the_bound__is_refused_and_a_rule_without_one_is_not_written() -> None:
    assert not decide(view([OWN, 1], _2=300_001), USUAL).allowed
    with pytest.raises(PolicyInvalid, match="fee could take everything"):
        cardano(rule("ALLOW", METHOD, tx("is_own", "eq", "true")))
    assert cardano(rule("ALLOW", METHOD), rule("DENY", METHOD, tx("is_own", "eq", "false")))


def test_own__same_key_at_another_stake_address__is_own_and_a_script_is_not() -> None:
    staked = b"\x00" + OWN[1:] + bytes(28)
    script = b"\x70" + OWN[1:]
    assert decide(view([staked, 1]), USUAL).allowed
    assert not decide(view([script, 1]), USUAL).allowed


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"_4": [[0, [0, bytes(28)]]]}, tx("certificate_count", "lte", "1")),
        ({"_5": {b"\xe0" + bytes(28): 1}}, tx("withdrawal_count", "eq", "1")),
        ({"_9": {POLICY: {b"tok": -1}}}, tx("mint_count", "gt", "0")),
        ({"_22": 5}, tx("donation", "lte", "5")),
        ({"_11": bytes(32)}, tx("runs_scripts", "eq", "true")),
        ({"_13": [[bytes(32), 1]]}, tx("runs_scripts", "eq", "true")),
    ],
)
def test_more_than_a_payment__only_a_rule_that_names_it__allows_it(
    members: dict[str, Any], named: dict[str, Any]
) -> None:
    shown = view([OWN, 1], **members)

    assert decide(shown, USUAL).reason_code is ReasonCode.NO_MATCHING_RULE
    assert decide(shown, cardano(rule("ALLOW", METHOD, tx("is_own", "eq", "true"), FEE, named))).allowed


def test_tokens__to_others__are_allowed_one_by_one_by_rules_that_name_them() -> None:
    with_token = [SHOP, [1, {POLICY: {b"tok": 7}}]]
    sends = rule(
        "ALLOW",
        METHOD,
        tx("address", "eq", address_text(SHOP)),
        tx("token", "eq", TOKEN),
        tx("token_amount", "lte", "7"),
        FEE,
    )

    assert not decide(view(with_token), USUAL).allowed
    assert decide(view(with_token), cardano(sends)).allowed
    more = [SHOP, [1, {POLICY: {b"tok": 7, b"other": 1}}]]
    assert decide(view(more), cardano(sends)).reason.startswith("Part 2 of 2:")
    assert not decide(view([SHOP, [1, {POLICY: {b"tok": 8}}]]), cardano(sends)).allowed
    assert decide(view([OWN, [1, {POLICY: {b"tok": 8}}]]), USUAL).allowed


def test_no_outputs__everything_as_a_fee__matches_no_rule_about_outputs() -> None:
    assert not decide(view(), USUAL).allowed


def test_families__a_rule_for_everything__covers_its_own_chain_type_only() -> None:
    ethereum, of_cardano = compiled(rule("ALLOW", "*")), cardano(rule("ALLOW", "*"))

    assert not decide(view([OWN, 1]), ethereum).allowed
    assert decide(view([OWN, 1]), of_cardano).allowed
    message = view_request(parse_rpc(say("hi")), "0x" + "11" * 20)
    assert not decide(message, of_cardano).allowed
    for wrong in (
        rule("ALLOW", "personal_sign"),
        rule("ALLOW", METHOD, condition("ethereum_transaction", "value", "eq", "1"), FEE),
    ):
        with pytest.raises(PolicyInvalid):
            cardano(wrong)
    with pytest.raises(PolicyInvalid):
        compiled(rule("ALLOW", METHOD))
    assert not decide(view_request(parse_rpc(authorize()), "0x" + "11" * 20), of_cardano).allowed


def test_data__content_and_length__are_facts() -> None:
    request: Any = parse_rpc({"method": "cardano_signData", "params": {"message": "hi", "encoding": "utf-8"}})
    shown = view_data(request, ACCOUNT)
    says = rule("ALLOW", "cardano_signData", condition("cardano_message", "content", "starts_with", "h"))

    assert decide(shown, cardano(says)).allowed
    assert not decide(shown, cardano(rule("ALLOW", METHOD))).allowed
    raw: Any = parse_rpc({"method": "cardano_signData", "params": {"message": "0xff", "encoding": "hex"}})
    assert not decide(view_data(raw, ACCOUNT), cardano(says)).allowed
