"""Spending limits: sums over rolling windows that policies bound, and caps of session signers; hard under concurrency.

Knows what a request asks for and how much is used. What is allowed is decided in `custody.policy` and `custody.signing`.
"""

from lockstep.custody.limits.errors import (
    AggregationInUse,
    AggregationInvalid,
    AggregationNotFound,
    TooManyAggregations,
)
from lockstep.custody.limits.ledger import DEAD_AFTER, LimitLedger, Scales
from lockstep.custody.limits.rules import charges_of, session_maxima, standings
from lockstep.custody.limits.service import AggregationService
from lockstep.custody.limits.shelf import AggregationShelf
from lockstep.custody.limits.types import Aggregation, Charge, CompiledAggregation, LimitStanding, SessionCaps

__all__ = [
    "DEAD_AFTER",
    "Aggregation",
    "AggregationInUse",
    "AggregationInvalid",
    "AggregationNotFound",
    "AggregationService",
    "AggregationShelf",
    "Charge",
    "CompiledAggregation",
    "LimitLedger",
    "LimitStanding",
    "Scales",
    "SessionCaps",
    "TooManyAggregations",
    "charges_of",
    "session_maxima",
    "standings",
]
