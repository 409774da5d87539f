"""Wire shapes of users."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lockstep.custody.access.schemas import Strict

RoleName = Literal["user", "operator", "admin"]


class UserPatch(Strict):
    """What is to change; absent members stay."""

    role: RoleName | None = Field(
        None, description="operator: looks after the transactions of the app; admin: its users too."
    )
    status: Literal["active", "disabled"] | None = Field(
        None, description="disabled: no token of the user holds any more."
    )


class UserOut(Strict):
    """A user of an app."""

    id: str
    issuer: str
    subject: str
    role: RoleName
    status: Literal["active", "disabled"]
    created_at: str


class UsersOut(Strict):
    """A page of users."""

    items: list[UserOut]
    next_cursor: str | None
