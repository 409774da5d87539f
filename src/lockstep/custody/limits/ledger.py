"""How limits stand while decisions are made, and what becomes of what decisions use of them.

A use counts from the decision on: it is reserved in the transaction that decides, under the lock of its counter, so that
no other decision can count on the same rest. It is consumed with the signature, and released only when nothing was
signed and nothing can be any more: then `consume` finds it released, and the signature is withheld.

Counters and uses carry keyed codes: a sum that was lowered past the service, or is older than it was, is not believed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from prometheus_client import Counter as Metric

from lockstep.custody.limits import ledger_store as store
from lockstep.custody.limits.ledger_store import CounterRow, Found, UseRow
from lockstep.custody.limits.types import Charge, Counter
from lockstep.custody.policy import Reading
from lockstep.custody.seals import AuthorityTampered, Seals
from lockstep.custody.seals.contents import of_limit_counter, of_limit_use
from lockstep.kit.database import UnitOfWork

DEAD_AFTER: Final = timedelta(minutes=2)
"""When what is signed at once was given up: longer than an execution authorization and an idempotency key are good for."""
KEEP: Final = timedelta(days=5)
"""How long counters and uses are kept: longer than every window."""
KEEP_SENT: Final = timedelta(days=90)
"""The same for transactions, which may be made dearer as long as they are not mined."""
MAX_REMEMBERED: Final = 50_000
_BATCH: Final = 500
_TICK: Final = timedelta(microseconds=1)

_uses = Metric("lockstep_limit_uses", "Uses of spending limits, by what became of them", ["outcome"])
for _outcome in ("reserved", "consumed", "released", "lapsed"):
    _uses.labels(_outcome)


class Balance(NamedTuple):
    """How a counter stands within its window."""

    row: CounterRow
    used: int
    own: int
    """Part of it that the decision in question holds already."""


class Scales:
    """The counters that some requests ask of, as they stand in this transaction: what one request reserves, the next one
    finds used."""

    def __init__(self, ledger: LimitLedger, app_id: str, now: datetime, balances: dict[Counter, Balance]) -> None:
        self.app_id, self.now = app_id, now
        self._ledger, self._balances = ledger, balances
        self._uses: list[tuple[UseRow, datetime | None]] = []

    @property
    def rows(self) -> dict[Counter, CounterRow]:
        """The counters that exist."""
        return {counter: balance.row for counter, balance in self._balances.items()}

    def readings(self, charges: Sequence[Charge]) -> dict[str, Reading]:
        """What rules find about these charges."""
        return {charge.reading: self._reading(charge) for charge in charges}

    def reserve(self, charges: Sequence[Charge], decision_id: str, dies_at: datetime | None) -> bool:
        """Have an allowed decision use what it asks for; whether that is anything.

        Args:
            dies_at: when it is released if it is not consumed; None: a transaction holds it.
        """
        before = len(self._uses)
        for charge in charges:
            if not charge.asked:
                continue  # nothing, or it cannot be told: then no rule about this sum has allowed it
            balance = self._balances[charge.counter]
            amount = max(charge.asked, balance.own)
            use = UseRow(decision_id, balance.row.id, amount, self.now, b"")
            self._uses.append((self._ledger.coded_use(use), dies_at))
            self._balances[charge.counter] = Balance(balance.row, balance.used - balance.own + amount, 0)
        return len(self._uses) > before

    async def write(self, uow: UnitOfWork) -> None:
        """Write what was reserved."""
        if not self._uses:
            return
        touched = {use.counter_id for use, _ in self._uses}
        counters = []
        for counter, balance in self._balances.items():
            if balance.row.id in touched:
                edge = _edge_of(counter, self.now)
                after = (
                    edge if edge is None or balance.row.counted_after is None else max(edge, balance.row.counted_after)
                )
                row = balance.row._replace(total=balance.used, counted_after=after)
                counters.append(self._ledger.coded_counter(row, self.now))
        await store.write(uow, self.app_id, self._uses, counters, self.now)
        self._ledger.remember(uow, counters)
        _uses.labels("reserved").inc(len(self._uses))
        self._uses = []

    def _reading(self, charge: Charge) -> Reading:
        balance = self._balances.get(charge.counter)
        return Reading(
            name=charge.name,
            used=0 if balance is None else balance.used - balance.own,
            asked=charge.asked,
            window_seconds=charge.counter.window_seconds,
        )


class LimitLedger:
    """Reads and writes counters and uses; believes only what it wrote."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals
        self._newest: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()
        """When each counter was last written, as far as this process has seen: none may be older again."""

    async def read(
        self,
        uow: UnitOfWork,
        app_id: str,
        charges: Sequence[Charge],
        now: datetime,
        *,
        own: str | None = None,
        lock: bool = True,
    ) -> Scales:
        """Read the counters of these charges.

        Args:
            own: decision whose uses do not count, because the request in question takes their place.
            lock: whether they are used after this; their rows are locked until the transaction ends, and those that do not
                exist are made.
        Raises:
            AuthorityTampered: a counter is not as the service left it.
        """
        wanted = sorted({charge.counter for charge in charges})
        if not wanted:
            return Scales(self, app_id, now, {})
        keys = [counter.limit_id for counter in wanted], [counter.group for counter in wanted]
        edges = [_edge_of(counter, now) for counter in wanted]
        locked, found = await store.read_counters(uow, app_id, keys, edges, own=own, lock=lock)
        if lock and locked < len(wanted):
            codes = [
                self.coded_counter(CounterRow(0, app_id, one.limit_id, one.group, 0, edge, now - _TICK, b""), now).code
                for one, edge in zip(wanted, edges, strict=True)
            ]
            await store.make_counters(uow, app_id, keys, edges, codes, now)
            _, found = await store.read_counters(uow, app_id, keys, edges, own=own, lock=True)
        by_key = {(one.counter.limit_id, one.counter.group): one for one in found}
        if lock:  # what is read without it may be overtaken by somebody who has committed since
            self._check_age(app_id, wanted, by_key, now)
            self.remember(uow, [one.counter for one in found])
        return Scales(
            self,
            app_id,
            now,
            {
                counter: self._balance(by_key[counter.limit_id, counter.group], _edge_of(counter, now))
                for counter in wanted
                if (counter.limit_id, counter.group) in by_key
            },
        )

    async def list_oldest(self, uow: UnitOfWork, scales: Scales) -> dict[Counter, datetime]:
        """When the oldest use was made that is still in its window, by counter."""
        rows = scales.rows
        edges = [_edge_of(counter, scales.now) for counter in rows]
        oldest = await store.list_oldest(uow, scales.app_id, [row.id for row in rows.values()], edges) if rows else {}
        return {counter: oldest[row.id] for counter, row in rows.items() if row.id in oldest}

    async def pass_on(self, uow: UnitOfWork, app_id: str, old: str, new: str) -> None:
        """Let a decision hold what the one before it holds. What is not believed is let lie, and goes on to count."""
        held = [use for use in await store.list_held(uow, app_id, old) if self._is_ours(use)]
        await store.rename_uses(uow, app_id, old, [self.coded_use(use._replace(decision_id=new)) for use in held])

    async def consume(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> set[str]:
        """Note that these decisions are signed in this transaction.

        Returns:
            Those whose use was released meanwhile: their signatures must not leave.
        """
        if not decision_ids:
            return set()
        held = await store.consume(uow, decision_ids)
        _uses.labels("consumed").inc(sum(state == "reserved" for _, state in held))
        return {decision_id for decision_id, state in held if state == "released"}

    async def release(self, uow: UnitOfWork, decision_ids: Sequence[str], *, dead_at: datetime | None = None) -> int:
        """Give back what decisions use under which nothing was signed; returns how many did. What is consumed stays used,
        and so does what is not believed.

        Args:
            dead_at: only what is dead by then.
        """
        counters = {one.id: one for one in await store.lock_used(uow, decision_ids)} if decision_ids else {}
        believed = {number: one for number, one in counters.items() if self._is_counter_ours(one)}
        if not believed:
            return 0
        freed = await store.release(uow, decision_ids, list(believed), dead_at)
        for use in freed:
            counter = believed[use.counter_id]
            is_counted = counter.counted_after is None or use.used_at > counter.counted_after
            if is_counted and self._is_ours(use):
                believed[use.counter_id] = counter._replace(total=counter.total - use.amount)
        changed = [self.coded_counter(believed[number], believed[number].written_at) for number in believed]
        await store.write_counters(uow, changed)
        self.remember(uow, changed)
        decisions = len({use.decision_id for use in freed})
        _uses.labels("released" if dead_at is None else "lapsed").inc(decisions)
        return decisions

    async def sweep(self, uow: UnitOfWork, now: datetime) -> int:
        """Give back what decisions hold whose process died before the signature, and forget what is over; returns how many
        rows that were."""
        dead = await store.list_dead(uow, now, _BATCH)
        lapsed = await self.release(uow, dead, dead_at=now)
        return lapsed + await store.delete_left(uow, now - KEEP, now - KEEP_SENT)

    # --- codes --------------------------------------------------------------------------------------------------------

    def coded_use(self, use: UseRow) -> UseRow:
        """The use with its code."""
        return use._replace(code=self._seals.code("limit_use", use.decision_id, _use_content(use)))

    def coded_counter(self, counter: CounterRow, now: datetime) -> CounterRow:
        """The counter with its code, written now and after it was last written."""
        counter = counter._replace(written_at=max(now, counter.written_at + _TICK))
        code = self._seals.code("limit_counter", counter.limit_id, _counter_content(counter))
        return counter._replace(code=code)

    def _is_ours(self, use: UseRow) -> bool:
        return self._seals.is_sealed("limit_use", use.decision_id, _use_content(use), use.code)

    def _is_counter_ours(self, counter: CounterRow) -> bool:
        return self._seals.is_sealed("limit_counter", counter.limit_id, _counter_content(counter), counter.code)

    def _balance(self, found: Found, edge: datetime | None) -> Balance:
        counter, leaving, own = found
        if not self._is_counter_ours(counter):
            raise AuthorityTampered(f"the counter of {counter.limit_id} does not have the code of what it says")
        # A use that is not ours is not taken off: the sum stays higher, never lower.
        used = counter.total - sum(use.amount for use in leaving if self._is_ours(use))
        start = counter.counted_after if edge is None else max(edge, counter.counted_after or edge)
        is_own = own is not None and (start is None or own.used_at > start) and self._is_ours(own)
        return Balance(counter, used, own.amount if own is not None and is_own else 0)

    def _check_age(
        self, app_id: str, wanted: Sequence[Counter], found: dict[tuple[str, str], Found], now: datetime
    ) -> None:
        for counter in wanted:
            seen = self._newest.get((app_id, counter.limit_id, counter.group))
            one = found.get((counter.limit_id, counter.group))
            is_gone = one is None and seen is not None and (counter.window_seconds is None or seen >= now - KEEP)
            if is_gone or (one is not None and seen is not None and one.counter.written_at < seen):
                raise AuthorityTampered(f"the counter of {counter.limit_id} is older than it was")

    def remember(self, uow: UnitOfWork, counters: Sequence[CounterRow]) -> None:
        """Have these be the newest that were seen, once the transaction is committed."""
        uow.after_commit(lambda: self._remember(counters))

    def _remember(self, counters: Sequence[CounterRow]) -> None:
        for one in counters:
            key = one.app_id, one.limit_id, one.group
            self._newest[key] = max(one.written_at, self._newest.get(key, one.written_at))
            self._newest.move_to_end(key)
        while len(self._newest) > MAX_REMEMBERED:
            self._newest.popitem(last=False)


def _edge_of(counter: Counter, now: datetime) -> datetime | None:
    """Uses up to this moment, and at it, have left the window; None: there is none."""
    return None if counter.window_seconds is None else now - timedelta(seconds=counter.window_seconds)


def _use_content(use: UseRow) -> tuple[str | None, ...]:
    return of_limit_use(use.counter_id, use.amount, use.used_at)


def _counter_content(counter: CounterRow) -> tuple[str | None, ...]:
    return of_limit_counter(counter.app_id, counter.group, counter.total, counter.counted_after, counter.written_at)
