"""Proofs agree with looking at every request there is, where there are few; and what they find is confirmed."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from policy_samples import (
    APPROVE_ABI,
    MAIL_TYPES,
    SHOP,
    STRANGER,
    TOKEN,
    TRANSFER_ABI,
    WALLET,
    approve_data,
    compiled,
    condition,
    mail,
    policy,
    rule,
    say,
    send,
    sign,
    transfer_data,
    tx,
)
from tests.support.counts import examples

from lockstep.custody.policy import CompiledPolicy, SystemFacts, compile_policy, evaluate, parse_policy, questions
from lockstep.custody.policy.proofs import Answer, Finding, KnownSet, Search
from lockstep.custody.policy.proofs.model import UNDERSTOOD
from lockstep.custody.policy.proofs.search import confirms, members_of, search
from lockstep.custody.policy.sets import Members
from lockstep.custody.view import RequestView, parse_rpc, view_request

SEND, SIGN, SAY, TYPED = (str(method) for method in UNDERSTOOD)
FRIENDS, NUMBERS, LARGE = (f"00000000-0000-7000-8000-00000000000{number}" for number in range(3))
SETS = {
    FRIENDS: KnownSet(items=frozenset({SHOP, TOKEN}), is_complete=True),
    NUMBERS: KnownSet(items=frozenset({"1", "3"}), is_complete=True),
    LARGE: KnownSet(items=frozenset({SHOP}), is_complete=False),
}
MAIL = {"types": MAIL_TYPES, "primary_type": "Mail"}
APP = "app-1"
ETHER = 10**18


def ask(method: str, *allowed_by: CompiledPolicy, denied_by: tuple[CompiledPolicy, ...] = (), **more: Any) -> Finding:
    wanted = Search(
        method=method,
        allowed_by=allowed_by,
        denied_by=denied_by,
        sets=more.get("sets", SETS),
        app_id=APP,
        seconds=more.get("seconds", 30),
    )
    found = search(wanted)
    if found.answer is Answer.FOUND:
        assert found.example is not None
        assert confirms(wanted, found.example, members_of(wanted, found.example))
    return found


def meets(method: str, *conditions: dict[str, Any]) -> CompiledPolicy:
    """The policy that stands for a question: it allows what meets the conditions."""
    return compiled(rule("ALLOW", method, *conditions), policy_id="question")


# --- every request there is -------------------------------------------------------------------------------------------

ADDRESSES = (SHOP, TOKEN, STRANGER, WALLET)
"""The last one stands for all that no policy names."""
SYSTEM = SystemFacts(current_unix_timestamp=1_800_000_000, wallet_id="wallet-1", app_id=APP)


@cache
def transfers() -> list[RequestView]:
    datas = ["0x", "0xdeadbeef", "0xa9059cbb00", approve_data(), transfer_data() + "00"]
    datas += [transfer_data(to, amount) for to, amount in product(ADDRESSES, range(5))]
    bodies = [send(to=to, value=str(value), data=data) for to, value, data in product(ADDRESSES, range(5), datas)]
    bodies += [send(value=str(value), data="0x00") for value in range(5)]
    for body, gas in product(list(bodies), (60_000, 90_000, 100_000)):
        bodies.append({**body, "params": {"transaction": {**body["params"]["transaction"], "gas_limit": str(gas)}}})
    return [view_request(parse_rpc(body), WALLET) for body in bodies]


@cache
def messages() -> list[RequestView]:
    texts = ["".join(letters) for size in range(6) for letters in product("abc", repeat=size)]
    bodies = [say(text) for text in texts] + [say("0x" + "ff" * size, "hex") for size in range(1, 6)]
    return [view_request(parse_rpc(body), WALLET) for body in bodies]


EQUAL, ORDER, PARTS = (
    ("eq", "neq", "in", "not_in"),
    ("lt", "lte", "gt", "gte"),
    ("contains", "starts_with", "ends_with"),
)
INSIDE = ("in_condition_set", "not_in_condition_set")


def _conditions(source: str, field: str, operators: tuple[str, ...], values: Any, **extra: Any) -> Any:
    def build(operator: str) -> Any:
        value = st.lists(values, min_size=1, max_size=2) if operator in ("in", "not_in") else values
        return value.map(lambda one: condition(source, field, operator, one, **extra))

    return st.sampled_from(operators).flatmap(build)


def _in(source: str, field: str, set_id: str, **extra: Any) -> Any:
    return st.sampled_from(INSIDE).map(lambda operator: condition(source, field, operator, set_id, **extra))


addresses, numbers = st.sampled_from(ADDRESSES[:3]), st.integers(0, 3).map(str)
transfer_conditions = st.one_of(
    _conditions("ethereum_transaction", "to", EQUAL, addresses),
    _conditions("ethereum_transaction", "value", EQUAL + ORDER, numbers),
    _conditions("ethereum_transaction", "gas_limit", ORDER, st.just("90000")),
    _conditions(
        "ethereum_transaction", "function_selector", ("eq", "neq"), st.sampled_from(("0xa9059cbb", "0x095ea7b3"))
    ),
    _conditions("ethereum_calldata", "function_name", EQUAL, st.just("transfer"), abi=TRANSFER_ABI),
    _conditions("ethereum_calldata", "transfer.to", EQUAL, addresses, abi=TRANSFER_ABI),
    _conditions("ethereum_calldata", "transfer.amount", EQUAL + ORDER, numbers, abi=TRANSFER_ABI + APPROVE_ABI),
    _in("ethereum_transaction", "to", FRIENDS),
    _in("ethereum_calldata", "transfer.to", FRIENDS, abi=TRANSFER_ABI),
    _in("ethereum_transaction", "value", NUMBERS),
)
texts = st.sampled_from(("a", "b", "ab", "ba"))
message_conditions = st.one_of(
    _conditions("ethereum_message", "content", EQUAL + PARTS, texts),
    _conditions("ethereum_message", "byte_length", EQUAL + ORDER, numbers),
)


def documents(method: str, conditions: Any) -> Any:
    rules = st.builds(
        lambda action, wanted, found: rule(action, wanted, *found),
        st.sampled_from(("ALLOW", "ALLOW", "DENY")),
        st.sampled_from((method, method, "*")),
        st.lists(conditions, max_size=3),
    )
    return st.lists(rules, min_size=1, max_size=4).map(lambda found: policy(*found))


def answers(policies: list[CompiledPolicy], view: RequestView) -> list[bool]:
    asked = questions(view, policies, SYSTEM)
    members: Members = {one: one[1] in SETS[one[0]].items for one in asked}
    return [evaluate(view, [one], SYSTEM, members).allowed for one in policies]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(("transfers", "messages")))
def test_search__few_requests__agrees_with_looking_at_each(data: st.DataObject, kind: str) -> None:
    method, conditions = (SEND, transfer_conditions) if kind == "transfers" else (SAY, message_conditions)
    first, second = (
        compile_policy(parse_policy(data.draw(documents(method, conditions))), f"policy-{number}", 1)
        for number in range(2)
    )
    views = transfers() if kind == "transfers" else messages()
    looked = [answers([first, second], view) for view in views]

    both = ask(method, first, second)
    only = ask(method, first, denied_by=(second,))

    event(f"both: {both.answer}")
    assert both.answer is (Answer.FOUND if any(one and other for one, other in looked) else Answer.NEVER)
    assert only.answer is (Answer.FOUND if any(one and not other for one, other in looked) else Answer.NEVER)


# --- questions that people have ---------------------------------------------------------------------------------------


def test_search__value_over_a_bound_to_somebody_outside_of_a_set__is_never_allowed() -> None:
    guarded = compiled(
        rule("ALLOW", SEND, tx("to", "in_condition_set", FRIENDS)),
        rule("ALLOW", SEND, tx("value", "lte", str(10 * ETHER))),
    )
    question = meets(SEND, tx("value", "gt", str(10 * ETHER)), tx("to", "not_in_condition_set", FRIENDS))

    found = ask(SEND, guarded, question)
    assert (found.answer, found.depends_on_sets) == (Answer.NEVER, False)


def test_search__answer_that_rests_on_the_items__says_so() -> None:
    guarded = compiled(rule("ALLOW", SEND, tx("to", "in_condition_set", FRIENDS)))

    found = ask(SEND, guarded, meets(SEND, tx("to", "eq", STRANGER)))
    assert (found.answer, found.depends_on_sets) == (Answer.NEVER, True)
    assert ask(SEND, guarded, meets(SEND, tx("to", "eq", SHOP))).answer is Answer.FOUND


def test_search__condition_set_that_is_missing__can_never_be_decided() -> None:
    guarded = compiled(rule("ALLOW", SEND, tx("to", "in_condition_set", FRIENDS)))

    assert ask(SEND, guarded, sets={}).answer is Answer.NEVER
    assert ask(SEND, compiled(rule("ALLOW", SEND), *[]), sets={}).answer is Answer.FOUND


def test_search__set_that_was_read_in_part__is_never_taken_for_all() -> None:
    guarded = compiled(rule("ALLOW", SEND, tx("to", "in_condition_set", LARGE)))

    assert ask(SEND, guarded, meets(SEND, tx("to", "eq", STRANGER))).answer is Answer.NOT_DECIDED
    found = ask(SEND, guarded)
    assert found.answer is Answer.FOUND


def test_search__hole_in_a_limit__is_shown_as_a_request() -> None:
    limited = compiled(
        rule("ALLOW", SEND),
        rule(
            "DENY",
            SEND,
            condition("ethereum_calldata", "function_name", "eq", "transfer", abi=TRANSFER_ABI + APPROVE_ABI),
            condition("ethereum_calldata", "transfer.amount", "gt", "100", abi=TRANSFER_ABI),
        ),
    )
    moves = condition("ethereum_calldata", "transfer.amount", "gt", "100", abi=TRANSFER_ABI)
    approves = condition("ethereum_calldata", "approve.amount", "gt", "100", abi=APPROVE_ABI)

    assert ask(SEND, limited, meets(SEND, moves)).answer is Answer.NEVER
    found = ask(SEND, limited, meets(SEND, approves))
    assert found.example is not None
    assert found.example.body["params"]["transaction"]["data"].startswith("0x095ea7b3")


@pytest.mark.parametrize(
    ("method", "conditions", "answer"),
    [
        (SIGN, [tx("type", "eq", "0"), tx("max_fee_per_gas", "eq", "7")], Answer.FOUND),
        (SIGN, [tx("type", "eq", "0"), tx("max_priority_fee_per_gas", "eq", "7")], Answer.NEVER),
        (SIGN, [tx("max_priority_fee_per_gas", "gt", "7"), tx("max_fee_per_gas", "lt", "7")], Answer.NEVER),
        (SIGN, [tx("nonce", "eq", "5"), tx("gas_limit", "lte", "50000")], Answer.FOUND),
        (SEND, [tx("max_priority_fee_per_gas", "gt", "7"), tx("to", "eq", SHOP)], Answer.FOUND),
        (SEND, [tx("value", "lt", "0x1"), tx("chain_id", "eq", "0")], Answer.NEVER),
        (SEND, [tx("data", "eq", "0x"), tx("function_selector", "eq", "0xa9059cbb")], Answer.NEVER),
        (SEND, [tx("data", "starts_with", "0xa9059cbb"), tx("function_selector", "eq", "0xa9059cbb")], Answer.FOUND),
        (SEND, [tx("data", "contains", "0x00ff00"), tx("data", "ends_with", "0xdd")], Answer.FOUND),
        (SAY, [condition("ethereum_message", "content", "contains", "\\u{61}")], Answer.FOUND),
        (
            SAY,
            [condition("ethereum_message", "content", "eq", "ß"), condition("message", "byte_length", "eq", "2")],
            Answer.FOUND,
        ),
        (
            SAY,
            [condition("message", "content", "eq", "abc"), condition("message", "byte_length", "eq", "2")],
            Answer.NEVER,
        ),
        (
            SAY,
            [condition("message", "content", "eq", "\\u{61}"), condition("message", "content", "eq", "a")],
            Answer.NEVER,
        ),
        (
            SAY,
            [condition("system", "hour_utc", "eq", "3"), condition("system", "weekday_utc", "eq", "7")],
            Answer.FOUND,
        ),
        (
            SAY,
            [condition("message", "content", "eq", "a"), condition("message", "byte_length", "gt", "1")],
            Answer.NEVER,
        ),
        (
            SAY,
            [condition("message", "content", "contains", "ß"), condition("message", "byte_length", "lte", "1")],
            Answer.NEVER,
        ),
        (SAY, [condition("system", "hour_utc", "gt", "23")], Answer.NEVER),
        (SAY, [condition("system", "weekday_utc", "eq", "0")], Answer.NEVER),
        (SAY, [condition("system", "app_id", "neq", APP)], Answer.NEVER),
        (
            SAY,
            [condition("system", "session_id", "starts_with", "0"), condition("system", "user_id", "eq", "u")],
            Answer.FOUND,
        ),
        (TYPED, [condition("ethereum_typed_data_message", "tip", "gt", "5", typed_data=MAIL)], Answer.FOUND),
        (TYPED, [condition("ethereum_typed_data_message", "from.wallet", "eq", SHOP, typed_data=MAIL)], Answer.FOUND),
        (TYPED, [condition("ethereum_typed_data_domain", "chain_id", "eq", "5")], Answer.FOUND),
        (
            TYPED,
            [condition("ethereum_typed_data_message", "tip", "gt", str(2**128 - 1), typed_data=MAIL)],
            Answer.NEVER,
        ),
    ],
)
def test_search__facts_of_one_request__are_told_apart_from_what_no_request_has(
    method: str, conditions: list[dict[str, Any]], answer: Answer
) -> None:
    assert ask(method, compiled(rule("ALLOW", method)), meets(method, *conditions)).answer is answer


def test_search__other_types_of_message__are_a_way_around_that_is_found() -> None:
    capped = compiled(
        rule("ALLOW", TYPED),
        rule("DENY", TYPED, condition("ethereum_typed_data_message", "tip", "gt", "5", typed_data=MAIL)),
    )
    tips = condition("ethereum_typed_data_message", "tip", "gt", "5", typed_data=MAIL)
    swapped = {"types": {**MAIL_TYPES, "Person": MAIL_TYPES["Person"][::-1]}, "primary_type": "Mail"}

    assert ask(TYPED, capped, meets(TYPED, tips)).answer is Answer.NEVER
    assert ask(TYPED, capped, meets(TYPED, {**tips, "typed_data": swapped})).answer is Answer.NEVER
    open_ended = compiled(
        rule("ALLOW", TYPED, condition("ethereum_typed_data_domain", "chain_id", "eq", "5")),
    )
    assert ask(TYPED, open_ended, meets(TYPED, {**tips, "typed_data": swapped})).answer is Answer.FOUND


def test_search__wider_revision__shows_what_it_newly_allows() -> None:
    before = compiled(rule("ALLOW", SEND, tx("to", "eq", SHOP), tx("value", "lte", "5")))
    after = compiled(rule("ALLOW", SEND, tx("to", "in", [SHOP, TOKEN]), tx("value", "lt", "6")))

    found = ask(SEND, after, denied_by=(before,))
    assert found.example is not None
    assert found.example.body["params"]["transaction"]["to"] == TOKEN
    assert ask(SEND, before, denied_by=(after,)).answer is Answer.NEVER
    assert ask(SEND, after, denied_by=(after,)).answer is Answer.NEVER


def test_search__struct_in_a_call__is_written_where_it_belongs() -> None:
    abi = [
        {
            "type": "function",
            "name": "pay",
            "inputs": [
                {"name": "memo", "type": "string"},
                {
                    "name": "order",
                    "type": "tuple",
                    "components": [
                        {"name": "hops", "type": "address[2][]"},
                        {"name": "amount", "type": "int128"},
                        {"name": "urgent", "type": "bool"},
                    ],
                },
                {"name": "tag", "type": "bytes3"},
            ],
        }
    ]
    found = ask(
        SIGN,
        compiled(rule("ALLOW", SIGN)),
        meets(
            SIGN,
            condition("ethereum_calldata", "pay.memo", "contains", "hi", abi=abi),
            condition("ethereum_calldata", "pay.order.amount", "lt", "-7", abi=abi),
            condition("ethereum_calldata", "pay.order.urgent", "eq", "true", abi=abi),
            condition("ethereum_calldata", "pay.tag", "eq", "0x010203", abi=abi),
        ),
    )
    assert found.answer is Answer.FOUND


def test_search__conditions_on_lists__are_not_looked_into_and_nothing_is_made_up() -> None:
    abi = [{"type": "function", "name": "batch", "inputs": [{"name": "to", "type": "address[]"}]}]
    known = condition("ethereum_calldata", "batch.to[*]", "in", [SHOP], abi=abi)
    strange = condition("ethereum_calldata", "batch.to[any]", "eq", STRANGER, abi=abi)
    batches = compiled(rule("ALLOW", SEND, known, tx("value", "eq", "0")))

    assert ask(SEND, batches, denied_by=(compiled(rule("ALLOW", SEND, known)),)).answer is Answer.NEVER
    assert ask(SEND, batches, meets(SEND, tx("value", "gt", "0"))).answer is Answer.NEVER
    assert ask(SEND, batches, meets(SEND, strange)).answer is Answer.NOT_DECIDED


def test_search__character_that_the_solver_does_not_have__is_not_decided() -> None:
    strange = compiled(rule("ALLOW", SAY, condition("message", "content", "eq", "\U000e0001")))

    assert ask(SAY, strange).answer is Answer.NOT_DECIDED


def test_search__stored_policy_that_is_not_understood__allows_nothing() -> None:
    broken = CompiledPolicy("p", 1, "p", {}, {}, invalid="broken")

    assert ask(SEND, broken).answer is Answer.NEVER


def test_samples__of_all_requests__hold() -> None:
    assert (len(transfers()), len(messages())) == (2020, 369)
    assert sign(to=SHOP)["method"] == SIGN
    assert mail()["method"] == TYPED
