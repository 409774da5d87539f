"""Who calls: apps, users, session tokens, wallet logins, administrators."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_defunct
from tests.support.custody import ORIGIN, START, World
from tests.support.issuer import AUDIENCE, EC, ISSUER, KEYS, NOW, OKP, RSA, TRUSTED, jwk, token

from lockstep.chains.evm import Address
from lockstep.custody import (
    AccessService,
    AuditLog,
    CallerNotAllowed,
    CredentialsMissing,
    Issuer,
    SessionTerms,
    bootstrap_admin,
    login_message,
)
from lockstep.custody.access import tokens
from lockstep.custody.access.tokens import check_issuer
from lockstep.custody.errors import (
    AdminCredentialInvalid,
    AppCredentialsInvalid,
    IssuerInvalid,
    IssuerUnavailable,
    LastSecret,
    LoginInvalid,
    LoginReplayed,
    SessionTokenInvalid,
    TokenExpired,
    TokenInvalid,
)
from lockstep.kit.ids import new_id


async def app_with_users(world: World, name: str = "Alpha") -> dict[str, str]:
    app, secret = await world.access.create_app(world.admin, name, [TRUSTED])
    return {"app_id": app.id, "app_secret": secret.text}


# --- apps -------------------------------------------------------------------------------------------------------------


async def test_app__its_secret__is_the_app(world: World) -> None:
    headers = await app_with_users(world)
    principal = await world.authenticator.authenticate(**headers)
    assert (principal.kind, principal.app_id) == ("app", headers["app_id"])
    rows = str(await world.rows("select s::text as row, s from app_secrets s"))
    assert headers["app_secret"] not in rows
    assert headers["app_secret"][16:] not in rows


async def test_app__wrong_credentials__all_look_the_same(world: World) -> None:
    headers, other = await app_with_users(world), await app_with_users(world, "Beta")
    secret = headers["app_secret"]
    flipped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for app_id, text in [
        (headers["app_id"], flipped),
        (headers["app_id"], "ls_app_" + "a" * 8 + secret[15:]),
        (headers["app_id"], other["app_secret"]),
        (new_id(), secret),
        ("x", secret),
        (headers["app_id"], ""),
        (headers["app_id"], secret.replace("ls_app", "ls_admin")),
    ]:
        with pytest.raises(AppCredentialsInvalid) as refused:
            await world.authenticator.authenticate(app_id=app_id, app_secret=text)
        assert refused.value.detail == AppCredentialsInvalid.title()


async def test_app__half_or_no_credentials__are_named(world: World) -> None:
    headers = await app_with_users(world)
    for given in ({}, {"app_id": headers["app_id"]}, {"app_secret": headers["app_secret"]}):
        with pytest.raises(CredentialsMissing):
            await world.authenticator.authenticate(**given)


async def test_secret__revoked__is_refused_at_once_here(world: World) -> None:
    headers = await app_with_users(world)
    app = await world.authenticator.authenticate(**headers)
    second = await world.access.create_secret(app)
    first = next(one for one in await world.access.list_secrets(app) if one.id != second.id)
    assert first.last_used_at == START

    await world.access.revoke_secret(app, first.id)

    with pytest.raises(AppCredentialsInvalid):
        await world.authenticator.authenticate(**headers)
    await world.authenticator.authenticate(app_id=headers["app_id"], app_secret=second.text)
    with pytest.raises(LastSecret):
        await world.access.revoke_secret(app, second.id)


async def test_secret__revoked_elsewhere__is_refused_within_two_seconds(world: World) -> None:
    headers = await app_with_users(world)
    await world.authenticator.authenticate(**headers)
    async with world.database.system("test") as uow:
        await uow.execute("update app_secrets set status = 'revoked'")
    await world.authenticator.authenticate(**headers)

    world.clock.advance(timedelta(seconds=2))

    with pytest.raises(AppCredentialsInvalid):
        await world.authenticator.authenticate(**headers)


async def test_app__made_by_anybody_but_an_administrator__is_refused(world: World) -> None:
    app = await world.app()
    with pytest.raises(CallerNotAllowed):
        await world.access.create_app(app, "mine")


async def test_bootstrap__twice__prints_once(world: World) -> None:
    first = await bootstrap_admin(world.database, world.seals, world.clock)
    assert first is not None
    assert await bootstrap_admin(world.database, world.seals, world.clock) is None

    principal = await world.authenticator.authenticate(authorization=f"Bearer {first.text}")

    assert principal.kind == "admin"
    with pytest.raises(AdminCredentialInvalid):
        await world.authenticator.authenticate(authorization=f"Bearer {first.text[:-1]}_")


async def test_admin__rows__are_hidden_from_apps(world: World) -> None:
    await bootstrap_admin(world.database, world.seals, world.clock)
    app = await world.app()
    for table in ("admin_credentials", "external_sessions"):
        with pytest.raises(Exception, match="permission denied"):
            async with world.database.tenant(app.tenant) as uow:
                await uow.fetch(f"select * from {table}")  # type: ignore[arg-type]  # literals above


# --- users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (OKP, "EdDSA", "okp")]
)
async def test_user__a_good_token__is_one_user_per_app(world: World, key: Any, algorithm: str, kid: str) -> None:
    headers, other = await app_with_users(world), await app_with_users(world, "Beta")
    bearer = f"Bearer {token(key, algorithm, kid)}"

    first = await world.authenticator.authenticate(**headers, authorization=bearer)
    again = await world.authenticator.authenticate(
        **headers, authorization=f"Bearer {token(key, algorithm, kid, jti='2')}"
    )
    elsewhere = await world.authenticator.authenticate(**other, authorization=bearer)

    assert first == again
    assert first.kind == "user"
    assert elsewhere.user_id != first.user_id


def _hs256_with_the_public_key() -> str:
    """The classic: the public key taken as the secret of a symmetric algorithm."""
    import hashlib
    import hmac

    def part(content: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600}
    signed = part({"alg": "HS256", "typ": "JWT", "kid": "ec"}) + b"." + part(claims)
    mac = hmac.digest(json.dumps(KEYS["keys"][1]).encode(), signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def _with_header(**header: Any) -> str:
    """A token with another header, which its signature then does not cover."""
    _, claims, signature = token().split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{head}.{claims}.{signature}"


@pytest.mark.parametrize(
    "bad",
    [
        _with_header(alg=["ES256"]),
        _with_header(alg={}),
        token(key="", algorithm="none", kid=None),
        _hs256_with_the_public_key(),
        token(kid="okp"),
        token(kid="unknown"),
        token(key=ec.generate_private_key(ec.SECP256R1())),
        token(RSA, "RS512", "rsa"),
        token(RSA, "PS256", "rsa"),
        token(iss="https://evil.example"),
        token(iss=None),
        token(aud="other"),
        token(aud=None),
        token(exp=None),
        token(sub=None),
        token(sub=""),
        token(nbf=NOW + 120),
        token(iat=NOW + 120),
        token(exp=True),
        token()[:-2],
        "not.a.token",
        "x" * 9_000,
    ],
)
async def test_user__a_bad_token__is_refused_and_makes_no_user(world: World, bad: str) -> None:
    headers = await app_with_users(world)
    with pytest.raises(TokenInvalid):
        await world.authenticator.authenticate(**headers, authorization=f"Bearer {bad}")
    assert await world.rows("select 1 as x from users") == []


async def test_user__a_token_without_kid__holds_only_where_one_key_can_be_meant(world: World) -> None:
    headers = await app_with_users(world)
    assert (await world.authenticator.authenticate(**headers, authorization=f"Bearer {token(kid=None)}")).user_id
    second = ec.generate_private_key(ec.SECP256R1())
    two = Issuer(
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks={"keys": [jwk(EC, "ec"), {**jwk(EC, "ec"), **_public(second), "kid": "ec2"}]},
    )
    app, secret = await world.access.create_app(world.admin, "Two", [two])
    with pytest.raises(TokenInvalid):
        await world.authenticator.authenticate(
            app_id=app.id, app_secret=secret.text, authorization=f"Bearer {token(kid=None)}"
        )


async def test_user__a_token_that_brings_its_own_key__is_refused(world: World) -> None:
    """A key, or where to find one, in the header is the forger's."""
    headers = await app_with_users(world)
    own = ec.generate_private_key(ec.SECP256R1())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600}
    for header in (
        {"kid": "ec", "jwk": _public(own)},
        {"kid": "mine", "jwk": {**_public(own), "kid": "mine"}},
        {"kid": "ec", "jku": "https://evil.example/keys"},
        {"kid": "ec", "x5u": "https://evil.example/chain"},
    ):
        forged = jwt.encode(claims, own, algorithm="ES256", headers=header)
        with pytest.raises(TokenInvalid):
            await world.authenticator.authenticate(**headers, authorization=f"Bearer {forged}")


def _public(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return dict(json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())))


async def test_user__a_token_with_a_condition_that_we_do_not_know__is_refused(world: World) -> None:
    headers = await app_with_users(world)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600}
    bound = jwt.encode(claims, EC, algorithm="ES256", headers={"kid": "ec", "crit": ["bound"], "bound": "elsewhere"})
    with pytest.raises(TokenInvalid):
        await world.authenticator.authenticate(**headers, authorization=f"Bearer {bound}")


async def test_user__an_expired_token__is_refused_also_from_memory(world: World) -> None:
    headers = await app_with_users(world)
    bearer = f"Bearer {token(exp=NOW + 1)}"
    await world.authenticator.authenticate(**headers, authorization=bearer)

    world.clock.advance(timedelta(seconds=31))

    with pytest.raises(TokenExpired):
        await world.authenticator.authenticate(**headers, authorization=bearer)


async def test_user__of_two_issuers_with_one_subject__is_two_users(world: World) -> None:
    second = Issuer(issuer="https://second.example", audience=AUDIENCE, jwks={"keys": [jwk(OKP, "okp")]})
    app, secret = await world.access.create_app(world.admin, "Alpha", [TRUSTED, second])
    headers = {"app_id": app.id, "app_secret": secret.text}

    first = await world.authenticator.authenticate(**headers, authorization=f"Bearer {token()}")
    other = token(OKP, "EdDSA", "okp", iss="https://second.example")
    twin = await world.authenticator.authenticate(**headers, authorization=f"Bearer {other}")

    assert first.user_id != twin.user_id


async def test_user__keys_in_a_file__are_read_again_when_they_rotate(world: World, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(EC, "ec")]}))
    app, secret = await world.access.create_app(
        world.admin, "Alpha", [Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_file=str(path))]
    )
    headers = {"app_id": app.id, "app_secret": secret.text}
    await world.authenticator.authenticate(**headers, authorization=f"Bearer {token()}")

    path.write_text(json.dumps({"keys": [jwk(OKP, "okp")]}))
    world.clock.advance(timedelta(seconds=11))

    await world.authenticator.authenticate(**headers, authorization=f"Bearer {token(OKP, 'EdDSA', 'okp')}")


async def test_user__unknown_keys_while_the_issuer_is_away__do_not_keep_the_others_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def read(issuer: Issuer) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            return KEYS
        raise IssuerUnavailable  # in life after five seconds, with everybody behind it

    monkeypatch.setattr(tokens, "_read_key_set", read)
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url="https://issuer.example/keys")
    app, secret = await world.access.create_app(world.admin, "Alpha", [issuer])
    headers = {"app_id": app.id, "app_secret": secret.text}
    await world.authenticator.authenticate(**headers, authorization=f"Bearer {token()}")
    world.clock.advance(timedelta(seconds=11))

    for number in range(10):
        with pytest.raises((TokenInvalid, IssuerUnavailable)):
            await world.authenticator.authenticate(**headers, authorization=f"Bearer {token(kid=str(number))}")
    assert tries == 2
    assert (await world.authenticator.authenticate(**headers, authorization=f"Bearer {token(sub='bob')}")).user_id

    world.clock.advance(timedelta(minutes=6))  # what is known is too old now
    for number in range(10):
        with pytest.raises(IssuerUnavailable):
            await world.authenticator.authenticate(
                **headers, authorization=f"Bearer {token(sub=str(number), exp=NOW + 9_000)}"
            )
    assert tries == 3


async def test_user__of_an_issuer_that_the_deployment_knows__needs_no_keys_of_it(world: World) -> None:
    access = AccessService(
        world.database,
        AuditLog(bytes(32), world.clock),
        world.authenticator,
        world.seals,
        world.clock,
        origins=[ORIGIN],
        known_issuers=[TRUSTED],
    )
    app, secret = await access.create_app(world.admin, "Alpha", [Issuer(issuer=ISSUER, audience=AUDIENCE)])
    assert app.issuers == (TRUSTED,)
    with pytest.raises(IssuerInvalid, match="exactly one of jwks and jwks_url"):
        await access.create_app(world.admin, "Beta", [Issuer(issuer=ISSUER, audience="another")])
    user = await world.authenticator.authenticate(
        app_id=app.id, app_secret=secret.text, authorization=f"Bearer {token()}"
    )
    assert user.kind == "user"


@pytest.mark.parametrize(
    "issuer",
    [
        Issuer(issuer=ISSUER, audience=AUDIENCE),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks=KEYS, jwks_url="https://x.example/jwks"),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url="http://keys.example/jwks"),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url="ftp://keys.example/jwks"),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks_url="https://user:pw@keys.example/jwks"),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks={}),
        Issuer(issuer=ISSUER, audience=AUDIENCE, jwks={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}),
        Issuer(
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks={"keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC))]},
        ),
        Issuer(issuer="", audience=AUDIENCE, jwks=KEYS),
    ],
)
def test_issuer__that_cannot_work_or_is_unsafe__is_refused(issuer: Issuer) -> None:
    with pytest.raises(IssuerInvalid):
        check_issuer(issuer)


# --- session tokens ---------------------------------------------------------------------------------------------------


async def test_session_token__alone__is_its_session(world: World) -> None:
    app = await world.app()
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=START + timedelta(hours=1), allowed_methods=["personal_sign"])
    session, text = await world.custody.create_session_signer(app, wallet.id, terms)

    principal = await world.authenticator.authenticate(authorization=f"Bearer {text}")

    assert (principal.kind, principal.session_id, principal.wallet_id) == ("session", session.id, wallet.id)
    assert (await world.custody.list_wallets(principal)).items == [wallet]
    await world.custody.revoke_session_signer(app, wallet.id, session.id)
    with pytest.raises(SessionTokenInvalid):
        await world.authenticator.authenticate(authorization=f"Bearer {text}")


async def test_session_token__with_another_apps_headers__is_refused(world: World) -> None:
    headers = await app_with_users(world)
    app = await world.app("other")
    wallet = await world.wallet(app)
    terms = SessionTerms(expires_at=START + timedelta(hours=1), allowed_methods=["personal_sign"])
    _, text = await world.custody.create_session_signer(app, wallet.id, terms)
    with pytest.raises(SessionTokenInvalid):
        await world.authenticator.authenticate(**headers, authorization=f"Bearer {text}")


@pytest.mark.parametrize("text", ["lss_" + "x" * 43, "lss_", "lsx_" + "x" * 43, "lsx_short"])
async def test_session_token__unknown__is_refused(world: World, text: str) -> None:
    with pytest.raises(SessionTokenInvalid):
        await world.authenticator.authenticate(authorization=f"Bearer {text}")


async def test_authorization__another_scheme__is_refused(world: World) -> None:
    with pytest.raises(TokenInvalid):
        await world.authenticator.authenticate(authorization="Basic eDp5")


# --- wallet logins ----------------------------------------------------------------------------------------------------

MAKER = Account.create()
MAKER_ADDRESS = Address(MAKER.address.lower())


def signed(text: str, account: Any = MAKER) -> bytes:
    return bytes(account.sign_message(encode_defunct(text=text)).signature)


async def test_login__a_signed_message__is_good_once_and_for_an_hour(world: World) -> None:
    text = world.access.login_message(MAKER_ADDRESS, 31337)

    login = await world.access.login(text, signed(text))
    principal = await world.authenticator.authenticate(authorization=f"Bearer {login.token}")

    assert (principal.kind, principal.address, principal.app_id) == ("external", MAKER_ADDRESS, None)
    with pytest.raises(LoginReplayed):
        await world.access.login(text, signed(text))
    world.clock.advance(timedelta(hours=1))
    with pytest.raises(TokenExpired):
        await world.authenticator.authenticate(authorization=f"Bearer {login.token}")
    assert login.token not in str(await world.rows("select s::text as row, s from external_sessions s"))
    assert await world.custody.purge_expired() == 0
    world.clock.advance(timedelta(seconds=1))
    assert await world.custody.purge_expired() == 1


async def test_login__signed_by_somebody_else__is_refused(world: World) -> None:
    text = world.access.login_message(MAKER_ADDRESS, 1)
    with pytest.raises(LoginInvalid):
        await world.access.login(text, signed(text, Account.create()))
    with pytest.raises(LoginInvalid):
        await world.access.login(text, bytes(65))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lockstep.example", "evil.example"),
        ("URI: https", "URI: http"),
        ("This moves nothing", "This moves everything"),
        ("Version: 1", "Version: 2"),
        ("Nonce: ", "Nonce: short\nX: "),
        ("Expiration Time: 2026-05-01T12:05", "Expiration Time: 2026-05-01T12:06"),
        ("Expiration Time: 2026-05-01T12:05", "Expiration Time: 2026-05-01T11:59"),
        ("Issued At: 2026-05-01T12:00", "Issued At: 2026-05-01T12:02"),
        ("Issued At: 2026-05-01T12:00", "Issued At: 2026-05-01T11:50"),
        ("Chain ID: 1", "Chain ID: 0"),
    ],
)
async def test_login__a_message_for_something_else__is_refused(world: World, old: str, new: str) -> None:
    good = login_message(address=MAKER_ADDRESS, origin=ORIGIN, chain_id=1, nonce="n" * 16, now=START)
    text = good.replace(old, new)
    assert text != good
    with pytest.raises(LoginInvalid):
        await world.access.login(text, signed(text))


async def test_login__an_external_caller__sees_no_wallets(world: World) -> None:
    text = world.access.login_message(MAKER_ADDRESS, 1)
    login = await world.access.login(text, signed(text))
    principal = await world.authenticator.authenticate(authorization=f"Bearer {login.token}")
    with pytest.raises(Exception, match="expected a caller of an app"):
        await world.custody.list_wallets(principal)
