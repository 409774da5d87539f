"""The OpenAPI document: every route with the refusals that it declares and those that any route may meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from lockstep.app.http.authentication import Authenticate
from lockstep.app.http.errors import (
    BodyTooLarge,
    DuplicateMember,
    HostNotAllowed,
    InternalError,
    MalformedJson,
    MediaTypeNotSupported,
    NestedTooDeep,
    RateLimited,
    UnusableText,
    ValidationFailed,
)
from lockstep.custody import (
    REQUEST_REFUSALS,
    AdminCredentialInvalid,
    AppCredentialsInvalid,
    CredentialsMissing,
    IssuerUnavailable,
    SessionTokenInvalid,
    TokenExpired,
    TokenInvalid,
)
from lockstep.kit.database import DatabaseUnavailable, PoolExhausted
from lockstep.kit.errors import LockstepError
from lockstep.kit.problems import PROBLEM_JSON, problems

_ANY: Final = (HostNotAllowed, UnusableText, InternalError)
_COUNTED: Final = (RateLimited, DatabaseUnavailable, PoolExhausted)
_WITH_BODY: Final = (MalformedJson, DuplicateMember, NestedTooDeep, BodyTooLarge, MediaTypeNotSupported)
_WITH_CREDENTIALS: Final = (
    CredentialsMissing,
    AppCredentialsInvalid,
    TokenInvalid,
    TokenExpired,
    SessionTokenInvalid,
    AdminCredentialInvalid,
    IssuerUnavailable,
)
_SIGNED_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SECURITY: Final = {
    "appId": {"type": "apiKey", "in": "header", "name": "X-App-Id"},
    "appSecret": {"type": "apiKey", "in": "header", "name": "X-App-Secret"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a user (with the app's headers), of a session signer, of a wallet login or of an administrator.",
    },
}


def make_openapi(app: FastAPI, authenticate: Authenticate) -> dict[str, Any]:
    """The document, with shared refusals added and every problem under one schema."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document.setdefault("components", {})["securitySchemes"] = _SECURITY
    schemas = document["components"].setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None and isinstance(route.original_route, APIRoute):
                _complete(operation, route, authenticate)
    return document


def _complete(operation: dict[str, Any], route: RouteContext, authenticate: Authenticate) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    if (
        responses.get("422", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema", {})
        .get("$ref", "")
        .endswith("/HTTPValidationError")
    ):
        del responses["422"]  # FastAPI's own shape; ours is a problem
    errors: list[type[LockstepError]] = [*_ANY]
    if (route.path or "").startswith("/v1"):
        errors += _COUNTED
    if "requestBody" in operation:
        errors += _WITH_BODY
    if "requestBody" in operation or operation.get("parameters"):
        errors.append(ValidationFailed)
    if any(dependant.call is authenticate for dependant in _walk(route.dependant)):
        errors += _WITH_CREDENTIALS
        if _SIGNED_METHODS & set(route.methods or ()):
            errors += REQUEST_REFUSALS
        operation["security"] = [
            {"appId": [], "appSecret": []},
            {"appId": [], "appSecret": [], "bearer": []},
            {"bearer": []},
        ]
    for status, shared in problems(*errors).items():
        _merge(responses, str(status), shared)


def _merge(responses: dict[str, Any], status: str, shared: dict[str, Any]) -> None:
    """Add shared codes of a status to those that the route declares itself."""
    own = responses.get(status)
    if own is None:
        responses[status] = shared
        return
    content = own.setdefault("content", {})
    codes = shared["content"][PROBLEM_JSON]["schema"]["properties"]["code"]["examples"]
    if PROBLEM_JSON not in content:
        content[PROBLEM_JSON] = shared["content"][PROBLEM_JSON]
    else:
        known = content[PROBLEM_JSON]["schema"]["properties"]["code"].setdefault("examples", [])
        codes = [code for code in codes if code not in known]
        known.extend(codes)
    lines = [line for line in shared["description"].split("\n\n") if any(f"`{code}`" in line for code in codes)]
    own["description"] = "\n\n".join([part for part in [own.get("description", ""), *lines] if part])


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from _walk(each)
