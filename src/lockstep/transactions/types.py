"""The nouns of the transaction engine: a transaction and its states, its attempts, fees, and what it needs from custody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from lockstep.chains.evm import Address, BlockRef, EvmClient, Hash32, Speed, TransactionType, UnsignedTransaction
from lockstep.custody import Decision, Principal, SignedTransaction, TransactionIntent, Wallet
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, CorrelationId, WalletId


class State(StrEnum):
    """Where a transaction stands.

    queued → reserved → signed → broadcast → mined → final | reverted_final; `replaced` means that a dearer form of it
    waits for its signature, then it goes on with signed. The others end it.
    """

    QUEUED = "queued"
    RESERVED = "reserved"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    MINED = "mined"
    FINAL = "final"
    REVERTED_FINAL = "reverted_final"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DROPPED = "dropped"
    REPLACED_EXTERNALLY = "replaced_externally"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset(
    {
        State.FINAL,
        State.REVERTED_FINAL,
        State.CANCELLED,
        State.EXPIRED,
        State.DROPPED,
        State.REPLACED_EXTERNALLY,
    }
)


class Form(StrEnum):
    """What an attempt carries under the transaction's nonce."""

    ORIGINAL = "original"
    """What was decided on."""
    CANCELLATION = "cancellation"
    """A self-send of nothing, so that nothing else uses the nonce."""


ENGINE_STEPS: tuple[str, ...] = (
    "transaction.reserved",
    "transaction.signed",
    "transaction.broadcast",
    "transaction.mined",
    "transaction.final",
)
"""Steps that every transaction passes; each has the three crash points of `lockstep.kit.crash`."""

REPLACEMENT_STEPS: tuple[str, ...] = ("transaction.replaced",)
"""The step that only a transaction passes which gets another form: it stays unmined for
`EngineSettings.replace_after_blocks`, or is cancelled or sped up."""

REPAIR_STEPS: tuple[str, ...] = ("transaction.filled",)
"""The step that only an account passes in which a nonce is missing below others in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction as it stands. Amounts and fees in wei."""

    id: str
    app_id: AppId
    wallet_id: WalletId
    decision_id: str
    chain: str
    sender: Address
    to: Address | None
    value: int
    data: bytes = field(repr=False)
    type: TransactionType
    speed: Speed
    is_private: bool
    """Sent to the private node of its chain only."""
    gas_limit_ceiling: int | None
    max_fee_ceiling: int | None
    max_priority_fee_ceiling: int | None
    idempotency_key: str
    priority: int
    deadline_at: datetime | None
    cancels_late: bool = True
    """Whether it is cancelled when it is signed but not mined at its deadline."""
    correlation_id: CorrelationId | None
    wakes_kind: str | None
    wakes_id: str | None
    state: State
    version: int
    due_at: datetime | None
    failures: int
    reason: str | None
    nonce: int | None
    attempt: int
    gas_limit: int | None
    max_fee_per_gas: int | None
    max_priority_fee_per_gas: int | None
    data_fee: int
    """Beside the gas, for the parent chain of a roll-up: what is kept back for it, and once it is mined what it was."""
    hash: Hash32 | None
    """Hash that was mined, or that of the newest signed attempt."""
    block_number: int | None
    block_hash: Hash32 | None
    succeeded: bool | None
    """None before it is mined, and when its cancellation was mined instead."""
    gas_used: int | None
    effective_gas_price: int | None
    contract_address: Address | None
    revert_reason: str | None
    cancel_requested_at: datetime | None = None
    """When a caller asked for it, or its deadline had passed: from then on its nonce is to be used up by a self-send."""
    cancel_decision_id: str | None = None
    wanted_attempt: int = 0
    """A speed-up asks for this attempt."""
    created_at: datetime
    updated_at: datetime

    @property
    def is_legacy(self) -> bool:
        """Whether it names one gas price instead of a fee cap and a tip cap."""
        return self.type == 0

    @property
    def is_final(self) -> bool:
        """Whether it is on the chain for good, whatever it did there."""
        return self.state in (State.FINAL, State.REVERTED_FINAL)

    @property
    def fee_paid(self) -> int | None:
        """Wei; None before it is mined."""
        if self.gas_used is None or self.effective_gas_price is None:
            return None
        return self.gas_used * self.effective_gas_price + self.data_fee


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One form in which a transaction is signed; its fees are fixed before the signature."""

    transaction_id: str
    attempt: int
    form: Form = Form.ORIGINAL
    app_id: AppId
    nonce: int
    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    digest: Hash32
    created_at: datetime
    hash: Hash32 | None = None
    raw: bytes | None = field(default=None, repr=False)
    sent_at: datetime | None = None
    sent_block: int | None = None
    sends: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of the timeline."""

    version: int
    from_state: State | None
    to_state: State
    reason: str | None
    facts: Mapping[str, object]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A transaction after a step, and what the timeline says about the step."""

    transaction: Transaction
    from_state: State
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the network said of bytes that were handed over."""

    is_out: bool
    """Whether it has them, or knows what became of what they use: from now on the chain tells."""
    outcome: str
    """A word for the record, of the family."""
    message: str | None = None
    """The network's own words; never the bytes."""
    reason: str = ""
    """Why the transaction waits, where it is not out."""
    pause: float | None = None  # house: float-near-money, because these are seconds
    """How long; None: longer with each refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How the engine works; the defaults suit a chain with blocks of one to twelve seconds."""

    batch: int = 500
    """Most transactions in one batch of a step."""
    max_in_flight: int = 1_000
    """Most reserved and not yet mined transactions of one account."""
    poll_seconds: float = 0.02  # house: float-near-money, because these are seconds
    """Pause between looks while work comes in; five times as long when there has been none for a while."""
    resend_seconds: float = 5.0  # house: float-near-money, because these are seconds
    """Unmined bytes are handed to the node again after this time."""
    replace_after_blocks: int = 8
    """Blocks after which the first unmined transaction of an account gets a dearer form."""
    gap_blocks: int = 1
    """Usual times between blocks that a nonce which nobody has, below others in flight, waits for the account's next
    transaction; then it is used up by a self-send."""
    claim_grace_seconds: float = 600.0  # house: float-near-money, because these are seconds
    """How long a caller that had a transaction signed (`eth_signTransaction`) may take to send it while others wait."""
    jam_blocks: int = 25
    """An account whose first unmined transaction is older is jammed: it is counted and logged."""
    estimate_attempts: int = 6
    """Refusals of a simulation in a row after which a transaction is dropped."""
    simulates: bool = True
    """Whether transactions with a gas limit of their own are run before they get a nonce; without, one that would fail is
    sent and pays for it."""


class TransactionSigner(Protocol):
    """What the engine needs from custody: many signatures at once, each checked again against its decision."""

    async def sign_transactions(
        self, items: list[tuple[str, UnsignedTransaction]]
    ) -> Sequence[SignedTransaction | LockstepError]:
        """Sign (decision id, transaction) pairs; a refused one has its error in its place."""
        ...

    async def list_released(self, uow: UnitOfWork, items: Sequence[tuple[AppId, str, Hash32]]) -> set[bytes]:
        """Those digests, of (app, decision id, digest), whose signature was given out, whoever has it now."""
        ...

    async def release_decisions(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> None:
        """What these decisions hold of limits is free again, for their transactions have ended unsigned."""
        ...

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        """Decide on a self-send that the engine itself wants.

        Raises:
            Forbidden: the wallet or its app is stopped.
        """
        ...


class StateObserver(Protocol):
    """Says what of the state around transactions is worth keeping; the composition root wires it."""

    async def observe(
        self, client: EvmClient, transactions: Sequence[Transaction], block: BlockRef
    ) -> Mapping[str, Mapping[str, object]]:
        """Facts at one block by id of the transaction, JSON-able; nothing for those that do not concern it."""
        ...


class TransactionAuthority(Protocol):
    """What submitting and showing need from custody: the wallet, the decision, and what a caller may see."""

    async def list_visible(self, uow: UnitOfWork, principal: Principal) -> list[WalletId] | None:
        """The wallets whose transactions a caller may see; None: all of its app's."""
        ...

    async def find_wallet(self, uow: UnitOfWork, app_id: AppId, wallet_id: WalletId) -> Wallet:
        """The wallet of this app.

        Raises:
            NotFound: the app has none with this id.
        """
        ...

    async def decide_transaction(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet: Wallet,
        intent: TransactionIntent,
    ) -> Decision:
        """Decide, store and audit.

        Raises:
            PolicyDenied: with the reason.
        """
        ...

    async def decide_replacement(
        self, uow: UnitOfWork, principal: Principal, wallet: Wallet, intent: TransactionIntent, *, replaces: str
    ) -> Decision:
        """Decide on other ceilings for what was decided on under this id; whoever oversees the app may, too.

        Args:
            replaces: the earlier decision, which counts no longer beside this one.
        Raises:
            PolicyDenied: with the reason.
        """
        ...

    async def release_decisions(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> None:
        """What these decisions hold of limits is free again, for their transactions have ended unsigned."""
        ...

    async def check_withdrawal(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, decision_id: str
    ) -> None:
        """Whether a caller may take back what was decided on under this id.

        Raises:
            Forbidden: with the reason.
        """
        ...

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        """Decide on a self-send under the nonce of something that is signed.

        Raises:
            Forbidden: with the reason.
        """
        ...
