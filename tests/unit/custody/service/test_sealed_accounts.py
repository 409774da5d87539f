"""Somebody can write to the whole database: no account, token, role or term that is edited there lets anybody in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.attacker import Attacker
from tests.support.custody import START, World, message
from tests.support.issuer import TRUSTED, token

from lockstep.custody import AuthorityTampered, PasswordHashing, Principal
from lockstep.custody.access.secrets import ACCESS, REFRESH, new_token
from lockstep.custody.accounts.types import Tokens
from lockstep.custody.errors import RefreshTokenInvalid

HOME, PASSWORD, OTHER = "203.0.113.1", "correct horse battery staple", "incorrect horse, other staple"
Forge = Callable[[World, Attacker, Principal], Awaitable[dict[str, Any]]]


async def _signed_in(world: World, app: Principal, name: str = "alice") -> Tokens:
    await world.apps.update_app(world.admin, app.tenant, {"accounts": "closed"})
    await world.accounts.create_account(app, name, PASSWORD)
    return await world.accounts.login(app.tenant, name, PASSWORD, HOME)


def _bearer(text: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {text}"}


async def _expired_secret(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = await world.access.create_secret(app, START + timedelta(seconds=1))
    world.clock.advance(timedelta(seconds=1))
    await attacker.run("update app_secrets set expires_at = null where id = %s", secret.id)
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _secret_good_everywhere(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    secret = await world.access.create_secret(app)
    await world.apps.update_app(world.admin, app.tenant, {"allowed_networks": ["203.0.113.0/24"]})
    await attacker.run("update apps set allowed_networks = '{}' where app_id = %s", app.tenant)
    return {"app_id": app.tenant, "app_secret": secret.text}


async def _own_access_token(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    await _signed_in(world, app)
    text, token_hash = new_token(ACCESS)
    await attacker.run("update login_tokens set token_hash = %s where kind = 'access'", token_hash)
    return _bearer(text)


async def _longer_access_token(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    tokens = await _signed_in(world, app)
    world.clock.advance(timedelta(minutes=15))
    await attacker.run("update login_tokens set expires_at = expires_at + interval '1 day' where kind = 'access'")
    return _bearer(tokens.access)


async def _token_of_somebody_else(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    tokens, other = await _signed_in(world, app), await _signed_in(world, app, "bob")
    await attacker.run("update logins set user_id = %s", other.user_id)
    return _bearer(tokens.access)


async def _user_made_admin(world: World, attacker: Attacker, app: Principal) -> dict[str, Any]:
    tokens = await _signed_in(world, app)
    await attacker.run("update users set role = 'admin'")
    return _bearer(tokens.access)


@pytest.mark.parametrize(
    "forge",
    [
        _expired_secret,
        _secret_good_everywhere,
        _own_access_token,
        _longer_access_token,
        _token_of_somebody_else,
        _user_made_admin,
    ],
)
async def test_seals__a_credential_edited_in_the_database__lets_nobody_in(
    world: World, attacker: Attacker, forge: Forge
) -> None:
    headers = await forge(world, attacker, await world.app())
    with pytest.raises(AuthorityTampered):
        await world.authenticator.authenticate(**headers)


async def test_seals__a_password_written_into_the_database__lets_nobody_in(world: World, attacker: Attacker) -> None:
    app = await world.app()
    await _signed_in(world, app)
    known = await PasswordHashing(passes=1, memory_kib=64).hash(OTHER)
    await attacker.run("update accounts set password_hash = %s", known)

    with pytest.raises(AuthorityTampered):
        await world.accounts.login(app.tenant, "alice", OTHER, HOME)


async def test_seals__a_refresh_token_written_into_the_database__is_not_exchanged(
    world: World, attacker: Attacker
) -> None:
    app = await world.app()
    await _signed_in(world, app)
    text, token_hash = new_token(REFRESH)
    await attacker.run("update login_tokens set token_hash = %s where kind = 'refresh'", token_hash)

    with pytest.raises(RefreshTokenInvalid):
        await world.accounts.refresh(text)


async def test_seals__a_user_of_an_issuer_made_operator__is_not_let_in(world: World, attacker: Attacker) -> None:
    app, secret = await world.access.create_app(world.admin, "Alpha", [TRUSTED])
    headers = {"app_id": app.id, "app_secret": secret.text, **_bearer(token())}
    await world.authenticator.authenticate(**headers)
    await attacker.run("update users set role = 'operator'")
    world.clock.advance(timedelta(seconds=2))

    with pytest.raises(AuthorityTampered):
        await world.authenticator.authenticate(**headers)


async def test_seals__a_disabled_owner_made_active__signs_nothing(world: World, attacker: Attacker) -> None:
    app = await world.app()
    tokens = await _signed_in(world, app)
    alice = await world.authenticator.authenticate(**_bearer(tokens.access))
    wallet = await world.wallet(alice)
    await world.users.update_user(app, tokens.user_id, status="disabled")
    await attacker.run("update users set status = 'active'")

    with pytest.raises(AuthorityTampered):
        await world.rpc(alice, wallet, message())
    assert world.executor.signed == []
