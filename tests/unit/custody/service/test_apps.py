"""Apps after they were made: secrets that end, networks that they may be used from, suspension."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.custody import START, World, message

from lockstep.custody import AppCredentialsInvalid, CallerNotAllowed, Principal
from lockstep.custody.access.authenticator import is_inside
from lockstep.custody.errors import AddressNotAllowed, AppNotFound, AppSuspended, LastSecret, SecretExpiryInvalid
from lockstep.kit.ids import AppId, new_id

DAY = timedelta(days=1)


async def named(world: World) -> tuple[Principal, dict[str, str]]:
    app, secret = await world.access.create_app(world.admin, "Alpha")
    return Principal(kind="app", app_id=app.id), {"app_id": app.id, "app_secret": secret.text}


async def works(world: World, app: Principal, text: str) -> bool:
    try:
        await world.authenticator.authenticate(app_id=app.tenant, app_secret=text)
    except AppCredentialsInvalid:
        return False
    return True


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_secret__that_expires__ends_at_its_moment_even_when_remembered(world: World) -> None:
    app, _ = await named(world)
    secret = await world.access.create_secret(app, START + timedelta(seconds=1))
    assert await works(world, app, secret.text)
    world.clock.advance(timedelta(seconds=1))
    assert not await works(world, app, secret.text)
    states = {one.id: one.status for one in await world.access.list_secrets(app)}
    assert states[secret.id] == "expired"


async def test_secrets__rotated__overlap_and_then_only_the_new_one_is_good(world: World) -> None:
    app, headers = await named(world)
    soon = await world.access.create_secret(app, START + timedelta(hours=1))

    new = await world.access.rotate_secrets(app, DAY)

    old = [headers["app_secret"], soon.text]
    assert [await works(world, app, text) for text in (*old, new.text)] == [True, True, True]
    ends = {one.id: one.expires_at for one in await world.access.list_secrets(app)}
    assert (ends[soon.id], ends[new.id]) == (START + timedelta(hours=1), None)
    world.clock.advance(timedelta(hours=1))
    assert [await works(world, app, text) for text in (*old, new.text)] == [True, False, True]
    world.clock.advance(DAY)
    assert [await works(world, app, text) for text in (*old, new.text)] == [False, False, True]


async def test_secrets__rotated_without_overlap__end_the_others_at_once(world: World) -> None:
    app, headers = await named(world)
    assert await works(world, app, headers["app_secret"])
    new = await world.access.rotate_secrets(app, timedelta(0))
    assert not await works(world, app, headers["app_secret"])
    assert await works(world, app, new.text)


async def test_secrets__the_last_one_that_has_not_expired__cannot_be_revoked(world: World) -> None:
    """An expired one next to it must not count: the app would have locked itself out."""
    app, _ = await named(world)
    last = await world.access.rotate_secrets(app, timedelta(0))
    with pytest.raises(LastSecret):
        await world.access.revoke_secret(app, last.id)


async def test_secret__born_dead__is_refused(world: World) -> None:
    app, _ = await named(world)
    for moment in (START, START - DAY):
        with pytest.raises(SecretExpiryInvalid):
            await world.access.create_secret(app, moment)
        with pytest.raises(SecretExpiryInvalid):
            await world.access.rotate_secrets(app, DAY, moment)
    assert len(await world.access.list_secrets(app)) == 1


async def test_secret__made_by_an_administrator__opens_a_locked_out_app(world: World) -> None:
    app, headers = await named(world)
    await world.access.create_secret(app, START + timedelta(seconds=1))
    spare = await world.apps.create_secret(world.admin, app.tenant, None)
    assert await works(world, app, spare.text)
    with pytest.raises(AppNotFound):
        await world.apps.create_secret(world.admin, AppId(new_id()), None)
    assert headers["app_secret"] != spare.text


# --- networks ---------------------------------------------------------------------------------------------------------


async def test_app_secret_theft__from_another_network__is_refused(world: World) -> None:
    app, headers = await named(world)
    await world.apps.update_app(world.admin, app.tenant, {"allowed_networks": ["203.0.113.0/24", "2001:db8::/32"]})
    for inside in ("203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1"):
        await world.authenticator.authenticate(**headers, address=inside)
    for outside in ("203.0.114.1", "::1", "::ffff:198.51.100.1", "unknown", "", None):
        with pytest.raises(AddressNotAllowed):
            await world.authenticator.authenticate(**headers, address=outside)
    with pytest.raises(AppCredentialsInvalid):  # a wrong secret is not told where the right one may be used
        await world.authenticator.authenticate(
            app_id=app.tenant, app_secret=headers["app_secret"][:-1] + "!", address="198.51.100.1"
        )


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_network__an_address__is_inside_exactly_those_that_share_its_first_bits(address: object, bits: int) -> None:
    assert is_inside(str(address), [ip_network(f"{address}/{bits}", strict=False)])
    assert is_inside(f"::ffff:{address}", [ip_network(f"{address}/{bits}", strict=False)])
    assert not is_inside(str(address), [ip_network("::/0")])
    if bits:
        flipped = int(address) ^ (1 << (32 - bits))  # type: ignore[call-overload]  # an IPv4Address
        assert not is_inside(str(address), [ip_network((flipped >> (32 - bits) << (32 - bits), bits))])


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_app__suspended__signs_nothing_and_none_of_its_credentials_holds(world: World) -> None:
    app, headers = await named(world)
    wallet = await world.wallet(app)
    await world.authenticator.authenticate(**headers)

    await world.apps.update_app(world.admin, app.tenant, {"status": "suspended"})

    with pytest.raises(AppCredentialsInvalid):
        await world.authenticator.authenticate(**headers)
    with pytest.raises(AppSuspended):
        await world.rpc(app, wallet, message())
    await world.apps.update_app(world.admin, app.tenant, {"status": "active"})
    await world.authenticator.authenticate(**headers)
    await world.rpc(app, wallet, message())


async def test_app__changed__keeps_what_was_not_named_and_is_in_the_audit_log(world: World) -> None:
    app, _ = await named(world)
    first = await world.apps.update_app(world.admin, app.tenant, {"name": "Beta", "accounts": "closed"})
    second = await world.apps.update_app(world.admin, app.tenant, {"login_seconds": 3_600})
    same = await world.apps.update_app(world.admin, app.tenant, {})

    assert (first.name, second.name, same) == ("Beta", "Beta", second)
    assert (second.terms.accounts, second.terms.login_seconds) == ("closed", 3_600)
    entries = await world.rows("select record from audit_entries where action = 'app.changed' order by seq")
    assert ['"accounts":"closed"' in entry["record"] for entry in entries] == [True, False]


async def test_apps__for_anybody_but_an_administrator__are_refused(world: World) -> None:
    app, _ = await named(world)
    for principal in (
        app,
        Principal(kind="user", app_id=app.app_id),
        Principal(kind="external", address="0x" + "1" * 40),
    ):
        with pytest.raises(CallerNotAllowed):
            await world.apps.list_apps(principal)
        with pytest.raises(CallerNotAllowed):
            await world.apps.update_app(principal, app.tenant, {"status": "active"})


async def test_app__its_own_rows__cannot_be_changed_with_the_rights_of_a_tenant(world: World) -> None:
    app, _ = await named(world)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with world.database.tenant(app.tenant) as uow:
            await uow.execute("update apps set accounts = 'open' where app_id = %s", (app.tenant,))
