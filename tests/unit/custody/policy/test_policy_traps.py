"""Faults that were seen in public implementations of such engines; each has a test with its story."""

from __future__ import annotations

import pytest
from policy_samples import (
    APPROVE_ABI,
    MAIL_TYPES,
    SHOP,
    STRANGER,
    TOKEN,
    TRANSFER_ABI,
    WALLET,
    approve_data,
    authorize,
    batch,
    compiled,
    condition,
    decide,
    executes,
    mail,
    operate,
    policy,
    rule,
    say,
    send,
    sign,
    transfer_data,
    tx,
)

from lockstep.chains.evm import keccak256, personal_digest
from lockstep.custody.policy import PolicyInvalid, ReasonCode, parse_policy
from lockstep.custody.view import CARDANO_METHODS, Method, MethodNotOffered, RpcInvalid, parse_rpc, view_request

SEND = "eth_sendTransaction"


def test_trap_1__calldata_conditions_that_never_see_the_decoded_call__match_here() -> None:
    allow = compiled(rule("ALLOW", SEND, condition("ethereum_calldata", "transfer.to", "eq", SHOP, abi=TRANSFER_ABI)))

    assert decide(send(to=TOKEN, data=transfer_data(SHOP)), allow).allowed
    assert not decide(send(to=TOKEN, data=transfer_data(STRANGER)), allow).allowed


def test_trap_2__deny_that_fails_to_parse__refuses_the_whole_policy() -> None:
    with pytest.raises(PolicyInvalid):
        parse_policy(policy(rule("DENY", SEND, tx("to", "eq", "0xnonsense")), rule("ALLOW", SEND)))


def test_trap_3__all_policies_must_allow__not_the_first_that_matches() -> None:
    allowing, silent = compiled(rule("ALLOW", SEND)), compiled(rule("ALLOW", "personal_sign"), policy_id="policy-2")

    assert not decide(send(to=SHOP), allowing, silent).allowed
    assert not decide(send(to=SHOP), silent, allowing).allowed


@pytest.mark.parametrize(("operator", "value"), [("neq", SHOP), ("eq", SHOP), ("not_in", [SHOP]), ("in", [SHOP])])
def test_trap_4__deny_on_a_missing_field__fires(operator: str, value: object) -> None:
    guarded = compiled(rule("ALLOW", SEND), rule("DENY", SEND, tx("to", operator, value)))

    assert decide(send(data="0x6001600055"), guarded).reason_code is ReasonCode.DENIED_BY_RULE


def test_trap_4__deny_on_a_call_that_is_not_understood__fires_before_the_allow_behind_it() -> None:
    guarded = compiled(
        rule("ALLOW", SEND),
        rule(
            "DENY",
            SEND,
            condition("ethereum_calldata", "function_name", "eq", "approve", abi=TRANSFER_ABI + APPROVE_ABI),
            condition("ethereum_calldata", "approve.amount", "gt", "25", abi=APPROVE_ABI),
        ),
    )

    assert decide(send(to=TOKEN, data=transfer_data()), guarded).allowed
    assert decide(send(to=TOKEN, data=approve_data(SHOP, 25)), guarded).allowed
    assert not decide(send(to=TOKEN, data=approve_data(SHOP, 26)), guarded).allowed
    assert not decide(send(to=TOKEN, data=approve_data(SHOP, 25) + "00"), guarded).allowed
    assert not decide(send(to=TOKEN, data="0xac9650d8" + approve_data()[2:]), guarded).allowed


def test_trap_5__empty_data_equal_to_0x__is_true() -> None:
    plain = compiled(rule("ALLOW", SEND, tx("data", "eq", "0x")))

    assert decide(send(to=SHOP, value="1"), plain).allowed
    assert not decide(send(to=SHOP, value="1", data="0x00"), plain).allowed


def test_trap_6__numbers_above_2_to_the_53__are_compared_exactly() -> None:
    most = 2**255 + 1
    capped = compiled(rule("ALLOW", SEND, tx("value", "lte", str(most))))

    assert decide(send(to=SHOP, value=str(most)), capped).allowed
    assert decide(send(to=SHOP, value=hex(most)), capped).allowed
    assert not decide(send(to=SHOP, value=str(most + 1)), capped).allowed
    for inexact in (2**53, 1.0, 1e18, -1, True):
        with pytest.raises(RpcInvalid):
            parse_rpc(send(to=SHOP, value=inexact))
    for inexact in (2**53, 1.0, -(2**53)):
        with pytest.raises(RpcInvalid):
            parse_rpc(mail(tip=inexact))


def test_trap_6__message_number_written_as_text__is_not_compared_as_text() -> None:
    typed = {"types": MAIL_TYPES, "primary_type": "Mail"}
    capped = compiled(
        rule(
            "ALLOW",
            "eth_signTypedData_v4",
            condition("ethereum_typed_data_message", "tip", "lt", "9", typed_data=typed),
        )
    )

    assert not decide(mail("10"), capped).allowed


@pytest.mark.parametrize(
    "method",
    [
        "eth_sign",
        "exportPrivateKey",
        "eth_signTypedData",
        "signSolanaTransaction",
        "",
        None,
    ],
)
def test_trap_11__method_outside_the_list__is_refused_and_never_signed_ungoverned(method: object) -> None:
    with pytest.raises(MethodNotOffered):
        parse_rpc({"method": method, "params": {}})


def test_trap_11__every_offered_method__is_denied_without_a_rule_for_it() -> None:
    bodies = {
        Method.SEND_TRANSACTION: send(to=SHOP),
        Method.SIGN_TRANSACTION: sign(to=SHOP),
        Method.PERSONAL_SIGN: say("hi"),
        Method.SIGN_TYPED_DATA: mail(),
        Method.SIGN_AUTHORIZATION: authorize(),
        Method.SEND_CALLS: batch({"to": SHOP}, {"to": SHOP}),
        Method.SIGN_USER_OPERATION: operate(executes()),
        Method.SIGN_HASH: {"method": "secp256k1_sign", "params": {"hash": "0x" + "ab" * 32}},
    }
    assert set(bodies) == set(Method) - CARDANO_METHODS  # see test_policy_cardano
    for method, body in bodies.items():
        others = [rule("ALLOW", str(other)) for other in bodies if other is not method]
        assert decide(body, compiled(*others)).reason_code is ReasonCode.NO_MATCHING_RULE
        assert decide(body, compiled(rule("ALLOW", str(method)))).allowed


def test_trap_13__transaction_sent_as_a_message__is_signed_as_a_message_and_never_as_a_transaction() -> None:
    transaction = view_request(parse_rpc(sign(to=SHOP, value="1")), WALLET)
    assert transaction.payload is not None
    as_message = view_request(parse_rpc(say("0x" + transaction.payload.hex(), "hex")), WALLET)

    assert as_message.digest == personal_digest(transaction.payload)
    assert as_message.digest != transaction.digest
    assert not decide(
        say("0x" + transaction.payload.hex(), "hex"), compiled(rule("ALLOW", "eth_signTransaction"))
    ).allowed


def test_trap_13__typed_data__policy_reads_what_the_digest_stands_for() -> None:
    view = view_request(parse_rpc(mail(tip="0x5")), WALLET)

    assert view.typed_data is not None
    assert view.payload is not None
    assert view.typed_data.message["tip"] == 5
    assert view.digest == view.typed_data.digest == keccak256(view.payload)


@pytest.mark.parametrize(
    "shadow", [{"destination": SHOP}, {"recipient": SHOP}, {"To": SHOP}, {"gasLimit": 1}, {"input": "0x"}]
)
def test_trap_20__shadow_field_beside_the_signed_one__is_refused_with_its_path(shadow: dict[str, object]) -> None:
    with pytest.raises(RpcInvalid) as caught:
        parse_rpc(send(to=STRANGER, value="1", **shadow))

    assert [fault.path for fault in caught.value.faults] == [f"params.transaction.{next(iter(shadow))}"]


def test_trap_20__member_of_a_message_that_would_not_be_signed__is_refused() -> None:
    from lockstep.chains.evm import MalformedTypedData

    body = mail()
    body["params"]["typed_data"]["message"]["destination"] = SHOP
    with pytest.raises(MalformedTypedData, match="would not be signed"):
        parse_rpc(body)
