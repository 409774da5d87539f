"""Routes of aggregations."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from lockstep.custody.access.api import TENANT_ERRORS, Authenticate, IdPath
from lockstep.custody.access.schemas import Strict
from lockstep.custody.limits.errors import (
    AggregationInUse,
    AggregationInvalid,
    AggregationNotFound,
    TooManyAggregations,
)
from lockstep.custody.limits.service import AggregationService
from lockstep.custody.limits.types import Aggregation
from lockstep.custody.types import Principal
from lockstep.kit.clock import rfc3339
from lockstep.kit.problems import problems


class AggregationIn(BaseModel):
    """What is to be counted. It is checked as a whole when it is written, and never changes."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "required": ["name", "metric", "window"],
            "properties": {
                "name": {"type": "string", "maxLength": 50},
                "method": {"type": "string", "default": "*", "examples": ["eth_sendTransaction"]},
                "metric": {
                    "type": "object",
                    "examples": [
                        {"function": "sum", "field_source": "ethereum_transaction", "field": "value"},
                        {
                            "function": "sum",
                            "field_source": "movement",
                            "field": "amount",
                            "asset": "eip155:31337/erc20:0x5fbdb2315678afecb367f032d93f642f64180aa3",
                        },
                        {"function": "count"},
                    ],
                },
                "window": {"type": "object", "examples": [{"type": "rolling", "seconds": 86400}]},
                "conditions": {"type": "array", "items": {"type": "object"}, "maxItems": 100},
                "group_by": {"type": "array", "items": {"type": "object"}, "maxItems": 2},
            },
        },
    )


class AggregationOut(Strict):
    """What is counted; policies name it as `aggregation.<id>`."""

    id: str
    name: str
    method: str
    metric: dict[str, str]
    window: dict[str, Any]
    conditions: list[dict[str, Any]]
    group_by: list[dict[str, str]]
    created_at: str


class AggregationsOut(Strict):
    """The app's aggregations, at most ten."""

    items: list[AggregationOut]


def aggregation_router(aggregations: AggregationService, authenticate: Authenticate) -> APIRouter:
    """Routes of aggregations."""
    router = APIRouter(prefix="/aggregations", tags=["aggregations"])
    caller = Depends(authenticate)

    @router.post(
        "",
        operation_id="create_aggregation",
        status_code=201,
        responses=problems(*TENANT_ERRORS, AggregationInvalid, TooManyAggregations),
    )
    async def create_aggregation(body: AggregationIn, principal: Annotated[Principal, caller]) -> AggregationOut:
        """Have something counted over a rolling window, so that policies can limit it. For the app itself."""
        return _out(await aggregations.create(principal, body.model_dump()))

    @router.get("", operation_id="list_aggregations", responses=problems(*TENANT_ERRORS))
    async def list_aggregations(principal: Annotated[Principal, caller]) -> AggregationsOut:
        """The app's aggregations, oldest first."""
        return AggregationsOut(items=[_out(one) for one in await aggregations.list_all(principal)])

    @router.get(
        "/{aggregation_id}", operation_id="get_aggregation", responses=problems(*TENANT_ERRORS, AggregationNotFound)
    )
    async def get_aggregation(aggregation_id: IdPath, principal: Annotated[Principal, caller]) -> AggregationOut:
        """One aggregation."""
        return _out(await aggregations.get(principal, aggregation_id))

    @router.delete(
        "/{aggregation_id}",
        operation_id="delete_aggregation",
        status_code=204,
        responses=problems(*TENANT_ERRORS, AggregationNotFound, AggregationInUse),
    )
    async def delete_aggregation(aggregation_id: IdPath, principal: Annotated[Principal, caller]) -> Response:
        """Delete one that no policy in force names. For the app itself."""
        await aggregations.delete(principal, aggregation_id)
        return Response(status_code=204)

    return router


def _out(one: Aggregation) -> AggregationOut:
    return AggregationOut(id=one.id, created_at=rfc3339(one.created_at), **one.document)
