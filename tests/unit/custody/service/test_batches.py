"""wallet_sendCalls on the one road: delegated accounts only, every call decided on, also again before it is signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.custody import ALICE, BOB, CHAIN, GWEI, START, World

from lockstep.chains.evm import UnsignedTransaction, decode_signed
from lockstep.custody import PolicyDenied, PreviewOutdated, Principal, SessionTerms, SignedTransaction, Wallet
from lockstep.custody.errors import BatchNotSupported, SessionValueDenied

METHOD = "wallet_sendCalls"


def calls(*pairs: tuple[str, int], **more: Any) -> dict[str, Any]:
    listed = [{"to": to, "value": str(value)} for to, value in pairs]
    return {"method": METHOD, "caip2": CHAIN, "params": {"calls": listed}, **more}


def pays(to: str, most: int, method: str = METHOD) -> list[dict[str, Any]]:
    source = "ethereum_transaction"
    conditions = [
        {"field_source": source, "field": "to", "operator": "eq", "value": to},
        {"field_source": source, "field": "value", "operator": "lte", "value": str(most)},
    ]
    return [{"name": "pay", "method": method, "action": "ALLOW", "conditions": conditions}]


async def delegated(world: World, rules: list[dict[str, Any]] | None = None) -> Wallet:
    wallet = await world.wallet(await world.app(), rules)
    world.engine.batching.add(wallet.address)
    return wallet


def app_of(wallet: Wallet) -> Principal:
    return Principal(kind="app", app_id=wallet.app_id)


def bound(world: World) -> tuple[str, UnsignedTransaction]:
    """The queued transaction with its numbers, as the engine has it signed."""
    decision, intent = world.engine.queued[-1]
    return decision.id, UnsignedTransaction(
        chain_id=31337,
        nonce=0,
        to=intent.to,  # type: ignore[arg-type]  # an address
        value=intent.value,
        data=intent.data,
        gas_limit=200_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
    )


async def test_calls__all_allowed__are_queued_as_one_transaction_and_signed(world: World) -> None:
    wallet = await delegated(world, pays(BOB, 10))

    answer = await world.rpc(app_of(wallet), wallet, calls((BOB, 10), (BOB, 1)))

    assert answer["method"] == METHOD
    assert set(answer["data"]) == {"hash", "caip2", "transaction_id"}
    ((decision, intent),) = world.engine.queued
    assert (decision.method, intent.to, intent.value) == (METHOD, wallet.address, 0)
    (signed,) = await world.custody.sign_transactions([bound(world)])
    assert isinstance(signed, SignedTransaction)
    assert decode_signed(signed.raw).sender == wallet.address


async def test_calls__of_an_account_without_code_for_it__are_refused_and_not_sent_one_by_one(world: World) -> None:
    wallet = await world.wallet(await world.app())

    body = calls((BOB, 1), (ALICE, 1))
    with pytest.raises(BatchNotSupported):
        await world.rpc(app_of(wallet), wallet, body)
    with pytest.raises(BatchNotSupported):
        await world.custody.preview(app_of(wallet), wallet.id, body)
    assert world.engine.queued == []
    await world.rpc(app_of(wallet), wallet, calls((BOB, 1)))
    ((_, intent),) = world.engine.queued
    assert (intent.to, intent.value, intent.data) == (BOB, 1, b"")


async def test_calls__one_that_no_rule_allows__denies_all(world: World) -> None:
    wallet = await delegated(world, pays(BOB, 10))

    for pairs in (((BOB, 1), (ALICE, 1)), ((BOB, 11), (BOB, 1))):
        with pytest.raises(PolicyDenied, match="of 2"):
            await world.rpc(app_of(wallet), wallet, calls(*pairs))
    assert world.engine.queued == []


async def test_calls__rules_for_transactions__do_not_cover_them_nor_the_other_way(world: World) -> None:
    sends = await delegated(world, pays(BOB, 10, "eth_sendTransaction"))
    with pytest.raises(PolicyDenied):
        await world.rpc(app_of(sends), sends, calls((BOB, 1)))
    batches = await delegated(world, pays(BOB, 10))
    one = {"method": "eth_sendTransaction", "caip2": CHAIN, "params": {"transaction": {"to": BOB, "value": "1"}}}
    with pytest.raises(PolicyDenied):
        await world.rpc(app_of(batches), batches, one)


async def test_calls__policy_changed_before_they_are_signed__asks_about_each_call_again(world: World) -> None:
    wallet = await delegated(world, pays(BOB, 10))
    await world.rpc(app_of(wallet), wallet, calls((BOB, 10), (BOB, 10)))

    for most, fits in ((20, True), (9, False)):
        document = {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": pays(BOB, most)}
        await world.custody.update_policy(app_of(wallet), wallet.policy_ids[0], document)
        (answer,) = await world.custody.sign_transactions([bound(world)])
        assert isinstance(answer, SignedTransaction) is fits
        assert fits or isinstance(answer, PolicyDenied)


async def test_calls__decided_on_anew_with_other_ceilings__are_asked_for_as_calls(world: World) -> None:
    wallet = await delegated(world, pays(BOB, 10))
    await world.rpc(app_of(wallet), wallet, calls((BOB, 1), (BOB, 2)))
    decision, intent = world.engine.queued[-1]
    dearer = replace(intent, max_fee_per_gas=9 * GWEI, max_priority_fee_per_gas=GWEI)

    async with world.database.tenant(wallet.app_id) as uow:
        again = await world.custody.decide_replacement(uow, app_of(wallet), wallet, dearer, replaces=decision.id)
    assert (again.method, again.allowed) == (METHOD, True)
    with pytest.raises(PolicyDenied):
        async with world.database.tenant(wallet.app_id) as uow:
            await world.custody.decide_transaction(uow, app_of(wallet), wallet, dearer)


async def test_calls__as_previewed__are_sent_and_else_refused(world: World) -> None:
    wallet = await delegated(world, pays(BOB, 10))
    body = calls((BOB, 1), (BOB, 2))
    world.engine.quote_now = replace(world.engine.quote_now, gas_limit=100_000)
    shown = await world.custody.preview(app_of(wallet), wallet.id, body)
    assert shown.words.sentence.startswith("All or nothing")

    with pytest.raises(PreviewOutdated):
        await world.rpc(app_of(wallet), wallet, calls((BOB, 1), (BOB, 3), preview_digest=shown.digest))
    first = await world.rpc(app_of(wallet), wallet, {**body, "preview_digest": shown.digest}, key="once")
    world.engine.batching.clear()
    assert await world.rpc(app_of(wallet), wallet, {**body, "preview_digest": shown.digest}, key="once") == first


async def test_session__value_limit__is_for_all_calls_together(world: World) -> None:
    wallet = await delegated(world)
    terms = SessionTerms(expires_at=START + timedelta(days=1), allowed_methods=[METHOD], max_value_per_transaction=10)
    session = await world.session(app_of(wallet), wallet, terms)

    await world.rpc(session, wallet, calls((BOB, 6), (ALICE, 4)))
    with pytest.raises(SessionValueDenied):
        await world.rpc(session, wallet, calls((BOB, 6), (ALICE, 5)))
