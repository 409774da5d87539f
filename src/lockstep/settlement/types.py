"""What a swap is made of, without saying on which kind of chain: time locks, immutables, terms, locks, profiles.

Parties, tokens and factories are bytes, chains are CAIP-2 ids, amounts are integers of the smallest unit, moments are
whole seconds of the time of the chain they belong to. Knows escrows and swaps; does not know orders, databases or nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType

from eth_hash.auto import keccak

from lockstep.kit.ids import AppId, UserId, WalletId

SwapId = NewType("SwapId", str)

SourceFunding = Literal["pull", "maker_deposit"]
SignatureKind = Literal["eip712", "eip1271", "cip8"]
TakerMode = Literal["managed", "external"]

NO_FEES = bytes(128)
"""Parameters of an escrow without fees: (0, 0, no recipient, no recipient), ABI-encoded."""
_U32 = 2**32 - 1


class Side(StrEnum):
    """The two escrows of a swap."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class SourceStages:
    """Absolute moments of a source escrow, seconds of the source chain."""

    withdrawal: int
    public_withdrawal: int
    cancellation: int
    public_cancellation: int


@dataclass(frozen=True, slots=True)
class DestinationStages:
    """Absolute moments of a destination escrow, seconds of the destination chain."""

    withdrawal: int
    public_withdrawal: int
    cancellation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLocks:
    """The seven delays that the maker signs, in seconds after the deployment of the escrow they belong to.

    Windows are half-open: a stage begins at its own moment and ends just before the next one.
    """

    source_withdrawal: int
    source_public_withdrawal: int
    source_cancellation: int
    source_public_cancellation: int
    destination_withdrawal: int
    destination_public_withdrawal: int
    destination_cancellation: int

    def __post_init__(self) -> None:
        for member in fields(self):
            value = getattr(self, member.name)
            if not 0 <= value <= _U32:
                raise ValueError(f"{member.name} must be 0 to 2^32-1 seconds, was {value}")

    def pack(self, deployed_at: int = 0) -> int:
        """The word of the contracts: seven delays from the lowest 32 bits up, the deployment in the highest 32."""
        if not 0 <= deployed_at <= _U32:
            raise ValueError(f"deployed_at must be 0 to 2^32-1, was {deployed_at}")
        word = deployed_at
        for member in reversed(fields(self)):
            word = word << 32 | getattr(self, member.name)
        return word

    @classmethod
    def unpack(cls, word: int) -> tuple[TimeLocks, int]:
        """Delays and deployment of a packed word."""
        if not 0 <= word < 2**256:
            raise ValueError("a time-lock word has 256 bits")
        values = {member.name: word >> (32 * index) & _U32 for index, member in enumerate(fields(cls))}
        return cls(**values), word >> 224

    def source(self, deployed_at: int) -> SourceStages:
        """Stages of a source escrow deployed then; the sums do not wrap at 32 bits."""
        return SourceStages(
            deployed_at + self.source_withdrawal,
            deployed_at + self.source_public_withdrawal,
            deployed_at + self.source_cancellation,
            deployed_at + self.source_public_cancellation,
        )

    def destination(self, deployed_at: int) -> DestinationStages:
        """Stages of a destination escrow deployed then."""
        return DestinationStages(
            deployed_at + self.destination_withdrawal,
            deployed_at + self.destination_public_withdrawal,
            deployed_at + self.destination_cancellation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Immutables:
    """The nine words that an escrow is bound to; on the destination `maker` is the receiver."""

    order_hash: bytes
    hashlock: bytes
    maker: bytes
    taker: bytes
    token: bytes
    amount: int
    safety_deposit: int
    time_locks: int
    """Packed, with the deployment in the highest 32 bits."""
    parameters: bytes = NO_FEES

    @property
    def deployed_at(self) -> int:
        return self.time_locks >> 224

    def words(self) -> bytes:
        """The nine words in order; the last one is the hash of the parameters."""
        return b"".join(
            (
                self.order_hash,
                self.hashlock,
                self.maker.rjust(32, b"\0"),
                self.taker.rjust(32, b"\0"),
                self.token.rjust(32, b"\0"),
                self.amount.to_bytes(32, "big"),
                self.safety_deposit.to_bytes(32, "big"),
                self.time_locks.to_bytes(32, "big"),
                keccak(self.parameters),
            )
        )

    def hash(self) -> bytes:
        """What the escrow compares on every call, and the salt of its address."""
        return bytes(keccak(self.words()))


def clone_address(factory: bytes, implementation: bytes, immutables_hash: bytes) -> bytes:
    """CREATE2 address of the minimal proxy (ERC-1167) that a factory deploys for these immutables."""
    code = (
        bytes.fromhex("3d602d80600a3d3981f3363d3d373d3d3d363d73")
        + implementation
        + bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
    )
    return bytes(keccak(b"\xff" + factory + immutables_hash + keccak(code))[12:])


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapTerms:
    """What both sides agreed on for one fill of one order, at one price.

    `destination_amount` is the price at the moment the terms were asked for; the deposits are minimums.
    """

    order_hash: bytes
    fill_index: int
    hashlock: bytes
    maker: bytes
    receiver: bytes
    taker: bytes
    source_chain: str
    source_factory: bytes
    source_token: bytes
    source_amount: int
    source_deposit: int
    destination_chain: str
    destination_factory: bytes
    destination_token: bytes
    destination_amount: int
    destination_deposit: int
    time_locks: TimeLocks
    expires_at: int
    """Moment of the source chain from which no source escrow can be created any more."""
    source_funding: SourceFunding = "pull"
    signature_kind: SignatureKind = "eip712"


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationTerms:
    """The other side as the source factory computed and emitted it."""

    chain: str
    factory: bytes
    token: bytes
    receiver: bytes
    amount: int
    safety_deposit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One escrow that a factory created, as its event says. Identity of a fill is (order hash, fill index)."""

    side: Side
    chain: str
    factory: bytes
    address: bytes
    fill_index: int
    immutables: Immutables
    terms: DestinationTerms | None
    """Emitted by the source factory only."""
    block_number: int
    block_hash: bytes
    block_time: int
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPairProfile:
    """What is known about the time that two chains need; seconds. One profile per ordered pair of chains."""

    source_finality: int
    destination_finality: int
    source_inclusion: int
    """How long a transaction of ours waits for its block on the source, at the 99th percentile."""
    destination_inclusion: int
    clock_skew: int
    """How far the clocks of both chains may stand apart, block interval included."""
    public_duty: int
    """How long after its window opens the public withdrawal may need to start."""

    @property
    def cancellation_distance(self) -> int:
        """Least time between the destination's and the source's cancellation: the last revelation must become final on
        the destination, be seen, and its withdrawal included on the source."""
        return self.destination_finality + self.source_inclusion + self.clock_skew


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """The app behind one side of a swap; a side without an app (an external one) has none."""

    app_id: AppId
    user_id: UserId | None = None
    wallet_id: WalletId | None = None
    """Custody wallet of a managed taker."""
    session_id: str | None = None
    """Session signer that a managed taker granted to the coordinator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the book of orders says about one fill at one moment: the terms, and who stands behind the maker."""

    terms: SwapTerms
    maker: Party | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One attempt to fill one order."""

    id: SwapId
    terms: SwapTerms
    mode: TakerMode
    state: str
    version: int
    reason: str
    waiting_for: str | None
    reserved_until: int
    source_call: bytes | None = field(repr=False)
    """Calldata by which a managed taker opens the source escrow."""
    source_escrow: bytes | None
    destination_escrow: bytes | None
    secret_released_at: datetime | None
    created_at: datetime
    updated_at: datetime
