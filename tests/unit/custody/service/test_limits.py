"""Spending limits: what counts, for how long, and what becomes of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.support.custody import BOB, CHAIN, START, World, message, send
from tests.support.limits import (
    COUNT,
    HOUR,
    WALLET_GROUP,
    aggregation,
    at_most,
    counted,
    limited_wallet,
    standing,
    token_sum,
)

from lockstep.chains.evm import UnsignedTransaction, abi_encode_call
from lockstep.custody import (
    DecisionUnknown,
    PolicyDenied,
    Principal,
    SignedTransaction,
    TransactionIntent,
    Wallet,
)
from lockstep.custody.errors import DecisionLapsed
from lockstep.custody.policy import PolicyInvalid
from lockstep.custody.seals import AuthorityTampered
from lockstep.kit.ids import new_id

TOKEN = "0x" + "70" * 20
ASSET = f"{CHAIN}/erc20:{TOKEN}"
MICROSECOND = timedelta(microseconds=1)


def permit(value: int, nonce: int = 0, token: str = TOKEN) -> dict[str, Any]:
    members = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    return typed(
        {"Permit": members},
        {"owner": BOB, "spender": BOB, "value": str(value), "nonce": str(nonce), "deadline": "9"},
        token,
    )


def typed(types: dict[str, dict[str, str]], content: dict[str, Any], contract: str = TOKEN) -> dict[str, Any]:
    return {
        "method": "eth_signTypedData_v4",
        "params": {
            "typed_data": {
                "types": {
                    name: [{"name": member, "type": kind} for member, kind in members.items()]
                    for name, members in types.items()
                },
                "primary_type": next(iter(types)),
                "domain": {"name": "T", "chainId": 31337, "verifyingContract": contract},
                "message": content,
            }
        },
    }


def call(to: str, data: bytes, value: int = 0) -> dict[str, Any]:
    body = send(to, value)
    body["params"]["transaction"]["data"] = "0x" + data.hex()
    return body


def intent(wallet: Wallet, value: int, **more: Any) -> TransactionIntent:
    plain: dict[str, Any] = {"chain": CHAIN, "from_address": wallet.address, "to": BOB, "value": value, "data": b""}
    return TransactionIntent(app_id=wallet.app_id, wallet_id=wallet.id, idempotency_key=new_id(), **{**plain, **more})


async def decide(world: World, principal: Principal, wallet: Wallet, value: int, **more: Any) -> str:
    ask = world.custody.decide_replacement if "replaces" in more else world.custody.decide_transaction
    async with world.database.tenant(wallet.app_id) as uow:
        return (await ask(uow, principal, wallet, intent(wallet, value), **more)).id


def unsigned(value: int, nonce: int = 0) -> UnsignedTransaction:
    return UnsignedTransaction(
        chain_id=31337,
        nonce=nonce,
        to=BOB,
        value=value,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2,
        max_priority_fee_per_gas=1,
    )


async def denied(world: World, principal: Principal, wallet: Wallet, body: dict[str, Any]) -> dict[str, Any]:
    """The limit that a denial tells of."""
    with pytest.raises(PolicyDenied) as refused:
        await world.rpc(principal, wallet, body)
    (limit,) = refused.value.fields["limits"]
    return limit


# --- windows ----------------------------------------------------------------------------------------------------------


async def test_limits__a_use__counts_until_its_window_has_passed_to_the_microsecond(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 10))

    world.clock.advance(timedelta(seconds=HOUR) - MICROSECOND)
    assert (await denied(world, app, wallet, send(BOB, 1)))["left"] == "0"
    world.clock.advance(MICROSECOND)
    await world.rpc(app, wallet, send(BOB, 10))

    assert await counted(world) == [10]


async def test_limits__the_window__rolls_and_never_lets_double_through(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 4))
    world.clock.advance(timedelta(seconds=HOUR - 60))
    await world.rpc(app, wallet, send(BOB, 6))

    world.clock.advance(timedelta(seconds=60))  # the first one has left, the second one is a minute old
    assert (await denied(world, app, wallet, send(BOB, 5)))["left"] == "4"
    await world.rpc(app, wallet, send(BOB, 4))
    world.clock.advance(timedelta(seconds=HOUR - 60))
    assert (await denied(world, app, wallet, send(BOB, 7)))["left"] == "6"


async def test_limits__after_a_long_silence__are_as_exact(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10, seconds=72 * HOUR)
    await world.rpc(app, wallet, send(BOB, 3))
    world.clock.advance(timedelta(hours=71))
    await world.rpc(app, wallet, send(BOB, 4))
    world.clock.advance(timedelta(hours=48))

    assert (await denied(world, app, wallet, send(BOB, 7)))["used"] == "4"
    world.clock.advance(timedelta(days=9))
    await world.custody.purge_expired()
    await world.rpc(app, wallet, send(BOB, 10))


# --- what counts ------------------------------------------------------------------------------------------------------


async def test_limits__tokens__count_sent_and_signed_however_they_are_wrapped(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 100, metric=token_sum(ASSET))
    transfer = abi_encode_call("transfer(address,uint256)", [BOB, 10])
    batch = abi_encode_call("executeBatch((address,uint256,bytes)[])", [[(TOKEN, 0, transfer)] * 2])

    await world.rpc(app, wallet, call(TOKEN, transfer))
    await world.rpc(app, wallet, call(TOKEN, abi_encode_call("approve(address,uint256)", [BOB, 10])))
    await world.rpc(app, wallet, permit(10))
    await world.rpc(app, wallet, call(BOB, batch))
    await world.rpc(app, wallet, permit(99, token=BOB))  # another token
    await world.rpc(app, wallet, send(BOB, 10**18))  # no token

    assert await counted(world) == [50]
    assert (await denied(world, app, wallet, permit(51)))["asked"] == "51"


async def test_limits__what_cannot_be_told__is_not_allowed_under_a_limit(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 100, metric=token_sum(ASSET))
    vote = typed({"Vote": {"choice": "uint256"}}, {"choice": "1"})

    for body in (vote, call(TOKEN, b"\x12\x34\x56\x78"), call(BOB, bytes.fromhex("ac9650d8") + b"\x01")):
        assert (await denied(world, app, wallet, body))["asked"] is None
    await world.rpc(app, wallet, message("Sign in"))

    assert await counted(world) == [0]


async def test_limits__a_request_that_another_rule_allows__counts_all_the_same(world: World) -> None:
    app = await world.app()
    one = await aggregation(world, app)
    free = {
        "name": "to Bob",
        "method": "*",
        "action": "ALLOW",
        "conditions": [{"field_source": "ethereum_transaction", "field": "to", "operator": "eq", "value": BOB}],
    }
    wallet = await world.wallet(app, [at_most(one, 10), free])

    await world.rpc(app, wallet, send(BOB, 50))

    assert (await denied(world, app, wallet, send(TOKEN, 1)))["used"] == "50"


async def test_limits__conditions__narrow_what_counts_and_doubt_counts(world: World) -> None:
    app = await world.app()
    to_bob = [{"field_source": "ethereum_transaction", "field": "to", "operator": "eq", "value": BOB}]
    wallet, _ = await limited_wallet(world, app, 2, metric=COUNT, conditions=to_bob)

    for _ in range(3):
        await world.rpc(app, wallet, send(TOKEN, 1))
    await world.rpc(app, wallet, send(BOB, 1))
    await world.rpc(app, wallet, message("a message has no recipient, so it may be meant"))

    assert (await denied(world, app, wallet, send(BOB, 1)))["used"] == "2"
    await world.rpc(app, wallet, send(TOKEN, 1))


async def test_limits__of_one_method__leave_the_others_alone(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 1, metric=COUNT, method="personal_sign")

    await world.rpc(app, wallet, message("one"))

    await denied(world, app, wallet, message("two"))
    await world.rpc(app, wallet, send(BOB, 1))


async def test_limits__groups__are_counted_apart_and_without_groups_wallets_share(world: World) -> None:
    app = await world.app()
    apart, shared = await aggregation(world, app, group_by=WALLET_GROUP), await aggregation(world, app)
    for one, rest in ((apart, 10), (shared, 3)):
        policy = await world.policy(app, [at_most(one, 10)])
        first, second = [await world.wallet(app, [at_most(one, 10)]) for _ in range(2)]
        assert policy.revision == 1
        await world.rpc(app, first, send(BOB, 7))
        assert (await denied(world, app, second, send(BOB, rest + 1)))["left"] == str(rest)
        await world.rpc(app, second, send(BOB, rest))


async def test_limits__denied_requests_previews_and_trials__use_nothing(world: World) -> None:
    app = await world.app()
    wallet, one = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 4))
    await denied(world, app, wallet, send(BOB, 7))
    wanted = {"maximum": 10, "used": 4, "left": 6, "asked": 5, "window_seconds": HOUR, "limit": one.reference}

    shown = await world.custody.preview(app, wallet.id, send(BOB, 5))
    tried = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(BOB, 5))

    for limits in (shown.ruling.limits, tried.limits):
        assert [{name: getattr(limit, name) for name in wanted} for limit in limits] == [wanted]
    assert tried.rules[0].conditions[0].seen == "9"
    assert (shown.ruling.allowed, tried.verdict.allowed) == (True, True)
    assert await standing(world) == [(4, "reserved")]


async def test_limits__the_same_idempotency_key__counts_once(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)

    for _ in range(3):
        await world.rpc(app, wallet, send(BOB, 6), key="one")

    assert await counted(world) == [6]


async def test_limits__a_denial__says_what_is_left_in_words(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 4))

    with pytest.raises(PolicyDenied) as refused:
        await world.rpc(app, wallet, send(BOB, 7))

    assert "4 are used, so 6 are left, and this asks for 7" in refused.value.detail


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_limits__a_transaction_that_ended_unsigned__gives_its_part_back_and_is_never_signed(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    decision = await decide(world, app, wallet, 10)

    async with world.database.system("test") as uow:
        await world.custody.release_decisions(uow, [decision])

    assert (await standing(world), await counted(world)) == ([(10, "released")], [0])
    (late,) = await world.custody.sign_transactions([(decision, unsigned(10))])
    assert isinstance(late, DecisionUnknown)
    assert await world.rows("select 1 as x from released_signatures") == []


async def test_limits__what_was_signed__stays_used_whatever_becomes_of_the_transaction(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    decision = await decide(world, app, wallet, 10)
    (signed,) = await world.custody.sign_transactions([(decision, unsigned(10))])
    assert isinstance(signed, SignedTransaction)

    async with world.database.system("test") as uow:
        await world.custody.release_decisions(uow, [decision])

    assert (await standing(world), await counted(world)) == ([(10, "consumed")], [10])
    (again,) = await world.custody.sign_transactions([(decision, unsigned(10))])
    assert isinstance(again, SignedTransaction)


@pytest.mark.parametrize("is_signed", [False, True])
async def test_limits__a_transaction_made_dearer__is_replaced_and_not_added(world: World, is_signed: bool) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    first = await decide(world, app, wallet, 10)
    if is_signed:
        await world.custody.sign_transactions([(first, unsigned(10))])
    world.clock.advance(timedelta(minutes=50))

    second = await decide(world, app, wallet, 10, replaces=first)

    assert (await standing(world), await counted(world)) == ([(10, "consumed" if is_signed else "reserved")], [10])
    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, 1)
    world.clock.advance(timedelta(minutes=20))  # it counts from the newest decision on
    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, 1)
    assert await world.rows("select decision_id from limit_uses") == [{"decision_id": second}]


async def test_limits__a_transaction_that_is_never_mined__counts_for_the_whole_wait(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await decide(world, app, wallet, 10)
    world.clock.advance(timedelta(minutes=30))

    await world.custody.purge_expired()  # a transaction holds it: no age gives it back

    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, 1)


async def test_limits__a_decision_after_which_nothing_is_sent__uses_nothing(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)

    for _ in range(3):
        await decide(world, app, wallet, 10, is_queued=False)
    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, 11, is_queued=False)

    assert await standing(world) == []


async def test_limits__a_limit_that_comes_after_the_decision__is_looked_at_before_the_signature(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decisions = [await decide(world, app, wallet, 4) for _ in range(3)]
    one = await aggregation(world, app)
    document = {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": [at_most(one, 10)]}
    await world.custody.update_policy(app, wallet.policy_ids[0], document)

    answers = await world.custody.sign_transactions(
        [(decision, unsigned(4, nonce)) for nonce, decision in enumerate(decisions)]
    )

    assert [type(answer) for answer in answers] == [SignedTransaction, SignedTransaction, PolicyDenied]
    assert await standing(world) == [(4, "consumed"), (4, "consumed")]


# --- who dies in between ----------------------------------------------------------------------------------------------


async def test_limits__a_decision_that_died__is_given_back_and_signs_nothing_any_more(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 1, metric=COUNT)

    async def sleep_long() -> None:
        world.clock.advance(timedelta(minutes=2))
        await world.custody.purge_expired()

    world.executor.afterwards = sleep_long
    with pytest.raises(DecisionLapsed):
        await world.rpc(app, wallet, message("late"), key="one")
    world.executor.afterwards = None

    assert await standing(world) == [(1, "released")]
    assert await world.rows("select 1 as x from released_signatures") == []
    await world.rpc(app, wallet, message("late"), key="one")
    assert await counted(world) == [1]


async def test_limits__a_decision_that_is_not_old_enough__is_kept(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 1, metric=COUNT)

    async def sleep_a_little() -> None:
        world.clock.advance(timedelta(minutes=2) - MICROSECOND)
        await world.custody.purge_expired()

    world.executor.afterwards = sleep_a_little
    await world.rpc(app, wallet, message("in time"))

    assert await standing(world) == [(1, "consumed")]


# --- whose limits -----------------------------------------------------------------------------------------------------


async def test_limits__of_another_app__cannot_be_named(world: World) -> None:
    ours, theirs = await world.app("ours"), await world.app("theirs")
    one = await aggregation(world, theirs)

    with pytest.raises(PolicyInvalid, match="there is no aggregation"):
        await world.policy(ours, [at_most(one, 10)])


async def test_limits__an_aggregation_that_is_gone__allows_nothing(world: World) -> None:
    app = await world.app()
    wallet, one = await limited_wallet(world, app, 10)
    async with world.database.system("test") as uow:
        await uow.execute("update aggregations set deleted_at = %s", (START,))

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, send(BOB, 1))

    assert one.document["metric"]["function"] == "sum"


async def test_limits__an_aggregation_edited_in_the_database__allows_nothing(world: World) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    async with world.database.system("test") as uow:
        await uow.execute("update aggregations set document = jsonb_set(document, '{method}', '\"personal_sign\"')")

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, send(BOB, 1))

    assert world.engine.queued == []


@pytest.mark.parametrize(
    "edit",
    [
        "update limit_counters set total = 0",
        "update limit_counters set counted_after = now()",
        "update limit_counters set group_key = '[null]'",
        (
            "update limit_counters set (total, counted_after, written_at, code) ="
            " (select total, counted_after, written_at, code from before)"
        ),
        "delete from limit_counters",
    ],
)
async def test_limits__a_counter_edited_or_rolled_back_in_the_database__allows_nothing(
    world: World, admin_dsn: str, edit: str
) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 1))
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as attacker:
        await attacker.execute("create table before as select * from limit_counters")
        await world.rpc(app, wallet, send(BOB, 9))
        await attacker.execute(edit)  # type: ignore[arg-type]  # edits of tests are literals

    with pytest.raises(AuthorityTampered):
        await world.rpc(app, wallet, send(BOB, 1))

    assert len(world.engine.queued) == 2


@pytest.mark.parametrize(
    "edit",
    [
        "delete from limit_uses",
        "update limit_uses set amount = amount + 5",
        "update limit_uses set state = 'released'",
        "update limit_uses set counter_id = counter_id + 1",
        (
            "insert into limit_uses select '01900000-0000-7000-8000-0000000000aa', counter_id, app_id, 9, 'consumed', used_at,"
            " null, code from limit_uses limit 1"
        ),
    ],
)
async def test_limits__uses_edited_in_the_database__loosen_nothing(world: World, admin_dsn: str, edit: str) -> None:
    app = await world.app()
    wallet, _ = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 3))
    world.clock.advance(timedelta(minutes=30))
    await world.rpc(app, wallet, send(BOB, 6))
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as attacker:
        await attacker.execute(edit)  # type: ignore[arg-type]  # edits of tests are literals

    assert int((await denied(world, app, wallet, send(BOB, 2)))["used"]) == 9
    world.clock.advance(timedelta(minutes=30))  # the first one leaves the window
    assert int((await denied(world, app, wallet, send(BOB, 5)))["used"]) >= 6


# --- how they stand ---------------------------------------------------------------------------------------------------


async def test_limits__of_a_wallet__stand_as_used_and_say_when_something_is_free_again(world: World) -> None:
    app = await world.app()
    wallet, one = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 3))
    world.clock.advance(timedelta(minutes=10))
    await world.rpc(app, wallet, send(BOB, 4))

    (limit,) = await world.custody.list_wallet_limits(app, wallet.id)

    assert (limit.standing.limit, limit.standing.used, limit.standing.left) == (one.reference, 7, 3)
    assert limit.frees_at == START + timedelta(seconds=HOUR)
    world.clock.advance(timedelta(minutes=50))
    (limit,) = await world.custody.list_wallet_limits(app, wallet.id)
    assert (limit.standing.used, limit.frees_at) == (4, START + timedelta(minutes=70))


async def test_limits__whose_group_depends_on_the_request__are_left_to_previews(world: World) -> None:
    app = await world.app()
    by_recipient = [{"field_source": "ethereum_transaction", "field": "to"}]
    wallet, _ = await limited_wallet(world, app, 10, group_by=by_recipient)
    await world.rpc(app, wallet, send(BOB, 3))

    assert await world.custody.list_wallet_limits(app, wallet.id) == []
    for to, used in ((BOB, 3), (TOKEN, 0)):
        shown = await world.custody.preview(app, wallet.id, send(to, 1))
        assert shown.ruling.limits[0].used == used


async def test_limits__with_every_decision__how_they_stood_is_in_the_audit_log(world: World) -> None:
    app = await world.app()
    wallet, one = await limited_wallet(world, app, 10)
    await world.rpc(app, wallet, send(BOB, 4))
    await denied(world, app, wallet, send(BOB, 7))

    rows = await world.rows("select record from audit_entries where starts_with(action, 'signature.') order by seq")

    assert [json.loads(row["record"])["limits"] for row in rows] == [
        {one.reference: {"used": "0", "asked": "4"}},
        {one.reference: {"used": "4", "asked": "7"}},
    ]
