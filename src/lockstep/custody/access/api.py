"""Routes of apps, their secrets and logins."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from lockstep.chains.evm import BadAddress, parse_address
from lockstep.custody import errors
from lockstep.custody.access import schemas
from lockstep.custody.access.service import AccessService
from lockstep.custody.access.types import App, NewSecret
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.ids import AppId
from lockstep.kit.problems import problems

Authenticate = Callable[..., Awaitable[Principal]]
Stranger = Callable[..., Awaitable[None]]
IdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]

AUTH_ERRORS = (
    errors.CredentialsMissing,
    errors.AppCredentialsInvalid,
    errors.AdminCredentialInvalid,
    errors.TokenInvalid,
    errors.TokenExpired,
    errors.SessionTokenInvalid,
    errors.AddressNotAllowed,
    errors.UserDisabled,
    errors.IssuerUnavailable,
)
TENANT_ERRORS = (*AUTH_ERRORS, errors.CallerHasNoApp, errors.CallerNotAllowed)


def access_router(access: AccessService, authenticate: Authenticate, stranger: Stranger | None = None) -> APIRouter:
    """Routes of apps, their secrets and logins.

    Args:
        stranger: dependency of the routes without credentials, for example a rate limit.
    """
    router = APIRouter(tags=["access"])
    public = [Depends(stranger)] if stranger is not None else []

    @router.post(
        "/apps", status_code=201, responses=problems(*AUTH_ERRORS, errors.CallerNotAllowed, errors.IssuerInvalid)
    )
    async def create_app(
        body: schemas.AppIn, principal: Annotated[Principal, Depends(authenticate)]
    ) -> schemas.NewAppOut:
        """Make an app and its first secret. For administrators."""
        app, secret = await access.create_app(principal, body.name, [one.to_issuer() for one in body.issuers])
        return schemas.NewAppOut(app=show_app(app), secret_id=secret.id, secret=secret.text)

    @router.put(
        "/apps/{app_id}/issuers",
        responses=problems(*AUTH_ERRORS, errors.CallerNotAllowed, errors.AppNotFound, errors.IssuerInvalid),
    )
    async def set_issuers(
        app_id: IdPath, body: schemas.IssuersIn, principal: Annotated[Principal, Depends(authenticate)]
    ) -> schemas.AppOut:
        """Replace the issuers whose users an app knows. For administrators."""
        return show_app(await access.set_issuers(principal, AppId(app_id), [one.to_issuer() for one in body.issuers]))

    @router.get("/app", responses=problems(*TENANT_ERRORS, errors.AppNotFound))
    async def get_app(principal: Annotated[Principal, Depends(authenticate)]) -> schemas.AppOut:
        """The caller's app."""
        return show_app(await access.get_app(principal.tenant))

    @router.post("/app/secrets", status_code=201, responses=problems(*TENANT_ERRORS, errors.SecretExpiryInvalid))
    async def create_secret(
        principal: Annotated[Principal, Depends(authenticate)], body: schemas.SecretIn | None = None
    ) -> schemas.NewSecretOut:
        """Make another secret; the old ones stay good until they expire or are revoked."""
        return _new_secret(await access.create_secret(principal, None if body is None else body.expires_at))

    @router.post(
        "/app/secrets/rotate",
        operation_id="rotate_secrets",
        status_code=201,
        responses=problems(*TENANT_ERRORS, errors.SecretExpiryInvalid),
    )
    async def rotate_secrets(
        body: schemas.RotationIn, principal: Annotated[Principal, Depends(authenticate)]
    ) -> schemas.NewSecretOut:
        """Make a new secret; all others end when the overlap is over, in which both are good."""
        overlap = timedelta(seconds=body.overlap_seconds)
        return _new_secret(await access.rotate_secrets(principal, overlap, body.expires_at))

    @router.get("/app/secrets", responses=problems(*TENANT_ERRORS))
    async def list_secrets(principal: Annotated[Principal, Depends(authenticate)]) -> schemas.SecretsOut:
        """What is known of the app's secrets."""
        return schemas.SecretsOut(
            items=[
                schemas.SecretOut(
                    id=secret.id,
                    prefix=secret.prefix,
                    status=secret.status,
                    created_at=rfc3339(secret.created_at),
                    last_used_at=None if secret.last_used_at is None else rfc3339(secret.last_used_at),
                    expires_at=None if secret.expires_at is None else rfc3339(secret.expires_at),
                )
                for secret in await access.list_secrets(principal)
            ]
        )

    @router.delete(
        "/app/secrets/{secret_id}",
        status_code=204,
        responses=problems(*TENANT_ERRORS, errors.SecretNotFound, errors.LastSecret),
    )
    async def revoke_secret(secret_id: IdPath, principal: Annotated[Principal, Depends(authenticate)]) -> Response:
        """End a secret, within two seconds everywhere."""
        await access.revoke_secret(principal, secret_id)
        return Response(status_code=204)

    @router.get("/caller", responses=problems(*AUTH_ERRORS))
    async def get_caller(principal: Annotated[Principal, Depends(authenticate)]) -> schemas.CallerOut:
        """Who the credentials stand for."""
        return schemas.CallerOut(
            kind=principal.kind,
            app_id=principal.app_id,
            user_id=principal.user_id,
            wallet_id=principal.wallet_id,
            session_id=principal.session_id,
            address=principal.address,
            role=principal.role,
        )

    @router.post("/auth/wallet/message", dependencies=public, responses=problems(BadAddress))
    async def make_login_message(body: schemas.LoginMessageIn) -> schemas.LoginMessageOut:
        """The text by which an own key signs in; good for five minutes."""
        return schemas.LoginMessageOut(message=access.login_message(parse_address(body.address), body.chain_id))

    @router.post("/auth/wallet", dependencies=public, responses=problems(errors.LoginInvalid, errors.LoginReplayed))
    async def login(body: schemas.LoginIn) -> schemas.LoginOut:
        """Sign in with an own key; the token is good for an hour."""
        done = await access.login(body.message, bytes.fromhex(body.signature[2:]))
        return schemas.LoginOut(token=done.token, address=done.address, expires_at=rfc3339(done.expires_at))

    return router


def show_app(app: App) -> schemas.AppOut:
    """An app as callers see it."""
    return schemas.AppOut(
        id=app.id,
        name=app.name,
        status=app.status,
        issuers=[
            schemas.IssuerOut(issuer=one.issuer, audience=one.audience, jwks_url=one.jwks_url) for one in app.issuers
        ],
        allowed_networks=[str(network) for network in app.terms.allowed_networks],
        accounts=app.terms.accounts,
        access_token_seconds=app.terms.access_token_seconds,
        login_seconds=app.terms.login_seconds,
        login_history_days=app.terms.login_history_days,
        created_at=rfc3339(app.created_at),
    )


def _new_secret(secret: NewSecret) -> schemas.NewSecretOut:
    expires = None if secret.expires_at is None else rfc3339(secret.expires_at)
    return schemas.NewSecretOut(id=secret.id, secret=secret.text, expires_at=expires)
