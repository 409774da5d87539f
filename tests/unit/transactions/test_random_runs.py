"""The engine in a storm: whatever dies, is refused, lost, delayed or taken back, each effect happens once and all heals.

A failure prints its seed and a script that is as small as it gets; keep it below, under a name that says what was wrong.
"""

from __future__ import annotations

import pytest
from tests.support.counts import examples
from tests.support.storm import (
    Broken,
    Cancel,
    Deny,
    Die,
    Event,
    Fault,
    Mine,
    Pay,
    Stale,
    Unsigned,
    Wait,
    World,
    script,
    shrink,
)
from tests.support.stub_node import SendFault

from lockstep.kit.database import Database

pytestmark = pytest.mark.slow
PER_TEST = 25

ONCE_BROKEN: dict[str, list[Event]] = {
    "a refused signature left a gap before others": [Unsigned(1, refused=True), Pay(0, with_next=True), Pay(0), Mine()],
    "a cancellation left a gap before others": [Unsigned(1), Pay(0, with_next=True), Pay(0), Cancel(0), Mine()],
    "a node behind the block of a mined transaction took it back": [Pay(0), Mine(), Wait(1), Stale(1), Wait(1)],
    "what was lost behind a gap came back two blocks after the gap was closed": [
        Fault(SendFault.LOSE, after=1),
        Pay(1, deadline=20, with_next=True),
        Unsigned(3),
        Pay(1, with_next=True),
        Pay(1, with_next=True),
        Die(3),
        Deny(1),
        Cancel(13),
    ],
    "what a worker that died had signed ended as unsigned, and its nonce was signed for another": [
        Pay(0, estimated=True, priority=10, deadline=20, with_next=True),
        Die(5),
        Mine(2),
        Pay(0, ceiling=3),
    ],
}
"""Scripts that once failed."""


@pytest.mark.parametrize("first", range(0, examples(50), PER_TEST))
async def test_storm__any_seed__each_effect_once_and_healed(database: Database, first: int) -> None:
    for seed in range(first, first + PER_TEST):
        events = script(seed)
        try:
            await World.play(database, events)
        except Broken as broken:

            async def fails(fewer: list[Event]) -> bool:
                try:
                    await World.play(database, fewer)
                except Broken:
                    return True
                return False

            smallest = await shrink(events, fails)
            pytest.fail(f"seed {seed}: {broken}\nsmallest script: {smallest}")


@pytest.mark.parametrize("name", ONCE_BROKEN)
async def test_storm__once_broken__each_effect_once_and_healed(database: Database, name: str) -> None:
    await World.play(database, ONCE_BROKEN[name])
