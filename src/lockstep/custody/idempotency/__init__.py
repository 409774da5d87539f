"""Idempotency keys: a request that is sent twice is carried out once, and both times answered the same."""

from lockstep.custody.idempotency.box import ResponseBox
from lockstep.custody.idempotency.service import IdempotencyStore
from lockstep.custody.idempotency.types import Claim, Outcome, claim_for

__all__ = ["Claim", "IdempotencyStore", "Outcome", "ResponseBox", "claim_for"]
