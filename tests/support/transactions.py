"""A transaction engine over a local node with a signer of its own, for tests below custody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.evm import account, address, sign

from lockstep.chains.evm import Address, ChainRegistry, EvmClient, UnsignedTransaction, transaction_hash
from lockstep.custody import Decision, Principal, SignedTransaction, TransactionIntent
from lockstep.kit.clock import Clock, SystemClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId, new_id
from lockstep.transactions import (
    EngineSettings,
    State,
    Transaction,
    TransactionEngine,
    TransactionSender,
    TransactionSigner,
    evm_families,
)
from lockstep.transactions.evm.family import EvmFamily
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.store import rows

APP = AppId("01900000-0000-7000-8000-000000000001")
WALLET = WalletId("01900000-0000-7000-8000-0000000000a0")


@dataclass
class Keys:
    """Stands for custody: signs with anvil's accounts, or refuses what the test says."""

    signed: list[UnsignedTransaction] = field(default_factory=list)
    signed_by: list[tuple[Address, UnsignedTransaction]] = field(default_factory=list)
    refusals: dict[int, LockstepError] = field(default_factory=dict)
    """Error by value of the transaction."""
    decided: list[tuple[Principal, TransactionIntent]] = field(default_factory=list)
    """Cancellations that were decided on."""
    no_cancellations: LockstepError | None = None
    released: set[bytes] = field(default_factory=set)
    """Digests that were signed."""
    given_back: list[str] = field(default_factory=list)
    """Decisions whose transactions ended unsigned."""

    async def sign_transactions(
        self, items: list[tuple[str, UnsignedTransaction]]
    ) -> Sequence[SignedTransaction | LockstepError]:
        answers: list[SignedTransaction | LockstepError] = []
        for decision_id, tx in items:
            if tx.value in self.refusals:
                answers.append(self.refusals[tx.value])
                continue
            index = int(decision_id.rsplit("-", 1)[1], 16)
            self.signed.append(tx)
            self.signed_by.append((address(index), tx))
            raw = sign(account(index), tx)
            self.released.add(tx.digest())
            answers.append(SignedTransaction(raw=raw, hash=transaction_hash(raw), digest=tx.digest()))
        return answers

    async def list_released(self, uow: UnitOfWork, items: Sequence[tuple[AppId, str, bytes]]) -> set[bytes]:
        """As custody's."""
        return {digest for _, _, digest in items} & self.released

    async def release_decisions(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> None:
        self.given_back += decision_ids

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        """Allowed, unless the test says otherwise; what stands for the decision names the account."""
        if self.no_cancellations is not None:
            raise self.no_cancellations
        self.decided.append((principal, intent))
        return decision_of(next(i for i in range(10) if address(i) == intent.from_address))


def decision_of(index: int) -> Decision:
    """A decision in favour of one of anvil's accounts."""
    return Decision(
        id=f"01900000-0000-7000-8000-{index:012x}",
        app_id=APP,
        wallet_id=WALLET,
        session_id=None,
        method="cancel_transaction",
        allowed=True,
        reason_code="cancellation",
        reason="",
        policy_id=None,
        rule_id=None,
        revisions={},
        decided_at=SystemClock().now(),
    )


def evm_engine(
    database: Database,
    chains: ChainRegistry,
    signer: TransactionSigner,
    clock: Clock,
    settings: EngineSettings | None = None,
    **options: Any,
) -> TransactionEngine:
    """The engine over EVM chains; options as those of `evm_families`."""
    families = evm_families(chains, database, signer, clock, settings, **options)
    return TransactionEngine(families, database, signer, clock, settings)


class Desk:
    """Submits, steps and looks."""

    def __init__(self, database: Database, chains: ChainRegistry, settings: EngineSettings | None = None) -> None:
        self.database, self.chains = database, chains
        self.keys = Keys()
        self.clock = SystemClock()
        self.sender = TransactionSender(chains, self.clock)
        self.settings = settings or EngineSettings(resend_seconds=0.3)
        self.engine = evm_engine(database, chains, self.keys, self.clock, self.settings)

    @property
    def lane(self) -> EvmLane:
        """What the engine remembers of its chain."""
        family = self.engine._lanes[0].family
        assert isinstance(family, EvmFamily)
        return family.lane

    @property
    def client(self) -> EvmClient:
        return next(iter(self.chains))

    async def submit(self, key: str | None = None, *, index: int = 0, **changes: object) -> Transaction:
        """Queue a transfer of 1 wei to account 5 from one of anvil's accounts, or what the changes say."""
        fields: dict = {
            "app_id": APP,
            "wallet_id": WALLET,
            "chain": self.client.chain,
            "from_address": address(index),
            "to": address(5),
            "value": 1,
            "data": b"",
            "gas_limit": 21_000,
            "idempotency_key": key or new_id(),
        }
        wakes, cancels_late = changes.pop("wakes", None), bool(changes.pop("cancels_late", True))
        intent = TransactionIntent(**(fields | changes))
        decision_id = decision_of(index).id
        async with self.database.tenant(APP) as uow:
            return await self.sender.queue(uow, decision_id, intent, wakes=wakes, cancels_late=cancels_late)  # type: ignore[arg-type]

    async def send_doomed(self, code: bytes, **changes: object) -> Transaction:
        """Send a call to a contract that gets this code when the call is on its way: no simulation can foresee it. Mined."""
        doomed = Address("0x" + "d0" * 20)
        await self.client.call("evm_setAutomine", [False])
        queued = await self.submit(**({"to": doomed, "value": 0, "data": b"\x01", "gas_limit": 900_000} | changes))
        await self.run_until(queued.id, State.BROADCAST)
        await self.client.call("anvil_setCode", [doomed, "0x" + code.hex()])
        await self.mine()
        await self.client.call("evm_setAutomine", [True])
        return queued

    async def get(self, transaction_id: str) -> Transaction:
        async with self.database.tenant(APP) as uow:
            found = await rows.find(uow, APP, transaction_id)
        assert found is not None
        return found

    async def states(self, transaction_id: str) -> list[State]:
        async with self.database.tenant(APP) as uow:
            return [step.to_state for step in await rows.list_steps(uow, APP, transaction_id)]

    async def run_until(self, transaction_id: str, *states: State, seconds: float = 20) -> Transaction:
        """Step the engine until the transaction is in one of the states."""
        started = datetime.now(UTC)
        while True:
            found = await self.get(transaction_id)
            if found.state in states:
                return found
            if (datetime.now(UTC) - started).total_seconds() > seconds:
                raise AssertionError(f"still {found.state.value} ({found.reason}), expected {states}")
            await self.engine.step()

    async def mine(self, blocks: int = 1) -> None:
        await self.client.call("anvil_mine", [hex(blocks)])
