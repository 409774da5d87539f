"""Calls of aggregations: what policies limit over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.client.decoding import read
from lockstep.client.models import Aggregation, WalletLimit
from lockstep.client.requests import Request, get, given, nothing, of, segment, send


def create_aggregation(
    name: str,
    metric: Mapping[str, Any],
    window_seconds: int,
    *,
    method: str = "*",
    conditions: Sequence[Mapping[str, Any]] = (),
    group_by: Sequence[Mapping[str, str]] = (),
) -> Request[Aggregation]:
    """Have something counted over a rolling window, so that policies can limit it. For the app itself.

    Args:
        metric: ``{"function": "count"}``; or a sum, of native coin (``ethereum_transaction`` ``value``) or of an asset
            (``movement`` ``amount`` with a CAIP-19 ``asset``).
        window_seconds: 3,600 to 259,200.
        conditions: as in policies; only requests that meet them count.
        group_by: up to two facts; each value is counted apart.
    """
    body = given(
        name=name,
        metric=dict(metric),
        window={"type": "rolling", "seconds": window_seconds},
        method=method,
        conditions=[dict(one) for one in conditions],
        group_by=[dict(one) for one in group_by],
    )
    return send("POST", "/v1/aggregations", of(Aggregation), body)


def list_aggregations() -> Request[tuple[Aggregation, ...]]:
    """The app's aggregations, oldest first."""
    return get("/v1/aggregations", lambda document: read(tuple[Aggregation, ...], document["items"]))


def get_aggregation(aggregation_id: str) -> Request[Aggregation]:
    """One aggregation."""
    return get(f"/v1/aggregations/{segment(aggregation_id)}", of(Aggregation))


def delete_aggregation(aggregation_id: str) -> Request[None]:
    """Delete one that no policy in force names. For the app itself."""
    return send("DELETE", f"/v1/aggregations/{segment(aggregation_id)}", nothing)


def list_wallet_limits(wallet_id: str) -> Request[tuple[WalletLimit, ...]]:
    """How the spending limits of a wallet stand for the caller: used, left, and when some of it is free again."""
    path = f"/v1/wallets/{segment(wallet_id)}/limits"
    return get(path, lambda document: read(tuple[WalletLimit, ...], document["items"]))
