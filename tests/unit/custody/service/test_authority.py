"""Delegations on the road to a signature: policies, sessions, nonces, kill switches and the audit log see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from eth_account import Account
from tests.support.custody import BOB, CHAIN, GWEI, START, NonceTaken, World

from lockstep.chains.evm import Address, Authorization, SignedAuthorization, decode_signed
from lockstep.custody import PolicyDenied, Principal, SessionTerms, Wallet
from lockstep.custody.errors import SessionMethodDenied, WalletFrozen

METHOD = "eth_sign7702Authorization"
CODE = Address("0x" + "cc" * 20)
DELEGATES = [
    {
        "name": "our own code",
        "method": METHOD,
        "action": "ALLOW",
        "conditions": [
            {"field_source": "ethereum_7702_authorization", "field": "contract", "operator": "eq", "value": CODE},
            {
                "field_source": "ethereum_7702_authorization",
                "field": "chain_id",
                "operator": "in",
                "value": ["31337", "0"],
            },
        ],
    }
]
SIGNS = [
    {"name": "sign", "method": "eth_signTransaction", "action": "ALLOW", "conditions": [], "unconditional": True},
]


def authorize(nonce: int = 0, contract: str = CODE, chain_id: int = 31337, **more: Any) -> dict[str, Any]:
    return {"method": METHOD, "params": {"chain_id": chain_id, "contract": contract, "nonce": nonce, **more}}


def carry(given: dict[str, Any], nonce: int = 0) -> dict[str, Any]:
    transaction = {
        "to": BOB,
        "nonce": nonce,
        "gas_limit": 60_000,
        "max_fee_per_gas": str(2 * GWEI),
        "max_priority_fee_per_gas": str(GWEI),
        "authorization_list": [given],
    }
    return {"method": "eth_signTransaction", "caip2": CHAIN, "params": {"transaction": transaction}}


def signed_by(answer: dict[str, Any]) -> str:
    given = answer["data"]["authorization"]
    authorization = Authorization(
        chain_id=int(given["chain_id"], 16), contract=Address(given["contract"].lower()), nonce=int(given["nonce"], 16)
    )
    signature = {name: int(given[name], 16) for name in ("r", "s")}
    return SignedAuthorization(authorization=authorization, y_parity=given["y_parity"], **signature).recover_authority()


async def test_authorization__allowed_by_name__is_signed_by_the_wallet_and_recorded(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, DELEGATES)
    shown = await world.custody.preview(app, wallet.id, authorize())

    answer = await world.rpc(app, wallet, {**authorize(), "preview_digest": shown.digest})

    assert signed_by(answer) == wallet.address
    (decision,) = await world.rows("select * from signing_decisions")
    assert (decision["method"], decision["chain"], decision["allowed"]) == (METHOD, CHAIN, True)
    (released,) = await world.rows("select * from released_signatures")
    assert bytes(released["digest"]) == bytes(decision["request_digest"])


async def test_trap_11__a_delegation__is_not_covered_by_a_rule_for_everything(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, authorize())
    assert world.executor.signed == []


async def test_authorization__its_nonce__is_reserved_like_that_of_a_transaction(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, DELEGATES + SIGNS)

    first = await world.rpc(app, wallet, authorize(nonce=4))

    assert (CHAIN, wallet.address, 4) in world.engine.claimed
    assert await world.rpc(app, wallet, authorize(nonce=4)) == first
    with pytest.raises(NonceTaken):
        await world.rpc(app, wallet, carry(first["data"]["authorization"], nonce=4))
    await world.rpc(app, wallet, authorize(nonce=9, chain_id=0))
    assert len(world.engine.claimed) == 1  # no ledger holds a nonce on every chain


async def test_authorization__executed_by_the_account__is_reserved_behind_its_transaction(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, DELEGATES + SIGNS)
    given = (await world.rpc(app, wallet, authorize(nonce=2, executor="self")))["data"]["authorization"]
    assert int(given["nonce"], 16) == 3
    assert world.engine.claimed == {}

    answer = await world.rpc(app, wallet, carry(given, nonce=2))

    assert [nonce for _, _, nonce in world.engine.claimed] == [2, 3]
    raw = decode_signed(bytes.fromhex(answer["data"]["signed_transaction"][2:]))
    assert raw.sender == wallet.address
    assert raw.transaction.authorizations[0].recover_authority() == wallet.address


async def test_transaction__with_an_authorization__needs_rules_for_both(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, SIGNS)
    account = Account.create()
    other = account.sign_authorization({"chainId": 31337, "address": CODE, "nonce": 0})
    given = {"chain_id": 31337, "contract": CODE, "nonce": 0, "y_parity": other.y_parity}
    body = carry({**given, "r": hex(other.r), "s": hex(other.s)})

    with pytest.raises(PolicyDenied, match="Part 2 of 2"):
        await world.rpc(app, wallet, body)
    assert world.engine.claimed == {}

    both = await world.wallet(app, SIGNS + DELEGATES)
    await world.rpc(app, both, body)
    assert [nonce for _, _, nonce in world.engine.claimed] == [0]  # the authorization is another account's


async def test_session__that_may_only_sign_transactions__carries_no_delegation(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, SIGNS + DELEGATES)
    given = (await world.rpc(app, wallet, authorize(nonce=1, executor="self")))["data"]["authorization"]

    async def session(*methods: str) -> Principal:
        terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=methods)
        return await world.session(app, wallet, terms)

    narrow = await session("eth_signTransaction")
    for body in (carry(given, nonce=1), authorize()):
        with pytest.raises(SessionMethodDenied):
            await world.rpc(narrow, wallet, body)
    await world.rpc(await session("eth_signTransaction", METHOD), wallet, carry(given, nonce=1))


async def test_trap_12__frozen_while_the_signer_works__releases_no_delegation(world: World) -> None:
    app = await world.app()
    wallet: Wallet = await world.wallet(app, DELEGATES)

    async def freeze() -> None:
        await world.custody.update_wallet(app, wallet.id, status="frozen")

    world.executor.meanwhile = freeze
    with pytest.raises(WalletFrozen):
        await world.rpc(app, wallet, authorize())
    assert await world.rows("select 1 as x from released_signatures") == []
