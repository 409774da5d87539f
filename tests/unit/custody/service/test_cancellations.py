"""Cancellations: allowed to whoever may send from the wallet, whatever its policies say, and never a way to move value."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from tests.support.custody import BOB, CHAIN, GWEI, START, World, pays

from lockstep.chains.evm import UnsignedTransaction, decode_signed
from lockstep.custody import (
    CallerNotAllowed,
    DecisionMismatch,
    DecisionUnknown,
    FeeAboveCeiling,
    OwnerRequired,
    PolicyDenied,
    Principal,
    SessionTerms,
    SignedTransaction,
    TransactionIntent,
    Wallet,
    WalletNotFound,
)
from lockstep.custody.errors import SessionMethodDenied, SessionRevoked, WalletFrozen
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId, new_id

FAR = START + timedelta(days=1)


def cancellation(wallet: Wallet, **more: object) -> TransactionIntent:
    plain: dict[str, object] = {
        "app_id": wallet.app_id,
        "wallet_id": wallet.id,
        "chain": CHAIN,
        "from_address": wallet.address,
        "to": wallet.address,
        "value": 0,
        "data": b"",
        "max_fee_per_gas": 3 * GWEI,
        "max_priority_fee_per_gas": 3 * GWEI,
        "idempotency_key": "",
    }
    return TransactionIntent(**{**plain, **more})  # type: ignore[arg-type]  # fields by name


def self_send(wallet: Wallet, **more: object) -> UnsignedTransaction:
    plain: dict[str, object] = {
        "chain_id": 31337,
        "nonce": 4,
        "to": wallet.address,
        "value": 0,
        "data": b"",
        "gas_limit": 21_000,
        "max_fee_per_gas": 2 * GWEI,
        "max_priority_fee_per_gas": GWEI,
    }
    return UnsignedTransaction(**{**plain, **more})  # type: ignore[arg-type]  # fields by name


async def decide(world: World, principal: Principal, wallet: Wallet, **more: object) -> str:
    async with world.database.tenant(principal.tenant) as uow:
        return (await world.custody.decide_cancellation(uow, principal, cancellation(wallet, **more))).id


async def sign(world: World, decision: str, transaction: UnsignedTransaction) -> SignedTransaction | LockstepError:
    (answer,) = await world.custody.sign_transactions([(decision, transaction)])
    return answer


def engine(wallet: Wallet) -> Principal:
    return Principal(kind="module", app_id=wallet.app_id, name="engine")


@pytest.mark.parametrize("who", ["app", "engine"])
async def test_cancellation__policies_that_allow_something_else__is_signed(world: World, who: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))

    answer = await sign(world, await decide(world, app if who == "app" else engine(wallet), wallet), self_send(wallet))

    assert isinstance(answer, SignedTransaction)
    assert decode_signed(answer.raw).sender == wallet.address
    (row,) = await world.rows("select caller, method, reason_code from signing_decisions")
    label = app.label if who == "app" else "module:engine"
    assert (row["caller"], row["method"], row["reason_code"]) == (label, "cancel_transaction", "cancellation")
    actions = {row["action"] for row in await world.rows("select action from audit_entries")}
    assert {"signature.allowed", "signature.released"} <= actions


@pytest.mark.parametrize(
    "change",
    [{"value": 1}, {"to": BOB}, {"data": b"\x00"}, {"max_fee_per_gas": None}, {"max_priority_fee_per_gas": None}],
)
async def test_cancellation__that_could_move_something_or_has_no_ceiling__is_not_decided(
    world: World, change: dict[str, object]
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    with pytest.raises(DecisionMismatch):
        await decide(world, app, wallet, **change)

    assert await world.rows("select 1 as x from signing_decisions") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"value": 1}, DecisionMismatch),
        ({"to": BOB}, DecisionMismatch),
        ({"data": b"\x01", "gas_limit": 30_000}, DecisionMismatch),
        ({"access_list": ((BOB, ()),), "gas_limit": 30_000}, DecisionMismatch),
        ({"gas_limit": 2_000_001}, FeeAboveCeiling),
        ({"max_fee_per_gas": 3 * GWEI + 1}, FeeAboveCeiling),
    ],
)
async def test_cancellation__other_bytes_than_a_self_send__are_not_signed(
    world: World, change: dict[str, object], expected: type[Exception]
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    answer = await sign(world, await decide(world, app, wallet), self_send(wallet, **change))

    assert isinstance(answer, expected)
    assert world.executor.signed == []


async def test_cancellation__decision_of_an_edited_row__signs_nothing(world: World, admin_dsn: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decision = await decide(world, app, wallet)
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
        await admin.execute("set session_replication_role = replica")  # decisions refuse to be changed
        edited = "update signing_decisions set intent = intent || jsonb_build_object('to', %s::text, 'value', '7')"
        assert (await admin.execute(edited, (BOB,))).rowcount == 1

    answer = await sign(world, decision, self_send(wallet, to=BOB, value=7))

    assert isinstance(answer, DecisionUnknown)


async def test_cancellation__decision_about_a_payment__does_not_sign_it(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    async with world.database.tenant(wallet.app_id) as uow:
        payment = replace(cancellation(wallet), to=BOB, value=5)
        decision = (await world.custody.decide_transaction(uow, app, wallet, payment)).id

    assert isinstance(await sign(world, decision, self_send(wallet)), DecisionMismatch)


async def test_cancellation__policies_without_a_rule_for_it__a_payment_to_oneself_is_still_denied(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))
    async with world.database.tenant(wallet.app_id) as uow:
        with pytest.raises(PolicyDenied):
            await world.custody.decide_transaction(uow, app, wallet, cancellation(wallet))


@pytest.mark.parametrize("when", ["before the decision", "after it"])
async def test_cancellation__of_a_frozen_wallet__is_not_signed(world: World, when: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decision = await decide(world, app, wallet)
    of_engine = await decide(world, engine(wallet), wallet)
    await world.custody.update_wallet(app, wallet.id, status="frozen")

    if when == "before the decision":
        for caller in (app, engine(wallet)):
            with pytest.raises(WalletFrozen):
                await decide(world, caller, wallet)
    else:
        assert isinstance(await sign(world, decision, self_send(wallet)), WalletFrozen)
        assert isinstance(await sign(world, of_engine, self_send(wallet)), WalletFrozen)
    async with world.database.tenant(wallet.app_id) as uow:  # what was not signed may be taken back all the same
        await world.custody.check_withdrawal(uow, app, wallet.id, decision)


async def test_cancellation__by_those_who_may_not_send__is_refused(world: World) -> None:
    app, other = await world.app("one"), await world.app("two")
    owner = await _user(world, app)
    owned = await world.wallet(app, owner=owner.user_id)
    plain = await world.wallet(app)
    terms = SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"])
    no_sender = await world.session(app, plain, terms)
    refusals: list[tuple[Principal, Wallet, type[Exception]]] = [
        (app, owned, OwnerRequired),
        (await _user(world, app), owned, WalletNotFound),
        (no_sender, plain, SessionMethodDenied),
        (replace(no_sender, wallet_id=WalletId(new_id())), plain, WalletNotFound),
        (replace(no_sender, session_id=new_id()), plain, SessionRevoked),
        (Principal(kind="module", app_id=app.app_id, name="coordinator"), plain, CallerNotAllowed),
        (Principal(kind="external", app_id=app.app_id, address=BOB), plain, CallerNotAllowed),
        (other, plain, DecisionMismatch),
    ]
    for caller, wallet, refusal in refusals:
        with pytest.raises(refusal):
            await decide(world, caller, wallet)
    with pytest.raises(WalletNotFound):
        await decide(world, other, plain, app_id=AppId(other.tenant))
    assert await decide(world, owner, owned)


async def test_withdrawal__by_a_session_signer__only_of_what_it_sent(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=FAR, allowed_methods=["eth_sendTransaction"])
    session, another = await world.session(app, wallet, terms), await world.session(app, wallet, terms)
    decisions = {}
    for caller in (app, session, another):
        async with world.database.tenant(wallet.app_id) as uow:
            payment = replace(cancellation(wallet), to=BOB, value=5)
            decisions[caller.label] = (await world.custody.decide_transaction(uow, caller, wallet, payment)).id

    for caller in (app, another):
        async with world.database.tenant(wallet.app_id) as uow:
            with pytest.raises(CallerNotAllowed):
                await world.custody.check_withdrawal(uow, session, wallet.id, decisions[caller.label])
    async with world.database.tenant(wallet.app_id) as uow:
        await world.custody.check_withdrawal(uow, session, wallet.id, decisions[session.label])
        await world.custody.check_withdrawal(uow, app, wallet.id, decisions[session.label])


async def _user(world: World, app: Principal) -> Principal:
    return await world.user(app, new_id())
