"""From a request to a signature, on a real database with the signer's core."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from tests.support.custody import ALICE, BOB, CHAIN, GWEI, START, NonceTaken, World, message, pays, pure, send

from lockstep.chains.evm import UnsignedTransaction, decode_signed, personal_digest, recover_address
from lockstep.custody import (
    DecisionMismatch,
    DecisionUnknown,
    FeeAboveCeiling,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    OwnerRequired,
    PolicyDenied,
    PreviewOutdated,
    Principal,
    Quote,
    SessionTerms,
    SignedTransaction,
    SignerUnavailable,
    TransactionIntent,
    Wallet,
    WalletNotFound,
    claim_for,
)
from lockstep.custody.errors import (
    PolicyMissing,
    SessionExpired,
    SessionMethodDenied,
    SessionRevoked,
    SessionValueDenied,
    WalletFrozen,
)
from lockstep.custody.seals import Kind, contents
from lockstep.custody.view import RpcInvalid, WrongSender
from lockstep.kit.errors import Unprocessable
from lockstep.kit.ids import AppId, WalletId, new_id

FAR = START + timedelta(days=1)


def intent(wallet: Wallet, **more: object) -> TransactionIntent:
    plain: dict[str, object] = {
        "app_id": wallet.app_id,
        "wallet_id": wallet.id,
        "chain": CHAIN,
        "from_address": wallet.address,
        "to": BOB,
        "value": 5,
        "data": b"",
        "gas_limit": 30_000,
        "max_fee_per_gas": 3 * GWEI,
        "idempotency_key": new_id(),
    }
    return TransactionIntent(**{**plain, **more})  # type: ignore[arg-type]  # fields by name


def transaction(**more: object) -> UnsignedTransaction:
    plain: dict[str, object] = {
        "chain_id": 31337,
        "nonce": 0,
        "to": BOB,
        "value": 5,
        "data": b"",
        "gas_limit": 21_000,
        "max_fee_per_gas": 2 * GWEI,
        "max_priority_fee_per_gas": GWEI,
    }
    return UnsignedTransaction(**{**plain, **more})  # type: ignore[arg-type]  # fields by name


async def decide(world: World, principal: Principal, wallet: Wallet, **more: object) -> str:
    async with world.database.tenant(wallet.app_id) as uow:
        return (await world.custody.decide_transaction(uow, principal, wallet, intent(wallet, **more))).id


# --- signing at once --------------------------------------------------------------------------------------------------


async def test_rpc__an_allowed_message__is_signed_by_the_wallet(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    answer = await world.rpc(app, wallet, message("hello"))

    assert answer["method"] == "personal_sign"
    signature = bytes.fromhex(answer["data"]["signature"][2:])
    assert recover_address(personal_digest(b"hello"), signature) == wallet.address
    (decision,) = await world.rows("select * from signing_decisions")
    assert decision["allowed"]
    (released,) = await world.rows("select * from released_signatures")
    assert released["decision_id"] == decision["id"]
    assert bytes(released["digest"]) == personal_digest(b"hello") == bytes(decision["request_digest"])
    actions = [row["action"] for row in await world.rows("select action from audit_entries order by shard, seq")]
    assert actions.count("signature.allowed") == actions.count("signature.released") == 1


async def test_rpc__a_signature__is_nowhere_in_clear_in_the_database(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    signature = (await world.rpc(app, wallet, message("hello")))["data"]["signature"][2:]

    for table in ("idempotency_keys", "signing_decisions", "audit_entries", "outbox"):
        dump = str(await world.rows(f"select t::text as row, t from {table} t"))
        assert signature not in dump
        assert signature[:64] not in dump


async def test_rpc__typed_data__is_signed_as_shown(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    typed = {
        "types": {"Note": [{"name": "text", "type": "string"}]},
        "primary_type": "Note",
        "domain": {"name": "Test", "chainId": 31337},
        "message": {"text": "hi"},
    }
    body = {"method": "eth_signTypedData_v4", "params": {"typed_data": typed}}

    shown = await world.custody.preview(app, wallet.id, body)
    answer = await world.rpc(app, wallet, {**body, "preview_digest": shown.digest})

    (decision,) = await world.rows("select * from signing_decisions")
    signature = bytes.fromhex(answer["data"]["signature"][2:])
    assert recover_address(bytes(decision["request_digest"]), signature) == wallet.address


async def test_rpc__many_at_once__each_gets_its_own_signature(world: World) -> None:
    app = await world.app()
    wallets = [await world.wallet(app) for _ in range(5)]

    answers = await asyncio.gather(
        *[world.rpc(app, wallets[number % 5], message(f"m{number}")) for number in range(60)]
    )

    for number, answer in enumerate(answers):
        signature = bytes.fromhex(answer["data"]["signature"][2:])
        assert recover_address(personal_digest(f"m{number}".encode()), signature) == wallets[number % 5].address
    assert len(await world.rows("select 1 as x from released_signatures")) == 60


async def test_rpc__a_denied_neighbour_in_the_batch__harms_nobody(world: World) -> None:
    app = await world.app()
    free, bound = await world.wallet(app), await world.wallet(app, pays(BOB, 10))

    results = await asyncio.gather(
        *[world.rpc(app, (free, bound)[number % 2], message(f"m{number}")) for number in range(20)],
        return_exceptions=True,
    )

    assert [isinstance(result, PolicyDenied) for result in results] == [bool(number % 2) for number in range(20)]


async def test_rpc__a_pure_transaction__needs_its_nonce_and_claims_it(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    answer = await world.rpc(app, wallet, pure(nonce=7))

    raw = decode_signed(bytes.fromhex(answer["data"]["signed_transaction"][2:]))
    assert raw.sender == wallet.address
    assert raw.transaction.nonce == 7
    assert (CHAIN, wallet.address, 7) in world.engine.claimed
    assert await world.rpc(app, wallet, pure(nonce=7)) == answer  # the same bytes may be signed again
    with pytest.raises(NonceTaken):
        await world.rpc(app, wallet, pure(nonce=7, value=2))
    without = pure()
    del without["params"]["transaction"]["nonce"]
    with pytest.raises(RpcInvalid):
        await world.rpc(app, wallet, without)


# --- denials ----------------------------------------------------------------------------------------------------------


async def test_rpc__no_policy__denies_and_records_why(world: World) -> None:
    app = await world.app()
    wallet = await world.custody.create_wallet(app)

    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, message())

    (decision,) = await world.rows("select * from signing_decisions")
    assert not decision["allowed"]
    assert decision["reason_code"] == "no_policy"
    (entry,) = await world.rows("select record from audit_entries where action = 'signature.denied'")
    assert '"reason_code":"no_policy"' in entry["record"]
    assert world.executor.signed == []


async def test_rpc__a_payment_above_the_limit__is_denied_with_its_reason(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 10))

    await world.rpc(app, wallet, send(BOB, 10))
    with pytest.raises(PolicyDenied) as refused:
        await world.rpc(app, wallet, send(BOB, 11))

    assert refused.value.http_status == 403
    assert refused.value.fields["reason_code"] == "no_matching_rule"
    assert len(world.engine.queued) == 1


async def test_rpc__a_frozen_wallet__signs_nothing(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.custody.update_wallet(app, wallet.id, status="frozen")

    for body in (message(), send(), pure()):
        with pytest.raises(WalletFrozen):
            await world.rpc(app, wallet, body)

    assert world.executor.signed == []
    assert world.engine.queued == []


async def _lose_policy(admin_dsn: str, policy_id: str) -> None:
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
        await admin.execute("set session_replication_role = replica")  # what rests on it stays
        assert (await admin.execute("delete from policies where id = %s", (policy_id,))).rowcount == 1


async def test_rpc__an_attached_policy_that_is_gone__denies(world: World, admin_dsn: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await _lose_policy(admin_dsn, wallet.policy_ids[0])

    with pytest.raises(PolicyMissing):
        await world.rpc(app, wallet, message())


async def test_trap_8__session_policy_that_is_gone__denies_and_never_falls_back_to_the_wallets(
    world: World, admin_dsn: str
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    own = await world.policy(app)
    terms = SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"], policy_ids=[own.id])
    session = await world.session(app, wallet, terms)
    assert await world.rpc(session, wallet, message())
    await _lose_policy(admin_dsn, own.id)

    with pytest.raises(PolicyMissing):
        await world.rpc(session, wallet, message())
    assert not (await world.custody.preview(session, wallet.id, message())).ruling.allowed


async def test_rpc__a_wallet_with_an_owner__signs_for_the_owner_only(world: World) -> None:
    app = await world.app()
    owner, other = await world.user(app, "one"), await world.user(app, "two")
    wallet = await world.wallet(app, owner=owner.user_id)

    await world.rpc(owner, wallet, message())
    with pytest.raises(OwnerRequired):
        await world.rpc(app, wallet, message())
    with pytest.raises(WalletNotFound):
        await world.rpc(other, wallet, message())


async def test_rpc__another_apps_wallet__is_not_found(world: World) -> None:
    ours, theirs = await world.app("ours"), await world.app("theirs")
    wallet = await world.wallet(theirs)

    for body in (message(), send(), pure()):
        with pytest.raises(WalletNotFound):
            await world.rpc(ours, wallet, body)
    with pytest.raises(WalletNotFound):
        await world.custody.preview(ours, wallet.id, message())
    assert await world.rows("select 1 as x from signing_decisions") == []


async def test_rpc__another_sender_in_the_body__is_refused_the_same_way_twice(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    body = send()
    body["params"]["transaction"]["from"] = ALICE

    with pytest.raises(WrongSender):
        await world.rpc(app, wallet, body, "key")
    replayed = await world.rpc(app, wallet, body, "key")

    assert replayed["code"] == "wrong_sender"


# --- session signers --------------------------------------------------------------------------------------------------


async def test_session__inside_its_limits__signs(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))

    await world.rpc(session, wallet, message())

    (decision,) = await world.rows("select * from signing_decisions")
    assert decision["session_id"] == session.session_id


async def test_session__outside_its_limits__is_denied(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    narrow = await world.policy(app, pays(ALICE, 100))
    session = await world.session(
        app,
        wallet,
        SessionTerms(
            expires_at=FAR,
            allowed_methods=["eth_sendTransaction"],
            policy_ids=[narrow.id],
            max_value_per_transaction=50,
        ),
    )

    await world.rpc(session, wallet, send(ALICE, 50))
    with pytest.raises(SessionMethodDenied):
        await world.rpc(session, wallet, message())
    with pytest.raises(SessionValueDenied):
        await world.rpc(session, wallet, send(ALICE, 51))
    with pytest.raises(PolicyDenied):  # the wallet's policy allows it, the session's does not
        await world.rpc(session, wallet, send(BOB, 1))


async def test_session__its_own_policy_allows_more__the_wallets_still_denies(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 10))
    wide = await world.policy(app)
    session = await world.session(
        app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"], policy_ids=[wide.id])
    )

    with pytest.raises(PolicyDenied):
        await world.rpc(session, wallet, message())


async def test_session__expired__signs_nothing_from_that_moment(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(
        app, wallet, SessionTerms(expires_at=START + timedelta(minutes=1), allowed_methods=["personal_sign"])
    )
    world.clock.advance(timedelta(minutes=1) - timedelta(milliseconds=1))
    await world.rpc(session, wallet, message())

    world.clock.advance(timedelta(milliseconds=1))

    with pytest.raises(SessionExpired):
        await world.rpc(session, wallet, message("again"))


async def test_session__revoked__signs_nothing_at_once(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=FAR, allowed_methods=["personal_sign", "eth_sendTransaction"])
    session = await world.session(app, wallet, terms)
    await world.rpc(session, wallet, message())

    await world.custody.revoke_session_signer(app, wallet.id, session.session_id or "")

    with pytest.raises(SessionRevoked):
        await world.rpc(session, wallet, message("again"))
    with pytest.raises(SessionRevoked):
        await world.rpc(session, wallet, send())


@pytest.mark.parametrize(
    ("change", "refusal"),
    [("frozen", WalletFrozen), ("revoked", SessionRevoked), ("policy", PolicyDenied), ("detached", PolicyDenied)],
)
async def test_rpc__authority_ends_while_the_signer_works__releases_nothing(
    world: World, change: str, refusal: type[Exception]
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    only_pays = {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 1)}
    changes = {
        "frozen": lambda: world.custody.update_wallet(app, wallet.id, status="frozen"),
        "revoked": lambda: world.custody.revoke_session_signer(app, wallet.id, session.session_id or ""),
        "policy": lambda: world.custody.update_policy(app, wallet.policy_ids[0], only_pays),
        "detached": lambda: world.custody.update_wallet(app, wallet.id, policy_ids=[]),
    }
    world.executor.meanwhile = changes[change]

    with pytest.raises(refusal):
        await world.rpc(session, wallet, message(), "key")

    assert await world.rows("select 1 as x from released_signatures") == []
    (withheld,) = await world.rows("select record from audit_entries where action = 'signature.withheld'")
    assert "allowed" not in withheld["record"]
    world.executor.meanwhile = None
    with pytest.raises(refusal):  # decided anew, and kept
        await world.rpc(session, wallet, message(), "key")


async def test_rpc__the_policy_changes_while_the_signer_works_and_still_allows__signs(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    policy = await world.policy(app)
    world.executor.meanwhile = lambda: world.custody.update_wallet(app, wallet.id, policy_ids=[policy.id])

    assert "signature" in (await world.rpc(app, wallet, message()))["data"]


async def test_session__of_another_wallet__does_not_see_this_one(world: World) -> None:
    app = await world.app()
    first, second = await world.wallet(app), await world.wallet(app)
    session = await world.session(app, first, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))

    with pytest.raises(WalletNotFound):
        await world.rpc(session, second, message())
    with pytest.raises(WalletNotFound):  # nor by naming the session of one wallet next to another wallet
        await world.rpc(replace(session, wallet_id=None), second, message())


async def test_module__with_a_grant__acts_as_its_session(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=FAR, allowed_methods=["eth_sendTransaction"], grantee="module:coordinator")
    _, token = await world.custody.create_session_signer(app, wallet.id, terms)
    assert token is None

    async with world.database.system("test") as uow:
        found = await world.custody.find_module_principal(uow, "coordinator", wallet.app_id, wallet.id)
        other = await world.custody.find_module_principal(uow, "solver", wallet.app_id, wallet.id)

    assert other is None
    assert found is not None
    await decide(world, found, wallet)


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_send__allowed__is_queued_in_the_transaction_of_its_decision(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    answer = await world.rpc(app, wallet, send(BOB, 9), "pay")
    again = await world.rpc(app, wallet, send(BOB, 9), "pay")

    assert answer == again
    assert answer["data"]["hash"] is None
    assert answer["data"]["caip2"] == CHAIN
    ((decision, queued),) = world.engine.queued
    assert (queued.to, queued.value, queued.from_address) == (BOB, 9, wallet.address)
    (row,) = await world.rows("select id, allowed from signing_decisions")
    assert (row["id"], row["allowed"]) == (decision.id, True)


async def test_send__the_engine_refuses__nothing_is_decided_and_the_refusal_is_kept(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    world.engine.refusal = Unprocessable("unknown chain")

    with pytest.raises(Unprocessable):
        await world.rpc(app, wallet, send(), "key")
    world.engine.refusal = None
    again = await world.rpc(app, wallet, send(), "key")

    assert again["status"] == 422
    assert await world.rows("select 1 as x from signing_decisions") == []


async def test_send__preview_named__binds_the_ceilings_that_were_shown(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    shown = await world.custody.preview(app, wallet.id, send())
    world.engine.quote_now = replace(world.engine.quote_now, max_fee_per_gas=9 * GWEI)

    await world.rpc(app, wallet, send(preview_digest=shown.digest))

    ((_, queued),) = world.engine.queued
    assert (queued.gas_limit, queued.max_fee_per_gas) == (21_000, 2 * GWEI)


async def test_send__the_outcome_changed_since_the_preview__is_outdated(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    shown = await world.custody.preview(app, wallet.id, send())
    world.engine.quote_now = Quote(
        gas_limit=21_000, max_fee_per_gas=GWEI, max_priority_fee_per_gas=GWEI, will_revert="no funds"
    )

    with pytest.raises(PreviewOutdated):
        await world.rpc(app, wallet, send(preview_digest=shown.digest))

    assert world.engine.queued == []


@pytest.mark.parametrize("change", ["policy", "request", "time", "wallet"])
async def test_preview__something_it_stood_for_changed__execution_is_refused(world: World, change: str) -> None:
    app = await world.app()
    wallet, other = await world.wallet(app), await world.wallet(app)
    bodies = [message("hello"), send(BOB, 1)]
    shown = [await world.custody.preview(app, wallet.id, body) for body in bodies]
    if change == "policy":
        await world.custody.update_policy(
            app,
            wallet.policy_ids[0],
            {
                "name": "p",
                "chain_type": "ethereum",
                "rules": [{"method": "*", "action": "ALLOW", "conditions": [], "unconditional": True}],
            },
        )
    if change == "request":
        bodies = [message("hallo"), send(BOB, 2)]
    if change == "time":
        world.clock.advance(timedelta(minutes=11))
        bodies, shown = bodies[1:], shown[1:]  # a message has no price and stays what it is

    for body, preview in zip(bodies, shown, strict=True):
        with pytest.raises(PreviewOutdated):
            await world.rpc(app, other if change == "wallet" else wallet, {**body, "preview_digest": preview.digest})


async def test_preview__a_denied_request__says_so_and_records_nothing(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 10))

    shown = await world.custody.preview(app, wallet.id, send(BOB, 11))

    assert not shown.ruling.allowed
    assert "at most" in shown.ruling.reason
    assert shown.quote is not None
    assert await world.rows("select 1 as x from signing_decisions") == []


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_idempotency__fifty_at_once_with_one_key__one_signature(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    results = await asyncio.gather(
        *[world.rpc(app, wallet, message(), "same") for _ in range(50)], return_exceptions=True
    )

    answers = [result for result in results if isinstance(result, dict)]
    assert answers
    assert all(answer == answers[0] for answer in answers)
    assert all(isinstance(result, dict | IdempotencyInProgress) for result in results)
    assert len(world.executor.signed) == 1
    assert len(await world.rows("select 1 as x from signing_decisions")) == 1


async def test_idempotency__fifty_sends_at_once_with_one_key__one_transaction(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    results = await asyncio.gather(*[world.rpc(app, wallet, send(), "same") for _ in range(50)])

    assert all(result == results[0] for result in results)
    assert len(world.engine.queued) == 1


async def test_idempotency__a_second_request__is_replayed_and_says_so(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    claim = claim_for(app, "POST", "/x", "key", message())

    first = await world.custody.rpc(app, wallet.id, message(), claim)
    second = await world.custody.rpc(app, wallet.id, message(), claim)

    assert not first.replayed
    assert second.replayed
    assert (first.status, first.body) == (second.status, second.body)


async def test_idempotency__the_key_for_another_body__is_refused(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.rpc(app, wallet, message("one"), "key")

    with pytest.raises(IdempotencyKeyReused):
        await world.rpc(app, wallet, message("two"), "key")
    with pytest.raises(IdempotencyKeyReused):
        await world.rpc(app, wallet, send(), "key")


async def test_idempotency__a_denial__is_replayed(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))

    for body in (message(), send(BOB, 2)):
        with pytest.raises(PolicyDenied):
            await world.rpc(app, wallet, body, body["method"])
        assert (await world.rpc(app, wallet, body, body["method"]))["code"] == "policy_denied"

    assert len(await world.rows("select 1 as x from signing_decisions")) == 2


async def test_idempotency__the_signer_is_away__the_key_stays_free(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    world.executor.failure = SignerUnavailable()
    with pytest.raises(SignerUnavailable):
        await world.rpc(app, wallet, message(), "key")
    world.executor.failure = None

    answer = await world.rpc(app, wallet, message(), "key")

    assert "signature" in answer["data"]
    assert len(await world.rows("select 1 as x from audit_entries where action = 'signature.withheld'")) == 1


async def test_idempotency__an_attempt_that_died__is_taken_over_after_its_lock(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    claim = claim_for(app, "POST", f"/v1/wallets/{wallet.id}/rpc", "key", message())
    async with world.database.tenant(app.tenant) as uow:
        await world.custody.idempotency.begin(uow, claim)  # and then the process is killed

    with pytest.raises(IdempotencyInProgress):
        await world.rpc(app, wallet, message(), "key")
    world.clock.advance(timedelta(seconds=31))
    answer = await world.rpc(app, wallet, message(), "key")

    assert "signature" in answer["data"]


async def test_idempotency__an_attempt_that_was_taken_over__releases_nothing(world: World) -> None:
    app = await world.app()
    store = world.custody.idempotency
    claim = claim_for(app, "POST", "/x", "key", {})
    async with world.database.tenant(app.tenant) as uow:
        slow, _ = await store.begin(uow, claim)
    world.clock.advance(timedelta(seconds=31))
    async with world.database.tenant(app.tenant) as uow:
        await store.begin(uow, claim)

    async with world.database.tenant(app.tenant) as uow:
        assert await store.finish_many(uow, app.tenant, [(claim, slow, None)]) == set()


async def test_idempotency__another_caller_with_the_same_key__is_somebody_else(world: World) -> None:
    app, other = await world.app("one"), await world.app("two")
    wallet, foreign = await world.wallet(app), await world.wallet(other)

    first = await world.rpc(app, wallet, message(), "key")
    second = await world.rpc(other, foreign, message(), "key")

    assert first != second


# --- for the engine ---------------------------------------------------------------------------------------------------


async def test_decide__denied__stays_on_record_though_the_callers_transaction_ends(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))

    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, value=2)

    (decision,) = await world.rows("select * from signing_decisions")
    assert not decision["allowed"]
    assert len(await world.rows("select 1 as x from audit_entries where action = 'signature.denied'")) == 1


async def test_decide__another_sender_or_app__is_refused(world: World) -> None:
    app, other = await world.app("one"), await world.app("two")
    wallet = await world.wallet(app)

    with pytest.raises(DecisionMismatch):
        await decide(world, app, wallet, from_address=ALICE)
    with pytest.raises(DecisionMismatch):
        await decide(world, app, wallet, app_id=other.tenant)
    with pytest.raises(DecisionMismatch):
        await decide(world, app, wallet, wallet_id=WalletId(new_id()))


async def test_sign_transactions__as_decided__are_signed_in_one_go(world: World) -> None:
    app, other = await world.app("one"), await world.app("two")
    wallets = [await world.wallet(app), await world.wallet(other)]
    decisions = [await decide(world, (app, other)[number % 2], wallets[number % 2]) for number in range(10)]

    signed = await world.custody.sign_transactions(
        [(decision, transaction(nonce=number)) for number, decision in enumerate(decisions)]
    )

    for number, one in enumerate(signed):
        assert isinstance(one, SignedTransaction)
        decoded = decode_signed(one.raw)
        assert (decoded.sender, decoded.transaction.nonce) == (wallets[number % 2].address, number)
        assert decoded.hash == one.hash
    rows = await world.rows("select decision_id from released_signatures")
    assert {row["decision_id"] for row in rows} == set(decisions)
    assert len(await world.rows("select 1 as x from audit_entries where action = 'signature.released'")) == 10


async def test_list_released__what_was_signed__is_known_by_app_decision_and_digest(world: World) -> None:
    app, other = await world.app("one"), await world.app("two")
    wallet = await world.wallet(app)
    decision, unsigned = await decide(world, app, wallet), await decide(world, app, wallet)
    (signed,) = await world.custody.sign_transactions([(decision, transaction())])
    assert isinstance(signed, SignedTransaction)

    async def released(app_id: AppId, decision_id: str, digest: bytes) -> bool:
        async with world.database.system("engine") as uow:
            return await world.custody.list_released(uow, [(app_id, decision_id, digest)]) == {digest}

    assert await released(app.tenant, decision, signed.digest)
    assert not await released(app.tenant, decision, transaction(nonce=9).digest())
    assert not await released(app.tenant, unsigned, signed.digest)
    assert not await released(other.tenant, decision, signed.digest)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"value": 6}, DecisionMismatch),
        ({"to": ALICE}, DecisionMismatch),
        ({"data": b"\x01\x02\x03\x04", "gas_limit": 30_000}, DecisionMismatch),
        ({"chain_id": 1}, DecisionMismatch),
        ({"type": 0, "max_priority_fee_per_gas": 2 * GWEI}, DecisionMismatch),
        ({"gas_limit": 30_001}, FeeAboveCeiling),
        ({"max_fee_per_gas": 3 * GWEI + 1}, FeeAboveCeiling),
    ],
)
async def test_sign_transactions__not_what_was_decided__is_refused_alone(
    world: World, change: dict[str, object], expected: type[Exception]
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    first, second = await decide(world, app, wallet), await decide(world, app, wallet)

    bad, good = await world.custody.sign_transactions([(first, transaction(**change)), (second, transaction())])

    assert isinstance(bad, expected)
    assert isinstance(good, SignedTransaction)
    assert len(world.executor.signed) == 1


async def test_sign_transactions__no_such_decision_or_a_denied_one__signs_nothing(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))
    with pytest.raises(PolicyDenied):
        await decide(world, app, wallet, value=5)
    (denied,) = await world.rows("select id from signing_decisions")

    answers = await world.custody.sign_transactions([(denied["id"], transaction()), (new_id(), transaction())])

    assert all(isinstance(answer, DecisionUnknown) for answer in answers)
    assert world.executor.signed == []


@pytest.mark.parametrize("change", ["frozen", "revoked", "expired", "policy", "detached", "suspended"])
async def test_sign_transactions__something_changed_since_the_decision__is_looked_at_again(
    world: World, change: str
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["eth_sendTransaction"]))
    decision = await decide(world, session, wallet)
    if change == "frozen":
        await world.custody.update_wallet(app, wallet.id, status="frozen")
    if change == "revoked":
        await world.custody.revoke_session_signer(app, wallet.id, session.session_id or "")
    if change == "expired":
        world.clock.advance(timedelta(days=2))
    if change == "policy":
        document = {"name": "p", "chain_type": "ethereum", "rules": pays(ALICE, 1)}
        await world.custody.update_policy(app, wallet.policy_ids[0], document)
    if change == "detached":
        await world.custody.update_wallet(app, wallet.id, policy_ids=[])
    if change == "suspended":
        async with world.database.system("test") as uow:
            await uow.execute("update apps set status = 'suspended' where app_id = %s", (wallet.app_id,))
            before, after = (contents.of_app(wallet.app_id, status) for status in ("active", "suspended"))
            await world.seals.change(uow, wallet.app_id, Kind.APP, wallet.app_id, before, after)

    (answer,) = await world.custody.sign_transactions([(decision, transaction())])

    expected = {
        "frozen": "wallet_frozen",
        "revoked": "session_revoked",
        "expired": "session_expired",
        "policy": "policy_denied",
        "detached": "policy_denied",
        "suspended": "app_suspended",
    }
    assert not isinstance(answer, SignedTransaction)
    assert answer.code == expected[change]
    assert world.executor.signed == []


async def test_sign_transactions__the_policy_changed_and_still_allows__signs(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decision = await decide(world, app, wallet)
    document = {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 5)}
    await world.custody.update_policy(app, wallet.policy_ids[0], document)

    (answer,) = await world.custody.sign_transactions([(decision, transaction())])

    assert isinstance(answer, SignedTransaction)


async def test_sign_transactions__the_signer_is_away__says_so_per_item(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    decision = await decide(world, app, wallet)
    world.executor.failure = SignerUnavailable()

    (answer,) = await world.custody.sign_transactions([(decision, transaction())])

    assert isinstance(answer, SignerUnavailable)
