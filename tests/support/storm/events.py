"""What can happen to transactions, as data; scripts of it by seed, and smaller ones that still fail."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.support.stub_node import Dialect, Limits, Refusal, SendFault

ACCOUNTS = 3
DEEPEST = 3
"""Blocks of the deepest reorganisation: as many as the chain's finality."""


@dataclass(frozen=True, slots=True)
class Pay:
    """A transaction is queued: a transfer, or a call that the contract refuses."""

    account: int
    reverts: bool = False
    estimated: bool = False
    """No gas limit is given."""
    priority: int = 0
    ceiling: int | None = None
    """Highest fee, gwei per gas."""
    deadline: int | None = None
    """Seconds from now."""
    with_next: bool = False
    """No step is made before the next event."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """An operator asks to cancel one of the transactions so far."""

    which: int
    """Its place among them, counted from the first and over again from the last."""
    during_step: bool = False


@dataclass(frozen=True, slots=True)
class PayYourself:
    """A caller has a nonce claimed for a transaction that it signs and sends itself."""

    account: int
    during_step: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody else who has the account's key sends with the account's next nonce, past us."""

    account: int


@dataclass(frozen=True, slots=True)
class Mine:
    blocks: int = 1
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One of the next sends goes wrong, or is refused without cause."""

    kind: SendFault | Refusal
    after: int = 0
    node: int = 0


@dataclass(frozen=True, slots=True)
class Deny:
    """The next HTTP requests fail."""

    requests: int
    node: int = 0


@dataclass(frozen=True, slots=True)
class Stale:
    """The node shows a head that is behind; 0 ends it."""

    blocks: int
    node: int = 0


@dataclass(frozen=True, slots=True)
class Reorganise:
    depth: int
    returns: bool
    empty: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """The node's pool is empty afterwards."""

    node: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """The node keeps other rules from now on, or speaks in other words."""

    limits: Limits = Limits()  # noqa: RUF009 - immutable
    dialect: Dialect = Dialect.GETH
    node: int = 0


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Custody does not sign the next ones: it cannot be reached, or it refuses them for good."""

    count: int
    refused: bool = False


@dataclass(frozen=True, slots=True)
class BaseFee:
    gwei: int


@dataclass(frozen=True, slots=True)
class Die:
    """The worker dies in its next steps: at a crash point, or while a request is on its way."""

    at: int
    request: bool = False
    answered: bool = False
    """The request has taken effect."""


@dataclass(frozen=True, slots=True)
class Other:
    """From now on another worker makes the steps."""


@dataclass(frozen=True, slots=True)
class Together:
    """Two workers make a step at the same time."""


Event: TypeAlias = (
    Pay | PayYourself | Mine | Wait | Fault | Deny | Stale | Reorganise | Restart | BaseFee | Die | Other | Together
)

LIES = (
    Refusal.UNDERPRICED,
    Refusal.REPLACEMENT_UNDERPRICED,
    Refusal.NONCE_TOO_LOW,
    Refusal.NONCE_GAP,
    Refusal.INSUFFICIENT_FUNDS,
    Refusal.BELOW_BASE_FEE,
    Refusal.POOL_FULL,
)
"""What nodes behind one address say of each other's pools and views. That no node will ever take it is not among them."""


RULES = (
    Limits(),
    Limits(pool=0),
    Limits(pool=2),
    Limits(account_queue=0),
    Limits(takes_gaps=False),
    Limits(takes_below_base_fee=False),
    Limits(least_tip=3 * 10**9),
)
_LEAST, _MOST = 10, 30


def script(seed: int) -> list[Event]:
    """The events of a run."""
    dice = random.Random(seed)
    trouble, strangers, cancels = dice.choice((0.2, 0.4, 0.6)), dice.choice((0, 0, 0.03)), dice.choice((0, 0, 0.06))
    accounts, nodes = dice.choice((1, 2, ACCOUNTS)), dice.choice((1, 1, 2))
    events: list[Event] = [_pay(dice, accounts) for _ in range(dice.randint(1, 4))]
    for _ in range(dice.randint(_LEAST, _MOST)):
        roll = dice.random()
        if roll < trouble:
            events.append(_trouble(dice, dice.randrange(nodes)))
        elif roll < trouble + strangers:
            events.append(Stranger(dice.randrange(accounts)))
        elif roll < trouble + strangers + cancels:
            events.append(Cancel(dice.randrange(20), during_step=dice.random() < 0.4))
        elif roll < trouble + strangers + cancels + 0.15:
            events.append(
                _pay(dice, accounts)
                if dice.random() < 0.8
                else PayYourself(dice.randrange(accounts), during_step=dice.random() < 0.4)
            )
        elif roll < 0.95:
            events.append(Mine(dice.choice((1, 1, 1, 2, 4)), empty=dice.random() < 0.3))
        else:
            events.append(Wait(dice.choice((1, 6, 30))))
    return events


def _pay(dice: random.Random, accounts: int) -> Pay:
    return Pay(
        dice.randrange(accounts),
        reverts=(reverts := dice.random() < 0.2),
        estimated=not reverts and dice.random() < 0.3,
        priority=dice.choice((0, 0, 0, 10)),
        ceiling=dice.choice((None, None, 3, 8)),
        deadline=dice.choice((None, None, None, 20, 90)),
        with_next=dice.random() < 0.4,
    )


def _trouble(dice: random.Random, node: int) -> Event:
    return dice.choice(
        (
            lambda: Fault(dice.choice(tuple(SendFault)), dice.randrange(3), node),
            lambda: Fault(dice.choice(tuple(SendFault)), dice.randrange(3), node),
            lambda: Fault(dice.choice(LIES), dice.randrange(3), node),
            lambda: Deny(dice.choice((1, 1, 3)), node),
            lambda: Stale(dice.choice((0, 1, 3, 5)), node),
            lambda: Reorganise(dice.randint(1, DEEPEST), dice.random() < 0.5, dice.random() < 0.5),
            lambda: Restart(node),
            lambda: Rule(dice.choice(RULES), dice.choice(tuple(Dialect)), node),
            lambda: Unsigned(dice.choice((1, 3, 9))),
            lambda: BaseFee(dice.choice((1, 2, 6, 30, 200))),
            lambda: Die(dice.randint(1, 8)),
            lambda: Die(dice.randint(1, 6), request=True, answered=dice.random() < 0.5),
            lambda: Other(),
            lambda: Together(),
        )
    )()


async def shrink(
    events: list[Event], fails: Callable[[list[Event]], Awaitable[bool]], *, runs: int = 120
) -> list[Event]:
    """A smaller script that still fails: first large pieces are dropped, then single events, within so many runs."""
    size = len(events) // 2
    while size and runs > 0:
        start, dropped = 0, False
        while start < len(events) and runs > 0:
            fewer = events[:start] + events[start + size :]
            runs -= 1
            if fewer and await fails(fewer):
                events, dropped = fewer, True
            else:
                start += size
        size = size if dropped and size == 1 else size // 2
    return events
