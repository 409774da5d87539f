"""Two evaluators, written apart, must agree on every policy and every request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import naive
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from policy_samples import (
    ACCOUNT,
    APPROVE_ABI,
    AUTHORITY,
    ENTRY_POINT,
    MAIL_TYPES,
    NOW,
    SHOP,
    STRANGER,
    SYSTEM,
    TOKEN,
    TRANSFER_ABI,
    WALLET,
    approve_data,
    authorize,
    authorized,
    batch,
    condition,
    decide,
    executes,
    executes_all,
    mail,
    operate,
    policy,
    rule,
    say,
    send,
    sign,
    transfer_data,
)
from tests.support.counts import examples

from lockstep.chains.evm import abi_encode_call
from lockstep.custody.policy import (
    Action,
    CompiledPolicy,
    Members,
    ReasonCode,
    SetType,
    SystemFacts,
    compile_policy,
    evaluate,
    parse_policy,
    questions,
)
from lockstep.custody.policy.sets import parse_item
from lockstep.custody.policy.trace import Holds, first_unmet, trace
from lockstep.custody.view import RequestView, parse_rpc, view_request

ADDRESSES = (WALLET, TOKEN, SHOP, STRANGER)
NUMBERS = (0, 1, 5, 24, 25, 26, 31337, 31338, 200_000, 10**18, 2**64, 2**255)
ORDER = ("lt", "lte", "gt", "gte")
EQUAL = ("eq", "neq", "in", "not_in")
PARTS = ("contains", "starts_with", "ends_with")
TYPED = {"types": MAIL_TYPES, "primary_type": "Mail"}
OTHER_TYPED = {"types": {**MAIL_TYPES, "Person": MAIL_TYPES["Person"][::-1]}, "primary_type": "Mail"}
CODE = "0x6001600055"

BATCH_ABI = [
    {
        "type": "function",
        "name": "batch",
        "inputs": [{"name": "to", "type": "address[]"}, {"name": "amounts", "type": "uint256[2]"}],
    }
]
BASKET_TYPES = {
    "Basket": [{"name": "items", "type": "Item[]"}, {"name": "tags", "type": "string[][]"}],
    "Item": [{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}],
}
BASKET = {"types": BASKET_TYPES, "primary_type": "Basket"}
PEOPLE, AMOUNTS, SELECTORS, WORDS, NOWHERE = (f"00000000-0000-7000-8000-00000000000{number}" for number in range(5))
SETS = {
    PEOPLE: [SHOP.upper().replace("0X", "0x"), WALLET],
    AMOUNTS: ["0x19", "31337", str(2**255)],
    SELECTORS: ["0xA9059CBB"],
    WORDS: ["hi", "Ann", "session-1"],
}
TYPES = {
    PEOPLE: SetType.ADDRESS,
    AMOUNTS: SetType.INTEGER,
    SELECTORS: SetType.SELECTOR,
    WORDS: SetType.STRING,
}
STORED = {set_id: {parse_item(TYPES[set_id], item) for item in items} for set_id, items in SETS.items()}

numbers = st.sampled_from([str(one) for one in NUMBERS] + ["0x18", "0x0"])
addresses = st.sampled_from(ADDRESSES)
texts = st.sampled_from(("hi", "Hi", "h", "Post", "hi there", "ß", "Ann", "user-1", "session-1"))
blobs = st.sampled_from(("0xa9059cbb", "0x095ea7b3", "0x60016000", "0x00000000"))


def _condition(source: str, field: str, operators: tuple[str, ...], values: Any, **extra: Any) -> Any:
    def build(operator: str) -> Any:
        value = st.lists(values, min_size=1, max_size=3) if operator in ("in", "not_in") else values
        return value.map(lambda one: condition(source, field, operator, one, **extra))

    return st.sampled_from(operators).flatmap(build)


def _set(source: str, field: str, set_id: str, **extra: Any) -> Any:
    return _condition(
        source,
        field,
        ("in_condition_set", "not_in_condition_set"),
        st.sampled_from((set_id, set_id, set_id, NOWHERE)),
        **extra,
    )


def _members(policies: Sequence[CompiledPolicy], view: RequestView, system: SystemFacts) -> Members:
    """What the database answers."""
    asked = questions(view, policies, system)
    return {one: one[1] in STORED[one[0]] for one in asked if one[0] in STORED}


def _number(source: str, *fields: str, **extra: Any) -> list[Any]:
    return [_condition(source, field, EQUAL + ORDER, numbers, **extra) for field in fields]


TRANSACTION = [
    *_number(
        "ethereum_transaction", "value", "chain_id", "gas_limit", "max_fee_per_gas", "max_priority_fee_per_gas", "type"
    ),
    _condition("ethereum_transaction", "to", EQUAL, addresses),
    _condition("ethereum_transaction", "from", EQUAL, addresses),
    _condition(
        "ethereum_transaction", "data", EQUAL + PARTS, st.sampled_from((CODE, "0xa905", transfer_data(), "0x00"))
    ),
    _condition("ethereum_transaction", "function_selector", EQUAL, blobs),
    _condition("ethereum_calldata", "function_name", EQUAL, st.just("transfer"), abi=TRANSFER_ABI),
    _condition(
        "ethereum_calldata",
        "function_name",
        EQUAL,
        st.sampled_from(("transfer", "approve")),
        abi=TRANSFER_ABI + APPROVE_ABI,
    ),
    *_number("ethereum_calldata", "transfer.amount", abi=TRANSFER_ABI + APPROVE_ABI),
    _condition("ethereum_calldata", "approve.spender", EQUAL, addresses, abi=APPROVE_ABI),
    *[
        one
        for quantifier in ("[*]", "[any]")
        for one in (
            _condition("ethereum_calldata", f"batch.to{quantifier}", EQUAL, addresses, abi=BATCH_ABI),
            *_number("ethereum_calldata", f"batch.amounts{quantifier}", abi=BATCH_ABI),
            _set("ethereum_calldata", f"batch.to{quantifier}", PEOPLE, abi=BATCH_ABI),
        )
    ],
    _condition("ethereum_calldata", "batch.to[count]", ORDER, st.sampled_from(("0", "1", "2")), abi=BATCH_ABI),
    _set("ethereum_transaction", "to", PEOPLE),
    _set("ethereum_transaction", "value", AMOUNTS),
    _set("ethereum_transaction", "chain_id", AMOUNTS),
    _set("ethereum_transaction", "function_selector", SELECTORS),
    _set("ethereum_calldata", "transfer.to", PEOPLE, abi=TRANSFER_ABI),
    _set("ethereum_calldata", "transfer.amount", AMOUNTS, abi=TRANSFER_ABI + APPROVE_ABI),
]
TYPED_DATA = [
    *_number("ethereum_typed_data_domain", "chain_id"),
    _condition("ethereum_typed_data_domain", "verifying_contract", EQUAL, addresses),
    _condition("ethereum_typed_data_domain", "name", EQUAL + PARTS, texts),
    *[
        one
        for quantifier in ("[*]", "[any]")
        for one in (
            _condition("ethereum_typed_data_message", f"items{quantifier}.to", EQUAL, addresses, typed_data=BASKET),
            *_number("ethereum_typed_data_message", f"items{quantifier}.amount", typed_data=BASKET),
            _condition(
                "ethereum_typed_data_message", f"tags[any]{quantifier}", EQUAL + PARTS, texts, typed_data=BASKET
            ),
            _set("ethereum_typed_data_message", f"items{quantifier}.to", PEOPLE, typed_data=BASKET),
        )
    ],
    _condition("ethereum_typed_data_message", "items[count]", ORDER, st.sampled_from("012"), typed_data=BASKET),
    _set("ethereum_typed_data_domain", "chain_id", AMOUNTS),
    _set("ethereum_typed_data_message", "contents", WORDS, typed_data=TYPED),
    _set("ethereum_typed_data_message", "from.wallet", PEOPLE, typed_data=OTHER_TYPED),
    *[
        one
        for types in (TYPED, OTHER_TYPED)
        for one in (
            _condition(
                "ethereum_typed_data_message",
                "tip",
                EQUAL + ORDER,
                st.sampled_from(("4", "5", "6", "0x5")),
                typed_data=types,
            ),
            _condition("ethereum_typed_data_message", "from.wallet", EQUAL, addresses, typed_data=types),
            _condition("ethereum_typed_data_message", "contents", EQUAL + PARTS, texts, typed_data=types),
        )
    ],
]
MESSAGE = [
    *_number("ethereum_message", "byte_length"),
    *_number("message", "byte_length"),
    _condition("ethereum_message", "content", EQUAL + PARTS, texts),
    _set("ethereum_message", "content", WORDS),
    _set("ethereum_message", "byte_length", AMOUNTS),
]
AUTHORIZATION = [
    *_number("ethereum_7702_authorization", "chain_id", "nonce"),
    _condition("ethereum_7702_authorization", "contract", EQUAL, addresses),
    _condition("ethereum_7702_authorization", "authority", EQUAL, st.sampled_from((WALLET, AUTHORITY.address))),
]
OPERATION = [
    *_number("ethereum_user_operation", "nonce", "max_fee_per_gas", "max_cost"),
    _condition("ethereum_user_operation", "sender", EQUAL, st.sampled_from((ACCOUNT, WALLET))),
    _condition("ethereum_user_operation", "entry_point", EQUAL, st.sampled_from((ENTRY_POINT, WALLET))),
    _condition("ethereum_user_operation", "factory", EQUAL, addresses),
    _condition("ethereum_user_operation", "paymaster", EQUAL, addresses),
    _condition("ethereum_user_operation", "call_data", EQUAL + PARTS, st.sampled_from(("0xb61d27f6", executes()))),
]
CALLS = [
    *_number("ethereum_transaction", "value", "chain_id"),
    _condition("ethereum_transaction", "to", EQUAL, addresses),
    _condition("ethereum_transaction", "from", EQUAL, st.sampled_from((ACCOUNT, WALLET))),
    _condition("ethereum_transaction", "function_selector", EQUAL, blobs),
    *_number("ethereum_calldata", "transfer.amount", abi=TRANSFER_ABI + APPROVE_ABI),
]
SYSTEM_FIELDS = [
    _condition(
        "system", "current_unix_timestamp", EQUAL + ORDER, st.sampled_from((str(NOW - 1), str(NOW), str(NOW + 1)))
    ),
    _condition("system", "hour_utc", EQUAL + ORDER, st.integers(0, 23).map(str)),
    _condition("system", "weekday_utc", EQUAL + ORDER, st.integers(1, 7).map(str)),
    _condition("system", "user_id", EQUAL + PARTS, texts),
    _condition("system", "session_id", EQUAL + PARTS, texts),
    _set("system", "session_id", WORDS),
]
BY_METHOD: dict[str, list[Any]] = {
    "eth_sendTransaction": TRANSACTION,
    "eth_signTransaction": [
        *TRANSACTION,
        *_number("ethereum_transaction", "nonce", "max_fee_per_blob_gas", "blob_count"),
    ],
    "personal_sign": MESSAGE,
    "eth_signTypedData_v4": TYPED_DATA,
    "eth_sign7702Authorization": AUTHORIZATION,
    "secp256k1_sign": SYSTEM_FIELDS,
    "eth_signUserOperation": OPERATION + CALLS,
    "wallet_sendCalls": CALLS,
    "*": TRANSACTION + TYPED_DATA + MESSAGE + AUTHORIZATION + OPERATION,
}


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    method = draw(st.sampled_from(list(BY_METHOD)))
    conditions = draw(st.lists(st.one_of(BY_METHOD[method] + SYSTEM_FIELDS), max_size=3))
    return rule(draw(st.sampled_from(("ALLOW", "ALLOW", "DENY"))), method, *conditions)


policies = st.lists(rules(), max_size=6).map(lambda found: policy(*found))
datas = st.sampled_from(
    (
        "0x",
        "0xa905",
        transfer_data(),
        transfer_data(STRANGER, 26),
        transfer_data() + "00",
        approve_data(),
        approve_data(STRANGER, 2**255),
        "0xa9059cbb" + "ff" * 64,
        "0xdeadbeef",
        *(
            "0x" + abi_encode_call("batch(address[],uint256[2])", [to, [25, amount]]).hex()
            for to in ([], [SHOP], [SHOP, STRANGER], [WALLET, SHOP])
            for amount in (25, 31337)
        ),
    )
)
call_parts = (addresses, st.sampled_from(NUMBERS), datas)
amounts = st.one_of(st.sampled_from(NUMBERS).map(str), st.just(5), st.just("0x19"))


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    kinds = (
        "send",
        "sign",
        "legacy",
        "listed",
        "blobs",
        "delegating",
        "create",
        "say",
        "hex",
        "mail",
        "authorize",
        "blind",
        "operate",
        "basket",
        "batch",
    )
    kind = draw(st.sampled_from(kinds))
    chains, nonces = st.sampled_from((0, 1, 31337)), st.sampled_from((0, 1, 5, 24))
    if kind == "operate":
        call = st.tuples(*call_parts)
        single, several = call.map(lambda one: executes(*one)), st.lists(call, min_size=1, max_size=3)
        unread = st.sampled_from(("0x", "0xdeadbeef", executes() + "00"))
        more = draw(st.sampled_from(({}, {"paymaster": SHOP, "paymaster_post_op_gas_limit": 1}, {"factory": TOKEN})))
        return operate(draw(st.one_of(single, several.map(lambda all_: executes_all(*all_)), unread)), **more)
    if kind == "batch":
        build = st.builds(lambda to, value, data: {"to": to, "value": str(value), "data": data}, *call_parts)
        return batch(*draw(st.lists(build, min_size=1, max_size=3)))
    if kind == "blind":
        return {"method": "secp256k1_sign", "params": {"hash": "0x" + "ab" * 32}}
    if kind == "authorize":
        more = draw(st.sampled_from(({}, {"executor": "self"})))
        return authorize(draw(addresses), draw(chains), draw(nonces), **more)
    if kind == "basket":
        item = st.builds(lambda to, amount: {"to": to, "amount": amount}, addresses, st.sampled_from(("25", 26, "0x5")))
        message = {
            "items": draw(st.lists(item, max_size=3)),
            "tags": draw(st.lists(st.lists(texts, max_size=2), max_size=2)),
        }
        return {
            "method": "eth_signTypedData_v4",
            "params": {"typed_data": {**BASKET, "domain": {"name": "Post"}, "message": message}},
        }
    if kind == "say":
        return say(draw(texts))
    if kind == "hex":
        return say(draw(st.sampled_from(("0x", "0xff", "0x6869", "0xa9059cbb"))), "hex")
    if kind == "mail":
        domain = draw(st.sampled_from((None, {"name": "Post"}, {"chainId": "0x7a69"})))
        return mail(draw(st.sampled_from(("5", 5, "0x5", "6"))), draw(texts), domain)
    transaction: dict[str, Any] = {"value": draw(amounts)}
    if kind == "create":
        transaction |= {"data": CODE, "gas_limit": 200_000}
        return draw(st.sampled_from((send, sign)))(**transaction)
    transaction |= {"to": draw(addresses), "data": draw(datas)}
    if kind == "send":
        return send(**transaction, **draw(st.sampled_from(({}, {"gas_limit": 200_000}, {"max_fee_per_gas": "25"}))))
    body = sign(**transaction)
    tx = body["params"]["transaction"]
    if kind in ("legacy", "listed"):
        del tx["max_fee_per_gas"], tx["max_priority_fee_per_gas"]
        tx["gas_price"] = "26"
    if kind == "listed":
        tx["access_list"] = [{"address": TOKEN, "storage_keys": []}]
    if kind == "blobs":
        tx["max_fee_per_blob_gas"] = draw(st.sampled_from(("5", "26")))
        tx["blob_versioned_hashes"] = ["0x01" + "00" * 31] * draw(st.integers(1, 2))
    if kind == "delegating":
        signed = st.builds(authorized, addresses, chains, nonces)
        tx["authorization_list"] = draw(st.lists(signed, min_size=1, max_size=2))
    return body


sessions = st.sampled_from((None, "session-1"))
moments = st.one_of(st.just(NOW), st.integers(0, 4 * 10**9))


@settings(
    max_examples=examples(400, full=100_000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(documents=st.lists(policies, max_size=3), body=requests(), session_id=sessions, moment=moments)
def test_evaluate__any_policies_and_request__agrees_with_the_naive_evaluator(
    documents: list[dict[str, Any]], body: dict[str, Any], session_id: str | None, moment: int
) -> None:
    system = SystemFacts(
        current_unix_timestamp=moment, wallet_id="wallet-1", app_id="app-1", user_id="user-1", session_id=session_id
    )
    facts = {name: getattr(system, name) for name in SystemFacts.__slots__}

    compiled = [compile_policy(parse_policy(one), f"policy-{at}", 1) for at, one in enumerate(documents)]
    view = view_request(parse_rpc(body), WALLET)
    verdict = evaluate(view, compiled, system, _members(compiled, view, system))

    expected = naive.decide(body, WALLET, documents, facts, SETS)
    event(expected)
    assert str(verdict.reason_code) == expected
    assert verdict.allowed == (expected == "allowed")


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=policies, body=requests(), session_id=sessions)
def test_trace__any_policy_and_request__explains_the_verdict(
    document: dict[str, Any], body: dict[str, Any], session_id: str | None
) -> None:
    system = SystemFacts(
        current_unix_timestamp=NOW, wallet_id="wallet-1", app_id="app-1", user_id="user-1", session_id=session_id
    )
    policy, view = compile_policy(parse_policy(document), "policy-1", 1), view_request(parse_rpc(body), WALLET)
    members = _members([policy], view, system)
    verdict, rules = evaluate(view, [policy], system, members), trace(policy, view, system, members)

    fired = [one for one in rules if one.action is Action.DENY and one.holds is not Holds.NO]
    allowing = [one for one in rules if one.action is Action.ALLOW and one.holds is Holds.YES]
    assert verdict.allowed == (not fired and bool(allowing))
    deciding = fired or allowing
    assert verdict.rule_id == (deciding[0].rule_id if deciding else None)
    unmet = first_unmet(rules)
    if verdict.reason_code is ReasonCode.NO_MATCHING_RULE:
        said = None if unmet is None else f"{unmet.field_source}.{unmet.field} {unmet.operator}"
        assert said == verdict.unmet
        assert unmet is None or unmet.holds is not Holds.YES
    event(str(verdict.reason_code))


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=policies, body=requests())
def test_evaluate__one_more_deny_rule_or_policy__never_turns_deny_into_allow(
    document: dict[str, Any], body: dict[str, Any]
) -> None:
    first = compile_policy(parse_policy(document), "policy-1", 1)
    second = compile_policy(parse_policy(policy(rule("ALLOW", "*"))), "policy-2", 1)
    tightened = policy(*document["rules"], rule("DENY", body["method"]))

    if not decide(body, first).allowed:
        assert not decide(body, first, second).allowed
        assert not decide(body, second, first).allowed
    assert not decide(body, compile_policy(parse_policy(tightened), "policy-1", 2), system=SYSTEM).allowed
