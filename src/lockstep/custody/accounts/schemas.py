"""Wire shapes of accounts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from lockstep.custody.access.schemas import Strict
from lockstep.custody.accounts.rules import MAX_PASSWORD
from lockstep.custody.schemas import Id

AccountName = Annotated[str, StringConstraints(min_length=3, max_length=254)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class CredentialsIn(Strict):
    """Name and password of an account of an app."""

    app_id: Id
    name: AccountName = Field(description="An e-mail address or a name; case does not matter.")
    password: Password = Field(repr=False, description="A new one: 12 to 256 characters, none of the commonest.")


class RefreshIn(Strict):
    """A refresh token."""

    refresh_token: Token = Field(repr=False)


class TokensOut(Strict):
    """Tokens, shown only here; the access token is a bearer token."""

    user_id: str
    access_token: str = Field(repr=False)
    expires_at: str
    refresh_token: str = Field(repr=False, description="Good for one use: a second one ends the login.")
    refresh_expires_at: str


class PasswordChangeIn(Strict):
    """Another password for the caller."""

    current_password: Password = Field(repr=False)
    new_password: Password = Field(repr=False)


class AccountIn(Strict):
    """An account for somebody."""

    name: AccountName
    password: Password = Field(repr=False)


class PasswordIn(Strict):
    """A password for somebody who has lost it."""

    new_password: Password = Field(repr=False)
