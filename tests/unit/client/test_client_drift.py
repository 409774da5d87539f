"""Every call of the client against the API's own description: paths, methods, members; and every operation has a call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from lockstep.app.roles import openapi_document
from lockstep.client import Deposits, Destination, PriceCurve, SwapOrder, TimeLocks
from lockstep.client.endpoints import Endpoints
from lockstep.client.endpoints.calls import Call
from lockstep.client.requests import Page, Request

ID = "01a1f8f4-3ad8-7056-bbc5-a62291987af4"
HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "ab" * 20
ORDER = SwapOrder(
    maker=ADDRESS,
    source_token=ADDRESS,
    source_amount=1,
    destination=Destination(chain="eip155:1", factory=bytes(20), token=bytes(20), receiver=bytes(20)),
    price=PriceCurve(start_time=1, duration=1, end_amount=1, initial_rate_bump=0),
    deposits=Deposits(source=0, destination=0),
    time_locks=TimeLocks(**dict.fromkeys(TimeLocks.__slots__, 1)),
    hashlock_info=bytes(32),
    nonce=0,
    expiry=1,
)
SAMPLES: Mapping[Any, Any] = {
    str: ID,
    int: 1,
    bytes: bytes(65),
    datetime: datetime(2030, 1, 1, tzinfo=UTC),
    SwapOrder: ORDER,
    Sequence[str]: ["personal_sign"],
    Sequence[Mapping[str, Any]]: [],
    Mapping[str, Any]: {"name": "p", "chain_type": "ethereum", "rules": []},
    str | None: ADDRESS,
    str | bytes: "text",
}
CALLS = {name: call for name, call in vars(Endpoints).items() if isinstance(call, Call)}


def sample_of(name: str) -> Request[Any]:
    """The request of a call with every required argument."""
    build = CALLS[name]._describe
    hints = get_type_hints(build)
    required = [
        each for each in inspect.signature(build).parameters.values() if each.default is inspect.Parameter.empty
    ]
    named = {each.name: HASH if each.name == "order_hash" else SAMPLES[hints[each.name]] for each in required}
    return build(**named)


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    document = openapi_document()
    return {
        (method.upper(), path): {**operation, "schemas": document["components"]["schemas"]}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def operation_of(request: Request[Any]) -> tuple[str, str]:
    for method, path in operations():
        if method == request.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.path):
            return method, path
    raise AssertionError(f"the API has no {request.method} {request.path}")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_call__as_described__exists_with_its_members(name: str) -> None:
    request = sample_of(name)
    operation = operations()[operation_of(request)]
    parameters = {each["name"]: each for each in operation.get("parameters", ())}
    wanted = {each["name"] for each in parameters.values() if each.get("required") and each["in"] == "header"}
    assert wanted <= set(request.headers()), "a required header is not sent"
    build = CALLS[name]._describe
    in_query = {name for name, each in parameters.items() if each["in"] == "query"}
    if request.method == "GET":
        in_query -= {"fields"}  # an answer with some members left out is no model
        offered = {each for each in inspect.signature(build).parameters if f"{{{each}}}" not in request.path}
        assert in_query <= offered | set(request.query), "the API has a filter that the call has not"
    body = operation.get("requestBody")
    assert (body is None) == (request.body is None)
    if body is not None:
        schema, sent = body["content"]["application/json"]["schema"], request.body
        if schema.get("type") == "array":
            schema, (sent, *_) = schema["items"], sent
        schema = _resolve(operation["schemas"], schema)
        assert set(schema.get("required", ())) <= set(sent), "a required member is not sent"
        assert set(sent) <= set(schema["properties"]), "a member is sent that the API does not know"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_model__read_from_the_answer__asks_for_nothing_that_is_not_there(name: str) -> None:
    kind = get_args(get_type_hints(CALLS[name]._describe)["return"])[0]
    if get_origin(kind) is Page:
        kind = get_args(kind)[0]
    if not is_dataclass(kind):
        return
    operation = operations()[operation_of(sample_of(name))]
    answer = next(each for status, each in sorted(operation["responses"].items()) if status.startswith("2"))
    schema = _resolve(operation["schemas"], answer["content"]["application/json"]["schema"])
    if "items" in schema["properties"]:
        schema = _resolve(operation["schemas"], schema["properties"]["items"]["items"])
    needed = {
        each.metadata.get("name", each.name)
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    }
    assert needed <= set(schema["properties"])
    unread = set(schema["properties"]) - {each.metadata.get("name", each.name) for each in fields(kind)}
    assert unread <= LEFT_IN_RAW, "the answer has a member that the model has not"


LEFT_IN_RAW = {"attempt"}
"""Members that callers have no use for; they are in `raw`."""


def _resolve(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    schema = schema.get("anyOf", [schema])[0]  # a whole answer stands before one that the caller has narrowed
    return schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def test_api__every_operation__has_a_call() -> None:
    called = {operation_of(sample_of(name)) for name in CALLS}
    missing = {each for each in operations() if each[1].startswith("/v1/")} - called
    assert not missing
