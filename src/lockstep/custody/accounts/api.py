"""Routes of accounts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from lockstep.custody import errors
from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.accounts import schemas
from lockstep.custody.accounts.service import AccountService
from lockstep.custody.accounts.types import Tokens
from lockstep.custody.types import Principal
from lockstep.custody.users.api import show_user
from lockstep.custody.users.schemas import UserOut
from lockstep.kit.clock import rfc3339
from lockstep.kit.ids import AppId
from lockstep.kit.problems import problems

_TRYING = (errors.AccountsOff, errors.AccountNameInvalid, errors.TooManyLogins, errors.LoginsBusy)
_SETTING = (
    *TENANT_ERRORS,
    errors.AccountsOff,
    errors.PasswordTooWeak,
    errors.LoginsBusy,
)


def account_router(accounts: AccountService, authenticate: Authenticate) -> APIRouter:
    """Routes of accounts."""
    router = APIRouter(tags=["access"])
    caller = Depends(authenticate)

    @router.post(
        "/auth/register",
        operation_id="register",
        status_code=202,
        response_class=Response,
        responses=problems(*_TRYING, errors.RegistrationClosed, errors.PasswordTooWeak),
    )
    async def register(request: Request, body: schemas.CredentialsIn) -> Response:
        """Ask for an account. The answer is the same when somebody has the name already: sign in to see."""
        await accounts.register(AppId(body.app_id), body.name, body.password, _address(request))
        return Response(status_code=202)

    @router.post("/auth/login", operation_id="log_in_to_account", responses=problems(*_TRYING, errors.PasswordWrong))
    async def log_in_to_account(request: Request, body: schemas.CredentialsIn) -> schemas.TokensOut:
        """Sign in with name and password. After a few failures there is a pause, longer each time."""
        return _tokens(await accounts.login(AppId(body.app_id), body.name, body.password, _address(request)))

    @router.post("/auth/refresh", operation_id="refresh_login", responses=problems(errors.RefreshTokenInvalid))
    async def refresh_login(body: schemas.RefreshIn) -> schemas.TokensOut:
        """Exchange a refresh token for new tokens, once. Sending one a second time ends the login."""
        return _tokens(await accounts.refresh(body.refresh_token))

    @router.post("/auth/logout", operation_id="log_out", status_code=204)
    async def log_out(body: schemas.RefreshIn) -> Response:
        """End a login and all of its tokens."""
        await accounts.logout(body.refresh_token)
        return Response(status_code=204)

    @router.post(
        "/auth/password",
        operation_id="change_password",
        status_code=204,
        responses=problems(*_SETTING, errors.AccountNotFound, errors.PasswordWrong, errors.TooManyLogins),
    )
    async def change_password(body: schemas.PasswordChangeIn, principal: Annotated[Principal, caller]) -> Response:
        """Set another password for the caller; every login of it ends, this one too."""
        await accounts.change_password(principal, body.current_password, body.new_password)
        return Response(status_code=204)

    @router.post(
        "/users",
        operation_id="create_account",
        status_code=201,
        responses=problems(*_SETTING, errors.AccountNameInvalid, errors.AccountNameTaken),
    )
    async def create_account(body: schemas.AccountIn, principal: Annotated[Principal, caller]) -> UserOut:
        """Make an account for somebody. For the app and its admins."""
        return show_user(await accounts.create_account(principal, body.name, body.password))

    @router.put(
        "/users/{user_id}/password",
        operation_id="set_password",
        status_code=204,
        responses=problems(*_SETTING, errors.AccountNotFound),
    )
    async def set_password(
        user_id: IdPath, body: schemas.PasswordIn, principal: Annotated[Principal, caller]
    ) -> Response:
        """Set a password for somebody who has lost it; every login of the user ends. For the app and its admins."""
        await accounts.set_password(principal, user_id, body.new_password)
        return Response(status_code=204)

    return router


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _tokens(tokens: Tokens) -> schemas.TokensOut:
    return schemas.TokensOut(
        user_id=tokens.user_id,
        access_token=tokens.access,
        expires_at=rfc3339(tokens.access_expires_at),
        refresh_token=tokens.refresh,
        refresh_expires_at=rfc3339(tokens.refresh_expires_at),
    )
