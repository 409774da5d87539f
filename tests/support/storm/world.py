"""Strict nodes, a database, two workers and a clock that only this moves: plays a script.

A worker that dies loses everything but the database: its transaction is rolled back, its memory and its connections are
gone. That the operating system does the same to a killed process is shown with real processes in
tests/unit/transactions/test_kill.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
from tests.support.evm import account, address, sign
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
)
from tests.support.storm.verdict import STRANGER, Broken, Intent, Verdict, describe, has_stranger
from tests.support.stub_node import Chain, Limits, Refused, StrictNode, decode
from tests.support.transactions import APP, WALLET, Keys, evm_engine

from lockstep.chains.evm import Address, ChainConfig, ChainRegistry, UnsignedTransaction, transaction_hash
from lockstep.custody import Principal, SignedTransaction, TransactionIntent
from lockstep.kit import crash
from lockstep.kit.clock import ManualClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Forbidden, LockstepError, Retry
from lockstep.kit.ids import WalletId
from lockstep.transactions import (
    EngineSettings,
    NotCancellable,
    State,
    Transaction,
    TransactionEngine,
    TransactionSender,
    TransactionsService,
)
from lockstep.transactions.store import rows

GWEI = 10**9
SINK = Address("0x" + "5a" * 20)
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


class _Killed(BaseException):
    """The worker is dead."""


@dataclass
class _Worker:
    chains: ChainRegistry
    engine: TransactionEngine


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

    async def list_visible(self, uow: UnitOfWork, principal: Principal) -> None:
        """All of the app's."""

    async def check_withdrawal(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, decision_id: str
    ) -> None:
        """Allowed."""


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
        self._intents: dict[str, Intent] = {}
        self._taken_back: set[str] = set()
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
            case Cancel():
                await self._beside(self._cancel(event.which), during_step=event.during_step)
            case PayYourself():
                await self._beside(self._claim(event.account), during_step=event.during_step)
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
        intent = Intent(
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

    async def _beside(self, request: Coroutine[Any, Any, None], *, during_step: bool) -> None:
        """What a caller asks for, alone or while a worker makes a step."""
        if during_step:
            await asyncio.gather(self._step(0), request)
        else:
            await request

    async def _cancel(self, which: int) -> None:
        if not self._intents:
            return
        one = list(self._intents)[which % len(self._intents)]
        self._taken_back.add(one)
        service = TransactionsService(self._sender(0), self._keys, self._clock)  # type: ignore[arg-type]  # what cancelling asks
        with suppress(NotCancellable):
            async with self._database.tenant(APP) as uow:
                await service.cancel(uow, Principal(kind="app", app_id=APP), one)

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
        return _Worker(chains, evm_engine(self._database, chains, self._keys, self._clock, SETTINGS))

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
            if not t.state.is_terminal
            and t.state is not State.MINED
            and not has_stranger(self._node.chain, t.sender, t.nonce)
        ]
        if waiting:
            raise Broken(f"not healed within {HEALS_WITHIN} blocks: " + "; ".join(map(describe, waiting)))
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
        found = await self._rows()
        async with self._database.system("test") as uow:
            reserved = await uow.fetch(
                "select address, nonce from nonce_reservations where chain = %s", (self._config.chain,)
            )
            steps = await uow.fetch(
                "select transaction_id, version, from_state, to_state, facts from transaction_steps"
                " where transaction_id = any(%s) order by transaction_id, version",
                ([t.id for t in found],),
            )
        Verdict(
            chain=self._node.chain,
            pool=[tx for node in self._nodes for tx in node.pool],
            rows=found,
            intents=self._intents,
            taken_back=self._taken_back,
            refused=self._keys.refused,
            own={key: decode(raw) for key, raw in self._own.items()},
            signed=self._keys.signed_by,
            reserved={(row["address"], row["nonce"]) for row in reserved},
            steps=steps,
        ).check()


@contextmanager
def _crash_points(passed: Any) -> Iterator[None]:
    """Let the crash points of the engine call this."""
    real, crash.point = crash.point, passed
    try:
        yield
    finally:
        crash.point = real
