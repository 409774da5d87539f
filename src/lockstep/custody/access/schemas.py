"""Wire shapes of apps, secrets and logins."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from lockstep.custody.access.types import Issuer

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _only_rfc_3339(value: object) -> object:
    """Numbers would be read as seconds or milliseconds since 1970, whichever fits: nobody meant that."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError('expected RFC 3339 text with a zone, for example "2030-01-01T00:00:00Z"')
    return value


Moment = Annotated[
    AwareDatetime,
    Field(strict=False, description="RFC 3339", examples=["2030-01-01T00:00:00Z"]),
    BeforeValidator(_only_rfc_3339),
]


class Strict(BaseModel):
    """Nothing unknown, nothing converted."""

    model_config = ConfigDict(strict=True, extra="forbid")


class IssuerIn(Strict):
    """An issuer of user tokens; its public keys inline or by address, or neither if the deployment's settings know it."""

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    audience: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    jwks: dict[str, Any] | None = None
    jwks_url: Annotated[str, StringConstraints(max_length=500)] | None = None

    def to_issuer(self) -> Issuer:
        return Issuer(issuer=self.issuer, audience=self.audience, jwks=self.jwks, jwks_url=self.jwks_url)


class AppIn(Strict):
    """A new app."""

    name: Name
    issuers: Annotated[list[IssuerIn], Field(max_length=10)] = []


class IssuersIn(Strict):
    """The issuers that an app trusts from now on."""

    issuers: Annotated[list[IssuerIn], Field(max_length=10)]


class IssuerOut(Strict):
    """An issuer that an app trusts."""

    issuer: str
    audience: str
    jwks_url: str | None


class AppOut(Strict):
    """An app."""

    id: str
    name: str
    status: Literal["active", "suspended"]
    issuers: list[IssuerOut]
    allowed_networks: list[str] = Field(description="Where its secrets may be used; empty: everywhere.")
    accounts: Literal["off", "closed", "open"]
    access_token_seconds: int
    login_seconds: int
    login_history_days: int
    created_at: str


class NewAppOut(Strict):
    """A new app with its secret, which is shown only here."""

    app: AppOut
    secret_id: str
    secret: str = Field(repr=False)


class SecretIn(Strict):
    """How long a new secret is good."""

    expires_at: Moment | None = Field(None, description="Absent: until it is revoked.")


class RotationIn(SecretIn):
    """A new secret, and how long the others stay good next to it."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400


class NewSecretOut(Strict):
    """A new secret, shown only here."""

    id: str
    secret: str = Field(repr=False)
    expires_at: str | None


class SecretOut(Strict):
    """What is known of a secret."""

    id: str
    prefix: str
    status: Literal["active", "revoked", "expired"]
    created_at: str
    last_used_at: str | None
    expires_at: str | None


class SecretsOut(Strict):
    """All secrets of an app."""

    items: list[SecretOut]


class CallerOut(Strict):
    """Who the credentials stand for."""

    kind: Literal["app", "user", "session", "external", "module", "admin"]
    app_id: str | None
    user_id: str | None
    wallet_id: str | None
    session_id: str | None
    address: str | None
    role: Literal["user", "operator", "admin"] | None = Field(description="Of a user in its app.")


class LoginMessageIn(Strict):
    """For whom a sign-in message is wanted."""

    address: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
    chain_id: Annotated[int, Field(ge=1, lt=2**53)] = 1


class LoginMessageOut(Strict):
    """The text to sign with personal_sign."""

    message: str


class LoginIn(Strict):
    """A signed sign-in message (EIP-4361)."""

    message: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    signature: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{130}$")]


class LoginOut(Strict):
    """A bearer token, shown only here."""

    token: str = Field(repr=False)
    address: str
    expires_at: str
