"""The ledger against a second, naive account of every use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import pytest
from tests.support.counts import examples
from tests.support.custody import World

from lockstep.custody.limits import DEAD_AFTER, Charge, LimitLedger
from lockstep.custody.limits.types import Counter
from lockstep.kit.ids import new_id

WINDOW = 3_600
ROLLING, FOR_GOOD = Counter("aggregation.a", "[]", WINDOW), Counter("session.a.total", "[]", None)
STEPS = [timedelta(0), timedelta(seconds=50), timedelta(minutes=20), timedelta(hours=1), timedelta(hours=30)]


@dataclass(frozen=True)
class Use:
    """One use, as the naive account keeps it."""

    counter: Counter
    amount: int
    at: datetime
    state: str = "reserved"
    is_sent: bool = False


def used(uses: dict[tuple[str, Counter], Use], counter: Counter, now: datetime) -> int:
    """Every use that is not released and has not left the window."""
    edge = now - timedelta(seconds=WINDOW)
    return sum(
        use.amount
        for use in uses.values()
        if use.counter == counter and use.state != "released" and (counter is FOR_GOOD or use.at > edge)
    )


@pytest.mark.parametrize("seed", range(examples(3)))
async def test_ledger__random_lives_of_decisions__stands_as_the_naive_account(world: World, seed: int) -> None:
    random, ledger = Random(seed), LimitLedger(world.seals)
    app = (await world.app()).tenant
    uses: dict[tuple[str, Counter], Use] = {}
    for _ in range(60):
        world.clock.advance(random.choice(STEPS))
        now = world.clock.now()
        open_ones = sorted({decision for (decision, _), use in uses.items() if use.state == "reserved"})
        sent_ones = sorted({decision for (decision, _), use in uses.items() if use.is_sent and use.state != "released"})
        async with world.database.tenant(app) as uow:
            match random.choice(["reserve", "reserve", "consume", "release", "sweep", "replace"]):
                case "reserve":
                    charges = _charges(random)
                    scales = await ledger.read(uow, app, charges, now)
                    for _ in range(random.randint(1, 3)):  # several decisions of one batch
                        decision, is_sent = new_id(), random.random() < 0.5
                        for charge in charges:
                            assert scales.readings(charges)[charge.reading].used == used(uses, charge.counter, now)
                        scales.reserve(charges, decision, None if is_sent else now + DEAD_AFTER)
                        for charge in charges:
                            if charge.asked:
                                use = Use(charge.counter, charge.asked, now, is_sent=is_sent)
                                uses[decision, charge.counter] = use
                    await scales.write(uow)
                case "consume" if open_ones:
                    decision = random.choice(open_ones)
                    assert await ledger.consume(uow, [decision]) == set()
                    _change(uses, decision, "consumed")
                case "release" if open_ones:
                    decision = random.choice(open_ones)
                    await ledger.release(uow, [decision])
                    _change(uses, decision, "released")
                    assert await ledger.consume(uow, [decision]) == {decision}
                case "replace" if sent_ones:
                    old, new = random.choice(sent_ones), new_id()
                    charges = [_charge(use.counter, use.amount) for (one, _), use in uses.items() if one == old]
                    scales = await ledger.read(uow, app, charges, now, own=old)
                    await ledger.pass_on(uow, app, old, new)
                    scales.reserve(charges, new, None)
                    await scales.write(uow)
                    for (one, counter), use in list(uses.items()):
                        if one == old:
                            del uses[one, counter]
                            uses[new, counter] = replace(use, at=now)
                case _:
                    pass
        async with world.database.system("test") as uow:
            await ledger.sweep(uow, now)
        for (decision, counter), use in list(uses.items()):
            if use.state == "reserved" and not use.is_sent and now >= use.at + DEAD_AFTER:
                uses[decision, counter] = replace(use, state="released")
        async with world.database.tenant(app) as uow:
            both = [_charge(ROLLING, 1), _charge(FOR_GOOD, 1)]
            found = (await ledger.read(uow, app, both, now, lock=False)).readings(both)
        assert [found[one.reading].used for one in both] == [
            used(uses, counter, now) for counter in (ROLLING, FOR_GOOD)
        ]


def _charge(counter: Counter, asked: int) -> Charge:
    return Charge(counter.limit_id, "sum", counter, asked)


def _charges(random: Random) -> list[Charge]:
    counters = random.choice([[ROLLING], [FOR_GOOD], [ROLLING, FOR_GOOD]])
    return [_charge(counter, random.choice([0, 1, 7, 10**30])) for counter in counters]


def _change(uses: dict[tuple[str, Counter], Use], decision: str, state: str) -> None:
    for key, use in list(uses.items()):
        if key[0] == decision:
            uses[key] = replace(use, state=state)
