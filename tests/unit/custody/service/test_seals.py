"""Somebody can write to the whole database and has no key of ours: whatever is edited, put in, taken out or brought back,
nothing is signed, and nobody is let in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from tests.support.attacker import Attacker
from tests.support.custody import ALLOW_ALL, BOB, START, World, message, pays

from lockstep.chains.evm import UnsignedTransaction
from lockstep.custody import (
    Anchors,
    AuthorityTampered,
    DecisionUnknown,
    Principal,
    Seals,
    SessionTerms,
    SwitchService,
    Wallet,
    bootstrap_admin,
)
from lockstep.custody.access.secrets import SESSION, WALLET_LOGIN, new_secret, new_token
from lockstep.custody.seals import Kind, contents
from lockstep.custody.seals.store import find_seals
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import new_id

FAR = START + timedelta(days=1)


@pytest.fixture
def switches(world: World) -> SwitchService:
    return SwitchService(world.database, world.audit, world.seals, world.clock)


async def refused(world: World, principal: Principal, wallet: Wallet) -> None:
    """Neither a message nor a transaction is signed for this caller."""
    with pytest.raises(AuthorityTampered):
        await world.rpc(principal, wallet, message())
    assert world.executor.signed == []


# --- what a signature rests on ----------------------------------------------------------------------------------------


async def test_seals__nothing_edited__signs(world: World) -> None:
    app = await world.app()
    assert await world.rpc(app, await world.wallet(app), message())


@pytest.mark.parametrize(
    "edit",
    [
        "update wallets set policy_ids = array[%s]",
        "update wallets set policy_ids = '{}'",
        "update wallets set owner_user_id = 'somebody'",
        "update wallets set address = '0x' || repeat('ab', 20)",
        "update apps set status = 'active', app_id = app_id; update seals set code = sha256(code) where kind = 'app'",
        "update seals set revision = revision + 1 where kind = 'wallet'",
        "update seals set code = (select code from seals where kind = 'app') where kind = 'wallet'",
        "delete from seals where kind = 'wallet'",
        "delete from seals where kind = 'policy'",
        "update policies set revision = 1 where revision = 2",
        "update policies set owner_user_id = 'somebody'",
    ],
)
async def test_seals__a_row_edited__signs_nothing(world: World, attacker: Attacker, edit: str) -> None:
    app = await world.app()
    other = await world.policy(app, ALLOW_ALL)
    wallet = await world.wallet(app, pays(BOB, 1))
    document = {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 2)}
    await world.custody.update_policy(app, wallet.policy_ids[0], document)
    first, _, rest = edit.partition("; ")
    for part in filter(None, (first, rest)):
        await attacker.run(part, *([other.id] if "%s" in part else []))

    with pytest.raises(LockstepError) as refusal:
        await world.rpc(app, wallet, message())

    assert refusal.value.code in ("authority_tampered", "wallet_not_found")
    assert world.executor.signed == []


async def test_seals__a_document_of_a_policy_edited__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app, pays(BOB, 1))
    document = {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": ALLOW_ALL}
    await attacker.run("update policy_revisions set document = %s", Jsonb(document))

    await refused(world, app, wallet)


async def test_seals__an_owner_taken_away__signs_nothing_for_the_app(world: World, attacker: Attacker) -> None:
    app = await world.app()
    owner = (await world.user(app)).user_id
    wallet = await world.wallet(app, owner=owner)
    await attacker.run("update wallets set owner_user_id = null")

    await refused(world, app, wallet)


async def test_seals__a_frozen_wallet_made_active__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.custody.update_wallet(app, wallet.id, status="frozen")
    await attacker.run("update wallets set status = 'active'")

    await refused(world, app, wallet)


async def test_seals__an_archived_wallet_brought_out__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await world.custody.set_archived(app, wallet.id, True)
    await attacker.run("update wallets set archived_at = null")

    await refused(world, app, wallet)


@pytest.mark.parametrize(
    "edit",
    [
        "update session_signers set expires_at = expires_at + interval '1 year'",
        "update session_signers set allowed_methods = array['personal_sign', 'eth_sendTransaction']",
        "update session_signers set max_value_per_transaction = null",
        "update session_signers set policy_ids = '{}'",
        "update session_signers set grantee = 'module:coordinator', token_hash = null",
        "delete from seals where kind = 'session'",
    ],
)
async def test_seals__a_session_signer_widened__signs_nothing(world: World, attacker: Attacker, edit: str) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    narrow = await world.policy(app)
    terms = SessionTerms(
        expires_at=FAR, allowed_methods=["personal_sign"], policy_ids=[narrow.id], max_value_per_transaction=1
    )
    session = await world.session(app, wallet, terms)
    await attacker.run(edit)

    await refused(world, session, wallet)


async def test_seals__a_revoked_session_signer_made_active__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    await world.custody.revoke_session_signer(app, wallet.id, session.session_id or "")
    await attacker.run("update session_signers set status = 'active', revoked_at = null")

    await refused(world, session, wallet)


async def test_seals__a_session_signer_put_in__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    real = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    forged = new_id()
    await attacker.run(
        "insert into session_signers select (jsonb_populate_record(s, jsonb_build_object('id', %s::text,"
        " 'token_hash', null, 'grantee', 'module:coordinator'))).* from session_signers s where id = %s",
        forged,
        real.session_id,
    )

    await refused(world, Principal(kind="session", app_id=app.tenant, wallet_id=wallet.id, session_id=forged), wallet)


@pytest.mark.parametrize("scope", ["app", "deployment"])
@pytest.mark.parametrize(
    "edits",
    [
        ["update kill_switches set released_at = now(), released_by = 'admin:test'"],
        ["delete from kill_switches"],
        ["delete from kill_switches", "delete from seals where kind = 'kill_switch'"],
    ],
)
async def test_seals__a_kill_switch_let_go__signs_nothing(
    world: World, switches: SwitchService, attacker: Attacker, scope: str, edits: list[str]
) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await switches.engage(world.admin, app.tenant if scope == "app" else None, "an alarm")
    for edit in edits:
        await attacker.run(edit)

    await refused(world, app, wallet)


async def test_seals__a_kill_switch_released_by_its_service__signs_again(world: World, switches: SwitchService) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    for scope in (app.tenant, None):
        await switches.engage(world.admin, scope, "an alarm")
        await switches.release(world.admin, scope)

    assert await world.rpc(app, wallet, message())


async def test_seals__a_decision_put_in_or_moved__is_none(world: World, attacker: Attacker) -> None:
    app = await world.app()
    poor, rich = await world.wallet(app, pays(BOB, 1)), await world.wallet(app, pays(BOB, 1))
    await world.rpc(app, poor, {"method": "eth_sendTransaction", "caip2": "eip155:31337", "params": _pays(1)})
    (decision,) = await world.rows("select * from signing_decisions")
    await attacker.run(
        "insert into signing_decisions select (jsonb_populate_record(d, jsonb_build_object('id', %s::text,"
        " 'wallet_id', %s::text))).* from signing_decisions d",
        (forged := new_id()),
        rich.id,
    )
    await attacker.run(
        "update signing_decisions set intent = intent || jsonb_build_object('value', '999') where id = %s",
        decision["id"],
    )

    for decision_id in (forged, decision["id"]):
        (answer,) = await world.custody.sign_transactions([(decision_id, _unsigned())])
        assert isinstance(answer, DecisionUnknown)
    assert world.executor.signed == []


def _pays(value: int) -> dict[str, Any]:
    return {"transaction": {"to": BOB, "value": str(value)}}


def _unsigned() -> UnsignedTransaction:
    return UnsignedTransaction(
        chain_id=31337,
        nonce=0,
        to=BOB,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=10**9,
        max_priority_fee_per_gas=10**9,
    )


# --- what was sealed comes back ---------------------------------------------------------------------------------------


async def test_rollback__an_older_policy_with_its_seal__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await attacker.copy()
    await world.custody.update_policy(
        app, wallet.policy_ids[0], {"name": "p", "chain_type": "ethereum", "rules": pays(BOB, 1)}
    )
    await attacker.bring_back("policies", "policy_revisions")

    await refused(world, app, wallet)


async def test_rollback__an_active_wallet_with_its_seal__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await attacker.copy()
    await world.custody.update_wallet(app, wallet.id, status="frozen")
    await attacker.bring_back("wallets")

    await refused(world, app, wallet)


async def test_rollback__a_session_before_its_revocation__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    session = await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    await attacker.copy()
    await world.custody.revoke_session_signer(app, wallet.id, session.session_id or "")
    await attacker.bring_back("session_signers")

    await refused(world, session, wallet)


async def test_rollback__seen_by_another_process_after_a_restart(world: World, tmp_path: Path) -> None:
    key, path = bytes(range(32)), tmp_path / "anchors"
    changing, other = Seals(key, Anchors(key, path)), Seals(key, Anchors(key, path))
    old, new = contents.of_policy("app", None, None, 1), contents.of_policy("app", None, None, 2)
    async with world.database.system("test") as uow:
        await changing.add(uow, "app", Kind.POLICY, {"p": old})
    async with world.database.system("test") as uow:
        kept = await _seal_of(world, "p")
        await changing.change(uow, "app", Kind.POLICY, "p", old, new)

    later = Seals(key, Anchors(key, path))
    for seals in (changing, other, later):
        assert seals.find_fault([(Kind.POLICY, "p", old)], {("policy", "p"): kept}, seals.mark()) == (
            "the policy p is at revision 1 and was at 2"
        )


async def test_change__while_others_decide__is_not_taken_for_tampering(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)

    async def change() -> None:
        for _ in range(20):
            document = {"name": "p", "chain_type": "ethereum", "rules": ALLOW_ALL}
            await world.custody.update_policy(app, wallet.policy_ids[0], document)

    async def ask() -> None:
        for _ in range(40):
            assert (await world.custody.preview(app, wallet.id, message())).ruling.allowed

    await asyncio.gather(change(), *(ask() for _ in range(4)))


async def test_change__of_what_was_edited__is_never_sealed_over(world: World, attacker: Attacker) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    await attacker.run("update wallets set policy_ids = '{}'")

    with pytest.raises(AuthorityTampered):
        await world.custody.update_wallet(app, wallet.id, display_name="harmless")
    with pytest.raises(AuthorityTampered):
        await world.custody.create_session_signer(
            app, wallet.id, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"])
        )


# --- who is let in ----------------------------------------------------------------------------------------------------


Forge = Callable[[World, Attacker, Principal], Awaitable[dict[str, Any]]]


async def _own_secret(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = new_secret("app")
    await attacker.run(
        "insert into app_secrets (id, app_id, prefix, secret_hash, created_at) values (%s, %s, %s, %s, now())",
        new_id(),
        app.tenant,
        secret.prefix,
        secret.hash,
    )
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _changed_secret(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = new_secret("app")
    await attacker.run("update app_secrets set prefix = %s, secret_hash = %s", secret.prefix, secret.hash)
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _revoked_secret(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = await world.access.create_secret(app)
    await world.access.revoke_secret(app, secret.id)
    await attacker.run("update app_secrets set status = 'active' where id = %s", secret.id)
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _own_issuer(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = await world.access.create_secret(app)
    issuers = [{"issuer": "https://evil.example", "audience": "x", "jwks_url": "https://evil.example/jwks"}]
    await attacker.run("update apps set issuers = %s where app_id = %s", Jsonb(issuers), app.tenant)
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _own_session_token(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    wallet = await world.wallet(app)
    await world.session(app, wallet, SessionTerms(expires_at=FAR, allowed_methods=["personal_sign"]))
    token, token_hash = new_token(SESSION)
    await attacker.run("update session_signers set token_hash = %s", token_hash)
    return {"authorization": f"Bearer {token}"}


async def _own_login(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    token, token_hash = new_token(WALLET_LOGIN)
    await attacker.run(
        "insert into external_sessions (token_hash, address, nonce, created_at, expires_at) values (%s, %s, 'n', now(), %s)",
        token_hash,
        BOB.lower(),
        world.clock.now() + timedelta(hours=1),
    )
    return {"authorization": f"Bearer {token}"}


async def _own_admin(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = new_secret("admin")
    await attacker.run(
        "insert into admin_credentials (id, prefix, secret_hash, created_at) values (%s, %s, %s, now())",
        new_id(),
        secret.prefix,
        secret.hash,
    )
    return {"authorization": f"Bearer {secret.text}"}


async def _changed_admin(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    await bootstrap_admin(world.database, world.seals, world.clock)
    secret = new_secret("admin")
    await attacker.run("update admin_credentials set prefix = %s, secret_hash = %s", secret.prefix, secret.hash)
    return {"authorization": f"Bearer {secret.text}"}


@pytest.mark.parametrize(
    "forge",
    [
        _own_secret,
        _changed_secret,
        _revoked_secret,
        _own_issuer,
        _own_session_token,
        _own_login,
        _own_admin,
        _changed_admin,
    ],
)
async def test_seals__a_credential_forged_in_the_database__lets_nobody_in(
    world: World, attacker: Attacker, forge: Forge
) -> None:
    app = await world.app()
    headers = await forge(world, attacker, app)

    with pytest.raises(AuthorityTampered):
        await world.authenticator.authenticate(**headers)


async def _seal_of(world: World, subject: str) -> Any:
    async with world.database.system("test") as uow:
        return (await find_seals(uow, "app", [("policy", subject)]))["policy", subject]
