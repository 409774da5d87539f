"""User operations on the one road: each call is decided on, sessions keep their limit, the owner's signature fits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import ALICE, BOB, START, World

from lockstep.chains.evm import ENTRY_POINT, abi_encode_call, recover_address
from lockstep.custody import PolicyDenied, SessionTerms
from lockstep.custody.errors import SessionMethodDenied, SessionValueDenied
from lockstep.custody.view import parse_rpc

METHOD = "eth_signUserOperation"


def operate(*calls: tuple[str, int]) -> dict[str, Any]:
    targets, values = [to for to, _ in calls], [value for _, value in calls]
    data = abi_encode_call("executeBatch(address[],uint256[],bytes[])", [targets, values, [b""] * len(calls)])
    operation = {
        "sender": "0x" + "5a" * 20,
        "nonce": 1,
        "call_data": "0x" + data.hex(),
        **dict.fromkeys(("call_gas_limit", "verification_gas_limit", "pre_verification_gas"), 50_000),
        **dict.fromkeys(("max_fee_per_gas", "max_priority_fee_per_gas"), 1),
    }
    return {"method": METHOD, "params": {"chain_id": 31337, "contract": ENTRY_POINT, "user_operation": operation}}


def pays(to: str, most: int) -> list[dict[str, Any]]:
    source = "ethereum_transaction"
    return [
        {
            "name": "pay",
            "method": METHOD,
            "action": "ALLOW",
            "conditions": [
                {"field_source": source, "field": "to", "operator": "eq", "value": to},
                {"field_source": source, "field": "value", "operator": "lte", "value": str(most)},
            ],
        }
    ]


async def test_operation__whose_every_call_is_allowed__is_signed_by_the_owner(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 10))
    body = operate((BOB, 10), (BOB, 1))
    shown = await world.custody.preview(app, wallet.id, body)

    answer = await world.rpc(app, wallet, {**body, "preview_digest": shown.digest})

    digest = parse_rpc(body).operation.digest()  # type: ignore[union-attr]  # a user operation
    assert recover_address(digest, bytes.fromhex(answer["data"]["signature"][2:])) == wallet.address


async def test_operation__with_one_call_that_is_not_allowed__is_denied(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 10))

    for calls in (((BOB, 10), (ALICE, 1)), ((BOB, 1), (BOB, 11))):
        with pytest.raises(PolicyDenied, match="Part 2 of 2"):
            await world.rpc(app, wallet, operate(*calls))
    unread = operate((BOB, 1))
    unread["params"]["user_operation"]["call_data"] = "0xdeadbeef"
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, unread)
    assert world.executor.signed == []


async def test_session__value_limit__is_for_all_calls_together(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=[METHOD], max_value_per_transaction=10)
    session = await world.session(app, wallet, terms)

    await world.rpc(session, wallet, operate((BOB, 6), (ALICE, 4)))
    with pytest.raises(SessionValueDenied):
        await world.rpc(session, wallet, operate((BOB, 6), (ALICE, 5)))
    unread = operate((BOB, 1))
    unread["params"]["user_operation"]["call_data"] = "0xdeadbeef"
    with pytest.raises(SessionValueDenied):
        await world.rpc(session, wallet, unread)
    other = await world.session(
        app, wallet, SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=["eth_sendTransaction"])
    )
    with pytest.raises(SessionMethodDenied):
        await world.rpc(other, wallet, operate((BOB, 1)))
