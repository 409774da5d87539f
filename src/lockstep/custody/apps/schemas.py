"""Wire shapes of apps for administrators."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lockstep.custody.access.schemas import AppOut, Name, Strict


def _network(text: str) -> str:
    """A network in its one form; a single address is one, too."""
    return str(ip_network(text))


Network = Annotated[str, Field(max_length=50, examples=["203.0.113.0/24"]), AfterValidator(_network)]


class AppPatch(Strict):
    """What is to change; absent members stay."""

    name: Name | None = None
    status: Literal["active", "suspended"] | None = None
    allowed_networks: Annotated[list[Network], Field(max_length=50)] | None = Field(
        None, description="Networks (CIDR) that the app's secrets may be used from; an empty list: from everywhere."
    )
    accounts: Literal["off", "closed", "open"] | None = Field(
        None, description="Accounts with passwords: off; closed: the app makes them; open: anybody may register."
    )
    access_token_seconds: Annotated[int, Field(ge=60, le=900)] | None = None
    login_seconds: Annotated[int, Field(ge=3_600, le=7_776_000)] | None = None
    login_history_days: Annotated[int, Field(ge=1, le=365)] | None = None

    def changes(self) -> dict[str, object]:
        return self.model_dump(exclude_none=True)


class AppsOut(Strict):
    """A page of apps."""

    items: list[AppOut]
    next_cursor: str | None
