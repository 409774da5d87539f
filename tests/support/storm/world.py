"""A strict node, a database, one or two workers and a clock that only this moves: plays a script and checks the end.

A worker that dies loses everything but the database: its transaction is rolled back, its memory and its connections are
gone. That the operating system does the same to a killed process is shown with real processes in
tests/unit/transactions/test_kill.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
from tests.support.evm import account, address, sign
from tests.support.storm.events import (
    BaseFee,
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
)
from tests.support.stub_node import Chain, Limits, Refused, StrictNode, decode
from tests.support.transactions import APP, WALLET, Keys

from lockstep.chains.evm import Address, ChainConfig, ChainRegistry, UnsignedTransaction, transaction_hash
from lockstep.custody import SignedTransaction, TransactionIntent
from lockstep.kit import crash
from lockstep.kit.clock import ManualClock
from lockstep.kit.database import Database
from lockstep.kit.errors import Forbidden, LockstepError, Retry
from lockstep.transactions import EngineSettings, State, Transaction, TransactionEngine, TransactionSender
from lockstep.transactions.store import rows

GWEI = 10**9
SINK = Address("0x" + "5a" * 20)
STRANGER = Address("0x" + "57" * 20)
REFUSES = Address("0x" + "bad0" * 10)
BLOCK_SECONDS, FINALITY = 12, 3
HEALS_WITHIN = 3
"""Blocks after the end of all trouble until nothing waits any more."""
SETTINGS = EngineSettings(batch=5, replace_after_blocks=3, simulates=False)
"""Not simulated: what reverts has to get onto the chain."""
_START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_STEPS_PER_BLOCK = 2
_STEPS_AT_MOST = 40
_chain_ids = count(1_000_000)


class Broken(AssertionError):
    """Something that must be true in the end is not."""


class _Killed(BaseException):
    """The worker is dead."""


@dataclass
class _Worker:
    chains: ChainRegistry
    engine: TransactionEngine


@dataclass(frozen=True, slots=True)
class _Intent:
    """What was asked for, by the id of its row."""

    sender: Address
    to: Address
    value: int
    reverts: bool
    may_expire: bool


class _Custody(Keys):
    """Signs, except for so many of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[LockstepError] = []
        self.refused: set[int] = set()
        """Values of transactions that were refused for good."""

    async def sign_transactions(
        self, items: list[tuple[str, UnsignedTransaction]]
    ) -> Sequence[SignedTransaction | LockstepError]:
        errors, self.errors = self.errors[: len(items)], self.errors[len(items) :]
        if errors and isinstance(errors[0], Forbidden):
            self.refused |= {tx.value for _, tx in items[: len(errors)]}
        return [*errors, *await super().sign_transactions(items[len(errors) :])]


class World:
    """One run. Runs share a database: each has a chain of its own."""

    def __init__(self, database: Database, nodes: Sequence[StrictNode]) -> None:
        self._database, self._nodes, self._node = database, nodes, nodes[0]
        node = self._node
        self._clock = ManualClock(_START)
        self._keys = _Custody()
        self._config = ChainConfig(
            chain=f"eip155:{node.chain.chain_id}",
            chain_id=node.chain.chain_id,
            name="Storm",
            rpc_urls=[one.url for one in nodes],
            finality_blocks=FINALITY,
            block_seconds=BLOCK_SECONDS,
            max_fee_per_gas=2_000 * GWEI,
        )
        self._workers = [self._hire(), self._hire()]
        self._values = count(1)
        self._intents: dict[str, _Intent] = {}
        self._own: dict[tuple[Address, int], bytes] = {}
        """Raw transactions of callers, by sender and nonce."""
        self._death: Die | None = None
        self._passed = 0
        self._running: asyncio.Task[int] | None = None

    @classmethod
    async def play(cls, database: Database, events: Sequence[Event]) -> World:
        """Run a script to its end and through the quiet blocks behind it.

        Raises:
            Broken: with what is not as it must be.
        """
        chain = Chain(next(_chain_ids), {address(index): 10**22 for index in range(10)}, block_seconds=BLOCK_SECONDS)
        chain.refusing[REFUSES] = "not today"
        chain.base_fee = GWEI
        count_of_nodes = 1 + max((getattr(event, "node", 0) for event in events), default=0)
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(StrictNode(chain, final_after=FINALITY)) for _ in range(count_of_nodes)
            ]
            world = cls(database, nodes)
            try:
                with _crash_points(world._pass_point):
                    for event in events:
                        await world._happen(event)
                        if not (isinstance(event, Pay) and event.with_next):
                            await world._step(0)
                            world._clock.advance(timedelta(seconds=1))
                    await world._calm()
                await world._check()
            finally:
                for worker in world._workers:
                    await worker.chains.close()
        return world

    # --- events -------------------------------------------------------------------------------------------------------

    async def _happen(self, event: Event) -> None:
        node = self._nodes[getattr(event, "node", 0)]
        match event:
            case Pay():
                await self._queue(event)
            case PayYourself():
                await self._claim(event.account)
            case Stranger():
                self._send_past_us(event.account)
            case Mine():
                self._mine(event.blocks, empty=event.empty)
            case Wait():
                self._clock.advance(timedelta(seconds=event.seconds))
            case Fault():
                node.fault(event.kind, after=event.after)
            case Deny():
                node.failing_requests = event.requests
            case Stale():
                node.lag = event.blocks
            case Reorganise():
                node.reorganise(event.depth, returns=event.returns, empty=event.empty)
                self._tell_others()
            case Restart():
                node.restart()
            case Rule():
                node.pool.limits, node.dialect = event.limits, event.dialect
            case Unsigned():
                error = Forbidden("no longer allowed") if event.refused else Retry("the signer is restarting")
                self._keys.errors = [error] * event.count
            case BaseFee():
                node.chain.base_fee = event.gwei * GWEI
            case Die():
                self._death, self._passed = event, 0
                for one in self._nodes:
                    one.watch = self._pass_request if event.request else None
            case Other():
                self._workers.reverse()
            case Together():
                await asyncio.gather(self._step(0), self._step(1))

    async def _queue(self, pay: Pay) -> None:
        sender = address(pay.account)
        intent = _Intent(
            sender, REFUSES if pay.reverts else SINK, next(self._values), pay.reverts, pay.deadline is not None
        )
        async with self._database.tenant(APP) as uow:
            queued = await self._sender(0).queue(
                uow,
                f"01900000-0000-7000-8000-{pay.account:012x}",
                TransactionIntent(
                    app_id=APP,
                    wallet_id=WALLET,
                    chain=self._config.chain,
                    from_address=sender,
                    to=intent.to,
                    value=intent.value,
                    data=b"",
                    gas_limit=None if pay.estimated else 60_000,
                    max_fee_per_gas=None if pay.ceiling is None else pay.ceiling * GWEI,
                    idempotency_key=f"{self._config.chain}-{intent.value}",
                    priority=pay.priority,
                    deadline_at=None if pay.deadline is None else self._clock.now() + timedelta(seconds=pay.deadline),
                ),
            )
        self._intents[queued.id] = intent

    async def _claim(self, index: int) -> None:
        """A caller asks for the next nonce, signs, claims and sends; it gives up when the node does not answer."""
        sender = address(index)
        try:
            async with self._database.tenant(APP) as uow:
                nonce = await self._sender(0).next_nonce(uow, self._config.chain, sender)
                tx = UnsignedTransaction(
                    chain_id=self._config.chain_id,
                    nonce=nonce,
                    to=SINK,
                    value=next(self._values),
                    data=b"",
                    gas_limit=21_000,
                    max_fee_per_gas=50 * GWEI,
                    max_priority_fee_per_gas=GWEI,
                )
                await self._sender(0).claim(uow, self._config.chain, sender, nonce, tx.digest())
        except LockstepError:
            return
        self._own[sender, nonce] = sign(account(index), tx)
        await self._send_own()

    async def _send_own(self) -> None:
        """Callers send what is not mined, again and again."""
        for raw in self._own.values():
            if transaction_hash(raw) not in self._node.chain.places:
                try:
                    await self._workers[0].chains.get(self._config.chain).send_raw(raw)
                except Retry:
                    continue

    def _send_past_us(self, index: int) -> None:
        sender = address(index)
        nonce = self._node.chain.head.state.nonce(sender)
        tx = UnsignedTransaction(
            chain_id=self._config.chain_id,
            nonce=nonce,
            to=STRANGER,
            value=next(self._values),
            data=b"",
            gas_limit=21_000,
            max_fee_per_gas=10_000 * GWEI,
            max_priority_fee_per_gas=9_000 * GWEI,
        )
        with suppress(Refused):
            self._node.pool.add(decode(sign(account(index), tx)), self._node.chain.head.state, 0)

    def _mine(self, blocks: int, *, empty: bool = False) -> None:
        """What any node has, the first one, who mines, has heard of."""
        for _ in range(blocks):
            for tx in [tx for other in self._nodes[1:] for tx in other.pool]:
                with suppress(Refused):
                    self._node.pool.add(tx, self._node.chain.head.state, self._node.chain.next_base_fee)
            self._node.mine(empty=empty)
            self._tell_others()
            self._clock.advance(timedelta(seconds=BLOCK_SECONDS))

    def _tell_others(self) -> None:
        for other in self._nodes[1:]:
            other.heard_of_block()

    # --- workers ------------------------------------------------------------------------------------------------------

    def _hire(self) -> _Worker:
        chains = ChainRegistry([self._config])
        return _Worker(chains, TransactionEngine(self._database, chains, self._keys, self._clock, SETTINGS))

    def _sender(self, index: int) -> TransactionSender:
        return TransactionSender(self._workers[index].chains, self._clock)

    async def _step(self, index: int) -> int | None:
        """A step of a worker: how much it moved, None when it was cut short; a dead worker is followed by another."""
        worker = self._workers[index]
        self._running = task = asyncio.create_task(worker.engine.step())
        try:
            return await task
        except (Retry, psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            return None  # the loops of the engine wait and look again
        except (_Killed, asyncio.CancelledError):
            self._workers[index] = self._hire()
            await worker.chains.close()
            return None

    def _pass_point(self, step: str, moment: str) -> None:
        if self._death is not None and not self._death.request:
            self._passed += 1
            if self._passed == self._death.at:
                self._death = None
                raise _Killed(step, moment)

    def _pass_request(self, moment: str, calls: list[dict[str, Any]]) -> None:
        if self._death is not None and (moment == "after") == self._death.answered:
            self._passed += 1
            if self._passed == self._death.at and self._running is not None:
                self._death = None
                self._running.cancel()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """All trouble ends; what waits has a few blocks, then what is mined becomes final."""
        for node in self._nodes:
            node.calm()
            node.pool.limits = Limits()
        self._node.chain.base_fee = GWEI
        self._keys.errors = []
        self._death = None
        for _ in range(HEALS_WITHIN):
            await self._quiet_block()
        waiting = [
            t
            for t in await self._rows()
            if not t.state.is_terminal and t.state is not State.MINED and not self._has_stranger(t.sender, t.nonce)
        ]
        if waiting:
            raise Broken(f"not healed within {HEALS_WITHIN} blocks: " + "; ".join(map(_describe, waiting)))
        self._mine(FINALITY + 1)
        await self._settle()

    async def _quiet_block(self) -> None:
        await self._send_own()
        for _ in range(_STEPS_PER_BLOCK):
            await self._settle()
            self._clock.advance(timedelta(seconds=BLOCK_SECONDS / _STEPS_PER_BLOCK))
        self._clock.advance(timedelta(seconds=-BLOCK_SECONDS))
        self._mine(1)
        await self._step(0)

    async def _settle(self) -> None:
        """Steps until nothing moves. A busy machine may cut one short even now."""
        for _ in range(_STEPS_AT_MOST):
            if await self._step(0) == 0:
                return
        raise Broken(f"still moving after {_STEPS_AT_MOST} steps")

    async def _rows(self) -> list[Transaction]:
        found = []
        async with self._database.tenant(APP) as uow:
            for one in self._intents:
                row = await rows.find(uow, APP, one)
                assert row is not None
                found.append(row)
        return found

    async def _check(self) -> None:
        """Each effect once, no gap, no reservation left behind, rows equal to the chain, a history without holes."""
        chain, found = self._node.chain, await self._rows()
        on_chain = Counter(
            (outcome.tx.sender, outcome.tx.to, outcome.tx.value)
            for _, outcome in chain.places.values()
            if outcome.tx.to != STRANGER
        )
        for t in found:
            intent = self._intents[t.id]
            times = on_chain.pop((intent.sender, intent.to, intent.value), 0)
            if t.is_final:
                _demand(times == 1, f"final, and {times} times on the chain", t)
                self._check_place(t, intent)
            else:
                expired = t.state in (State.EXPIRED, State.CANCELLED) and intent.may_expire
                overtaken = t.state is State.REPLACED_EXTERNALLY and self._has_stranger(t.sender, t.nonce)
                refused = t.state is State.DROPPED and t.value in self._keys.refused
                _demand(expired or overtaken or refused, "did not happen", t)
                _demand(times == 0, f"given up, and {times} times on the chain", t)
        for (sender, nonce), raw in self._own.items():
            tx = decode(raw)
            if self._has_stranger(sender, nonce):
                continue
            _demand(on_chain.pop((sender, tx.to, tx.value), 0) == 1, f"nonce {nonce} of a caller is not on the chain")
        strangers = {key: times for key, times in on_chain.items() if (key[1], key[2]) != (key[0], 0)}
        _demand(not strangers, f"on the chain, and nobody asked for it: {strangers}")
        _demand(len(self._node.pool) == 0, f"left in the pool: {list(self._node.pool)}")
        self._check_signatures()
        await self._check_tables(found)

    def _has_stranger(self, sender: Address, nonce: int | None) -> bool:
        """Whether somebody else has used this nonce on the chain."""
        return any(
            (outcome.tx.sender, outcome.tx.nonce, outcome.tx.to) == (sender, nonce, STRANGER)
            for _, outcome in self._node.chain.places.values()
        )

    def _check_place(self, t: Transaction, intent: _Intent) -> None:
        place = self._node.chain.places.get(t.hash or b"")
        if place is None:
            raise Broken(f"the row's hash is not that of the chain: {_describe(t)}")
        block, outcome = place
        said = (t.block_number, t.block_hash, t.nonce, t.succeeded, t.gas_used, t.effective_gas_price, t.fee_paid)
        true = (
            block.number,
            block.hash,
            outcome.tx.nonce,
            outcome.succeeded,
            outcome.gas_used,
            outcome.price,
            outcome.gas_used * outcome.price,
        )
        _demand(said == true, f"row and chain differ: {said} and {true}", t)
        _demand(t.state is (State.REVERTED_FINAL if intent.reverts else State.FINAL), "ended in the wrong state", t)

    def _check_signatures(self) -> None:
        """Two forms of a nonce differ in their fees only, or one of them takes the other back."""
        contents: dict[tuple[str, int], set[tuple[str | None, int]]] = {}
        for sender, tx in self._keys.signed_by:
            if (tx.to, tx.value) != (sender, 0):
                contents.setdefault((sender, tx.nonce), set()).add((tx.to, tx.value))
        twice = {key: content for key, content in contents.items() if len(content) > 1}
        _demand(not twice, f"signed for two things: {twice}")

    async def _check_tables(self, found: list[Transaction]) -> None:
        chain = self._config.chain
        state = self._node.chain.head.state
        async with self._database.system("test") as uow:
            reserved = await uow.fetch(
                "select address, nonce, transaction_id from nonce_reservations where chain = %s", (chain,)
            )
            steps = await uow.fetch(
                "select transaction_id, version, from_state, to_state, facts from transaction_steps"
                " where transaction_id = any(%s) order by transaction_id, version",
                ([t.id for t in found],),
            )
        beyond = [row for row in reserved if row["nonce"] >= state.nonce(row["address"])]
        _demand(not beyond, f"reserved, and not on the chain: {beyond}")
        ours = {(row["address"], row["nonce"]) for row in reserved}
        mined = {(outcome.tx.sender, outcome.tx.nonce) for _, outcome in self._node.chain.places.values()}
        strangers = {
            (outcome.tx.sender, outcome.tx.nonce)
            for _, outcome in self._node.chain.places.values()
            if outcome.tx.to == STRANGER
        }
        _demand(ours | strangers == mined, f"reserved and not mined, or the reverse: {(ours | strangers) ^ mined}")
        version: dict[str, tuple[int, str | None]] = {}
        for row in steps:
            before = version.get(row["transaction_id"], (0, None))
            _demand((row["version"], row["from_state"]) == (before[0] + 1, before[1]), f"a hole in the history: {row}")
            version[row["transaction_id"]] = (row["version"], row["to_state"])
            if (dropped := row["facts"].get("dropped_hash")) is not None:
                block = self._node.chain.by_hash[bytes.fromhex(dropped[2:])]
                _demand(not self._node.chain.is_canonical(block), f"taken back, and its block is there: {row}")
        for t in found:
            _demand(version[t.id] == (t.version, t.state.value), f"history ends with {version[t.id]}", t)


def _demand(holds: bool, words: str, t: Transaction | None = None) -> None:
    if not holds:
        raise Broken(words if t is None else f"{words}: {_describe(t)}")


def _describe(t: Transaction) -> str:
    return f"value {t.value}, {t.state.value}, nonce {t.nonce}, attempt {t.attempt}, reason {t.reason!r}"


@contextmanager
def _crash_points(passed: Any) -> Iterator[None]:
    """Let the crash points of the engine call this."""
    real, crash.point = crash.point, passed
    try:
        yield
    finally:
        crash.point = real
