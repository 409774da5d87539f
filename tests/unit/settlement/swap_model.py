"""A model of two chains, a taker, a maker's client and strangers: what the contracts allow, in a few lines.

Used to play whole swaps against the pure machine. Time passes on both chains alike, apart from a constant offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lockstep.settlement.rules import (
    TERMINAL_STATES,
    Decision,
    EscrowFacts,
    Facts,
    Leg,
    LegFacts,
    LegStatus,
    Outcome,
    SwapState,
    decide,
    secret_release,
)
from lockstep.settlement.types import ChainPairProfile, TakerMode, TimeLocks

PROFILE = ChainPairProfile(
    source_finality=4,
    destination_finality=4,
    source_inclusion=4,
    destination_inclusion=4,
    clock_skew=3,
    public_duty=4,
)
LOCKS = TimeLocks(
    source_withdrawal=6,
    source_public_withdrawal=40,
    source_cancellation=90,
    source_public_cancellation=100,
    destination_withdrawal=6,
    destination_public_withdrawal=20,
    destination_cancellation=50,
)
PUBLIC = {Leg.DESTINATION_PUBLIC_WITHDRAW, Leg.SOURCE_PUBLIC_WITHDRAW, Leg.SOURCE_PUBLIC_CANCEL}
DESTINATION_LEGS = {
    Leg.DESTINATION_LOCK,
    Leg.DESTINATION_WITHDRAW,
    Leg.DESTINATION_PUBLIC_WITHDRAW,
    Leg.DESTINATION_CANCEL,
}


@dataclass
class Escrow:
    deployed_at: int
    outcome: Outcome = Outcome.OPEN
    closed_at: int = 0


@dataclass
class Behaviour:
    """What everybody but the coordinator does."""

    mode: TakerMode = "managed"
    taker_delay: int = 1
    """Seconds between the taker's actions."""
    taker_stops_after: int = 99
    """How many of its own actions an external taker carries out."""
    maker_delay: int | None = 1
    """Seconds after both are final at which the maker's client asks for the release; None: never."""
    is_secret_held: bool = False
    """The maker left its secret with the deployment; its client may release it all the same."""
    is_session_revoked_after: int = 99
    """From how many legs of a managed taker on the policy refuses."""
    inclusion: int = 2
    """Seconds until a transaction lands, at most the profile's."""
    offset: int = 0
    """How far the destination's clock is ahead."""
    stops: dict[int, int] = field(default_factory=dict)
    """Moments at which the coordinator stops, and for how long."""


class World:
    """Plays one swap second by second."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.b = behaviour
        self.now = 1_000
        self.state = SwapState.MATCHED
        self.source: Escrow | None = None
        self.destination: Escrow | None = None
        self.legs: dict[Leg, LegFacts] = {}
        self.pending: list[tuple[int, Leg]] = []
        self.managed_legs = 0
        self.is_released = False
        self.released_at_facts: Facts | None = None
        self.taker_acts_at = self.now
        self.taker_actions = 0
        self.secret_public = False
        self.final_since: int | None = None
        self.visited: list[SwapState] = [self.state]
        self.alerts: list[str] = []
        self.down_until = 0

    def destination_now(self) -> int:
        return self.now + self.b.offset

    def facts(self) -> Facts:
        def escrow(one: Escrow | None, now: int, finality: int) -> EscrowFacts | None:
            if one is None:
                return None
            closed = one.outcome is not Outcome.OPEN
            return EscrowFacts(
                deployed_at=one.deployed_at,
                is_final=now >= one.deployed_at + finality,
                outcome=one.outcome,
                is_outcome_final=closed and now >= one.closed_at + finality,
            )

        return Facts(
            mode=self.b.mode,
            time_locks=LOCKS,
            profile=PROFILE,
            source_time=self.now,
            destination_time=self.destination_now(),
            host_time=self.now,
            reserved_until=1_030,
            expires_at=1_200,
            source=escrow(self.source, self.now, PROFILE.source_finality),
            destination=escrow(self.destination, self.destination_now(), PROFILE.destination_finality),
            has_secret=self.is_released or self.secret_public,
            is_secret_held=self.b.is_secret_held,
            legs=dict(self.legs),
        )

    # --- the contracts ---

    def execute(self, leg: Leg) -> bool:
        """What the contract of this leg does now; False: it reverts."""
        s, d = self.source, self.destination
        now, other = self.now, self.destination_now()
        if leg is Leg.SOURCE_LOCK:
            if s is not None:
                return False
            self.source = Escrow(now)
            return True
        if leg is Leg.DESTINATION_LOCK:
            if d is not None or s is None:
                return False
            if other + LOCKS.destination_cancellation > LOCKS.source(s.deployed_at).cancellation:
                return False
            self.destination = Escrow(other)
            return True
        one, moment = (d, other) if leg in DESTINATION_LEGS else (s, now)
        if one is None or one.outcome is not Outcome.OPEN:
            return False
        begin, end, outcome = self._window(leg, one)
        if not begin <= moment < end:
            return False
        if outcome is Outcome.WITHDRAWN:
            if not self.is_released and not self.secret_public:
                return False
            self.secret_public = True
        one.outcome, one.closed_at = outcome, moment
        return True

    def _window(self, leg: Leg, one: Escrow) -> tuple[int, int, Outcome]:
        s, d = LOCKS.source(one.deployed_at), LOCKS.destination(one.deployed_at)
        forever = 10**9
        return {
            Leg.DESTINATION_WITHDRAW: (d.withdrawal, d.cancellation, Outcome.WITHDRAWN),
            Leg.DESTINATION_PUBLIC_WITHDRAW: (d.public_withdrawal, d.cancellation, Outcome.WITHDRAWN),
            Leg.DESTINATION_CANCEL: (d.cancellation, forever, Outcome.CANCELLED),
            Leg.SOURCE_WITHDRAW: (s.withdrawal, s.cancellation, Outcome.WITHDRAWN),
            Leg.SOURCE_PUBLIC_WITHDRAW: (s.public_withdrawal, s.cancellation, Outcome.WITHDRAWN),
            Leg.SOURCE_CANCEL: (s.cancellation, forever, Outcome.CANCELLED),
            Leg.SOURCE_PUBLIC_CANCEL: (s.public_cancellation, forever, Outcome.CANCELLED),
        }[leg]

    # --- everybody ---

    def tick(self) -> None:
        self.now += 1
        landed = [leg for at, leg in self.pending if at <= self.now]
        self.pending = [(at, leg) for at, leg in self.pending if at > self.now]
        for leg in landed:
            status = LegStatus.DONE if self.execute(leg) else LegStatus.FAILED
            self.legs[leg] = replace(self.legs[leg], status=status)
        self._maker()
        self._taker()
        if self.now in self.b.stops:
            self.down_until = self.now + self.b.stops[self.now]
        if self.now >= self.down_until:
            self._coordinator()

    def _maker(self) -> None:
        if self.b.maker_delay is None or self.is_released or self.state is not SwapState.BOTH_FINAL:
            return
        self.final_since = self.final_since or self.now
        if self.now >= self.final_since + self.b.maker_delay and self.now >= self.down_until:
            facts = self.facts()
            if secret_release(facts) is None:
                self.is_released, self.released_at_facts = True, facts

    def _taker(self) -> None:
        if self.b.mode == "managed" or self.taker_actions >= self.b.taker_stops_after or self.now < self.taker_acts_at:
            return
        for leg in (
            Leg.SOURCE_LOCK,
            Leg.DESTINATION_LOCK,
            Leg.SOURCE_WITHDRAW,  # a taker that thinks of itself first
            Leg.DESTINATION_WITHDRAW,
            Leg.DESTINATION_CANCEL,
        ):
            if leg is Leg.SOURCE_LOCK and self.now > 1_020:
                continue
            if leg is Leg.DESTINATION_LOCK and (
                self.source is None or self.now < self.source.deployed_at + PROFILE.source_finality
            ):
                continue
            if self.execute(leg):
                self.taker_actions += 1
                self.taker_acts_at = self.now + self.b.taker_delay
                return

    def _coordinator(self) -> None:
        for _ in range(10):
            facts = self.facts()
            decision = decide(self.state, facts)
            if decision.releases_secret:
                assert self.b.is_secret_held
                assert not self.is_released
                self.is_released, self.released_at_facts = True, facts
            self._apply(decision)
            if self.state in TERMINAL_STATES or decision.waiting_for is not None:
                return
        raise AssertionError("ten steps in one second: the machine goes in circles")

    def _apply(self, decision: Decision) -> None:
        if decision.is_alert:
            self.alerts.append(decision.reason)
        for send in decision.sends:
            known = self.legs.get(send.leg)
            assert known is None or (known.status is LegStatus.FAILED and send.attempt == known.attempt + 1)
            if send.leg not in PUBLIC:
                assert self.b.mode == "managed"
                self.managed_legs += 1
                if self.managed_legs > self.b.is_session_revoked_after:
                    self.legs[send.leg] = LegFacts(
                        attempt=send.attempt, status=LegStatus.FAILED, reason="session revoked", is_refused=True
                    )
                    continue
            self.legs[send.leg] = LegFacts(attempt=send.attempt, status=LegStatus.PENDING)
            self.pending.append((self.now + self.b.inclusion, send.leg))
        if decision.state is not self.state:
            self.visited.append(decision.state)
        self.state = decision.state

    def play(self, seconds: int = 400) -> SwapState:
        for _ in range(seconds):
            if self.state in TERMINAL_STATES:
                break
            self.tick()
        return self.state
