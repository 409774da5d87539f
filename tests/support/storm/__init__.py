"""Random runs of the transaction engine: scripts of events, the world in which they happen, and what must be true in the end.

`script(seed)` is pure: the same seed gives the same events. `World.play` runs them on a strict node and a real database in
virtual time. `shrink` drops events while a script still fails. A script that ever failed is kept by name in
tests/unit/transactions/test_random_runs.py.
"""

from tests.support.storm.events import (
    BaseFee,
    Cancel,
    Deny,
    Die,
    Event,
    Fault,
    Mine,
    Other,
    Pay,
    PayYourself,
    Reorganise,
    Restart,
    Rule,
    Stale,
    Stranger,
    Together,
    Unsigned,
    Wait,
    script,
    shrink,
)
from tests.support.storm.verdict import Broken
from tests.support.storm.world import World

__all__ = [
    "BaseFee",
    "Broken",
    "Cancel",
    "Deny",
    "Die",
    "Event",
    "Fault",
    "Mine",
    "Other",
    "Pay",
    "PayYourself",
    "Reorganise",
    "Restart",
    "Rule",
    "Stale",
    "Stranger",
    "Together",
    "Unsigned",
    "Wait",
    "World",
    "script",
    "shrink",
]
