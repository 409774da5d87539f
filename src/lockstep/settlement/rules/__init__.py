"""Pure decisions of settlement: which escrow is the right one, when the secret may go out, what a swap does next.

Nothing in this package knows a database, a node, HTTP or a clock.
"""

from lockstep.settlement.rules.deciding import decide
from lockstep.settlement.rules.facts import (
    OPEN_STATES,
    PUBLIC_LEGS,
    TERMINAL_STATES,
    EscrowFacts,
    Facts,
    Leg,
    LegFacts,
    LegStatus,
    Outcome,
    SwapState,
)
from lockstep.settlement.rules.matching import match_destination, match_source
from lockstep.settlement.rules.steps import Decision, Send
from lockstep.settlement.rules.timing import (
    last_destination_lock,
    last_destination_withdrawal,
    last_secret_release,
    secret_release,
    time_locks_fault,
)

__all__ = [
    "OPEN_STATES",
    "PUBLIC_LEGS",
    "TERMINAL_STATES",
    "Decision",
    "EscrowFacts",
    "Facts",
    "Leg",
    "LegFacts",
    "LegStatus",
    "Outcome",
    "Send",
    "SwapState",
    "decide",
    "last_destination_lock",
    "last_destination_withdrawal",
    "last_secret_release",
    "match_destination",
    "match_source",
    "secret_release",
    "time_locks_fault",
]
