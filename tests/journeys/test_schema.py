"""The live API keeps what its schema says, whatever valid or invalid requests are made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.journeys.support import App, Caller, Deployment, allow, payment
from tests.journeys.traders import Market

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 10
"""Requests per route and mode."""


@pytest.fixture(scope="module")
def caller(deployment: Deployment) -> tuple[App, dict[str, str]]:
    """An app that has something of everything, and the ids of it by the names that paths give them."""
    app = deployment.new_app("Schema")
    wallet = app.wallet([allow()], ether=1)
    session = app.grant(wallet["id"])["session_signer"]
    sent = app.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"]
    ids = {"wallet_id": wallet["id"], "policy_id": wallet["policy_ids"][0], "session_id": session["id"]}
    return app, {**ids, "transaction_id": sent, "app_id": app.id}


@pytest.fixture(scope="module")
def traded(market: Market) -> dict[str, str]:
    """An order that was filled and its swap; settled, so that nothing of it moves while other stories count tokens."""
    made = market.run(market.offer())
    swap = market.run(market.take(made))
    assert market.run(market.settle(made, swap.id)).state == "settled"
    return {"order_hash": made.name, "swap_id": swap.id, "fill_index": "0"}


def check_route(operation: Any, mode: GenerationMode, caller: Caller, ids: dict[str, str]) -> list[str]:
    """What is wrong with a route, for requests of a mode; nothing if all is well."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def check(case: schemathesis.Case, is_known: bool) -> None:
        if is_known:
            known = {name: ids[name] for name in case.path_parameters or {} if name in ids}
            case.path_parameters = {**(case.path_parameters or {}), **known}
        case.headers = {**(case.headers or {}), **caller.headers}
        case.call_and_validate(base_url=caller.url, checks=CHECKS, timeout=20)

    run: Callable[[], None] = check
    try:
        run()
    except FailureGroup as group:
        return [f"{operation.label} ({mode.value}): {failure}" for failure in group.exceptions]
    except (schemathesis.errors.SchemathesisError, Unsatisfiable) as error:
        # Nothing invalid can be made of a route without parameters.
        return [] if mode is GenerationMode.NEGATIVE else [f"{operation.label}: {error}"]
    return []


def operations(deployment: Deployment) -> list[Any]:
    document = httpx.get(f"{deployment.url}/openapi.json").json()
    return [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]


@pytest.mark.timeout(420)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_routes__requests_made_from_the_schema__no_server_error_and_no_answer_outside_the_schema(
    deployment: Deployment,
    market: Market,
    caller: tuple[App, dict[str, str]],
    traded: dict[str, str],
    mode: GenerationMode,
) -> None:
    app, ids = caller
    failures: list[str] = []
    for operation in operations(deployment):
        if operation.path.startswith(("/v1/orders", "/v1/swaps")):
            for who in (market.caller(market.maker), market.caller(market.resolver)):
                failures += check_route(operation, mode, who, traded)
            continue
        failures += check_route(
            operation, mode, deployment.admin if operation.path.startswith("/v1/apps") else app, ids
        )

    assert failures == [], "\n\n".join(failures)
