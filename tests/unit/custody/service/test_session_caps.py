"""Caps of session signers: cumulative, in all and within a window, whoever asks at the same moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import BOB, START, World, message, pure, send
from tests.support.limits import ETHER, HOUR, aggregation, at_most, standing

from lockstep.custody import PolicyDenied, Principal, SessionTerms, Wallet
from lockstep.custody.errors import SessionInvalid, SessionLimitReached
from lockstep.custody.seals import AuthorityTampered
from lockstep.custody.view import Method

FAR = START + timedelta(days=30)


async def capped(world: World, app: Principal, wallet: Wallet, **caps: Any) -> Principal:
    return await world.session(
        app, wallet, SessionTerms(expires_at=FAR, allowed_methods=[str(method) for method in Method], **caps)
    )


async def reached(world: World, session: Principal, wallet: Wallet, body: dict[str, Any]) -> dict[str, Any]:
    """What a refusal says about the cap."""
    with pytest.raises(SessionLimitReached) as refused:
        await world.rpc(session, wallet, body)
    return dict(refused.value.fields)


async def test_session_caps__value__is_cumulative_and_not_per_transaction(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await capped(world, app, wallet, max_total_value=10)

    await world.rpc(session, wallet, send(BOB, 6))
    found = await reached(world, session, wallet, send(BOB, 5))
    await world.rpc(session, wallet, pure(0, 4))
    await reached(world, session, wallet, send(BOB, 1))

    names = ("limit", "maximum", "used", "left", "asked")
    assert [found[name] for name in names] == ["session.total_value", "10", "6", "4", "5"]
    world.clock.advance(timedelta(days=20))
    await world.custody.purge_expired()
    await reached(world, session, wallet, send(BOB, 1))
    await world.rpc(session, wallet, send(BOB, 0))


async def test_session_caps__value_within_a_window__comes_back_with_time(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await capped(world, app, wallet, max_value_per_window=10, window_seconds=HOUR)

    await world.rpc(session, wallet, send(BOB, 10))
    await reached(world, session, wallet, send(BOB, 1))
    world.clock.advance(timedelta(seconds=HOUR))

    await world.rpc(session, wallet, send(BOB, 10))


async def test_session_caps__requests__are_counted_by_the_ledger_and_not_by_the_audit_log(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await capped(world, app, wallet, max_transactions=3, max_total_value=10)

    for _ in range(3):
        await reached(world, session, wallet, send(BOB, 11))  # denied ones use nothing
    await world.rpc(session, wallet, send(BOB, 1))
    await world.rpc(session, wallet, message("one"))
    await world.rpc(session, wallet, pure(0, 1))

    assert (await reached(world, session, wallet, message("two")))["limit"] == "session.transactions"


async def test_session_caps__many_at_once__are_not_passed(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await capped(world, app, wallet, max_transactions=5)

    results = await asyncio.gather(
        *[world.rpc(session, wallet, message(f"m{number}")) for number in range(20)], return_exceptions=True
    )

    assert sum(isinstance(result, SessionLimitReached) for result in results) == 15
    assert len(world.executor.signed) == 5


async def test_session_caps__what_cannot_be_told__is_refused_where_value_is_capped(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await capped(world, app, wallet, max_total_value=ETHER)
    vote = {
        "method": "eth_signTypedData_v4",
        "params": {
            "typed_data": {
                "types": {"Vote": [{"name": "choice", "type": "uint256"}]},
                "primary_type": "Vote",
                "domain": {"chainId": 31337},
                "message": {"choice": "1"},
            }
        },
    }

    assert (await reached(world, session, wallet, vote))["asked"] is None
    await world.rpc(app, wallet, vote)  # the cap is the session's only


async def test_session_caps__belong_to_the_session_that_asks__and_to_no_other(world: World) -> None:
    """Sessions are found by the identity that signs: two of one wallet each have their own, owner and app have none."""
    app = await world.app()
    wallet = await world.wallet(app)
    first = await capped(world, app, wallet, max_total_value=10)
    second = await capped(world, app, wallet, max_total_value=10)

    for caller in (first, second):
        await world.rpc(caller, wallet, send(BOB, 10))
        await reached(world, caller, wallet, send(BOB, 1))
    await world.rpc(app, wallet, send(BOB, 100))

    assert await standing(world) == [(10, "reserved"), (10, "reserved")]


async def test_session_caps__and_the_wallets_own_limit__both_hold(world: World) -> None:
    app = await world.app()
    one = await aggregation(world, app)
    wallet = await world.wallet(app, [at_most(one, 10)])
    session = await capped(world, app, wallet, max_total_value=100)

    await world.rpc(session, wallet, send(BOB, 8))
    with pytest.raises(PolicyDenied):
        await world.rpc(session, wallet, send(BOB, 3))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, send(BOB, 3))
    await world.rpc(app, wallet, send(BOB, 2))

    shown = await world.custody.preview(session, wallet.id, send(BOB, 1))
    assert [(limit.limit, limit.used, limit.left) for limit in shown.ruling.limits] == [
        ("session.total_value", 8, 92),
        (one.reference, 10, 0),
    ]


async def test_session_caps__a_session_whose_own_policy_is_gone__signs_nothing(world: World) -> None:
    """Nothing falls back to the wallet's policy, or to none."""
    app = await world.app()
    wallet, own = await world.wallet(app), await world.policy(app)
    session = await capped(world, app, wallet, policy_ids=(own.id,), max_transactions=5)
    async with world.database.system("test") as uow:
        await uow.execute("update session_signers set policy_ids = array['01900000-0000-7000-8000-0000000000aa']")

    with pytest.raises(AuthorityTampered):
        await world.rpc(session, wallet, message())

    assert await standing(world) == []


@pytest.mark.parametrize(
    "caps",
    [
        {"max_value_per_window": 1},
        {"window_seconds": HOUR},
        {"max_value_per_window": 1, "window_seconds": HOUR - 1},
        {"max_value_per_window": 1, "window_seconds": 72 * HOUR + 1},
    ],
)
async def test_session_caps__a_window_that_does_not_hold__is_refused(world: World, caps: dict[str, int]) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    with pytest.raises(SessionInvalid):
        await capped(world, app, wallet, **caps)


@pytest.mark.parametrize("column", ["max_total_value", "max_value_per_window", "max_transactions", "window_seconds"])
async def test_session_caps__raised_in_the_database__sign_nothing(world: World, column: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    caps = {"max_total_value": 10, "max_value_per_window": 10, "window_seconds": HOUR, "max_transactions": 5}
    session = await capped(world, app, wallet, **caps)
    async with world.database.system("test") as uow:
        await uow.execute(f"update session_signers set {column} = {column} + 1")  # type: ignore[arg-type]

    with pytest.raises(AuthorityTampered):
        await world.rpc(session, wallet, send(BOB, 1))

    assert world.engine.queued == []
