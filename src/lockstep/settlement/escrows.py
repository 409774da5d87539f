"""The escrow contracts in our words: calldata of every leg, events of factories and escrows. EVM only.

The one place of this module that knows the contracts' ABI. Calls nothing, decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from lockstep.chains.evm import (
    Address,
    Contract,
    Log,
    MalformedCalldata,
    address_from_bytes,
    address_to_bytes,
    parse_address,
)
from lockstep.settlement.rules import Leg, Outcome
from lockstep.settlement.types import DestinationTerms, Immutables, Lock, Side, SwapTerms, TimeLocks

EscrowEventKind = Literal["withdrawn", "cancelled"]
_OUTCOMES = (Outcome.OPEN, Outcome.WITHDRAWN, Outcome.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowEvent:
    """What an escrow said about itself."""

    chain: str
    address: bytes
    kind: EscrowEventKind
    secret: bytes | None = field(repr=False)
    """Shown by a withdrawal; public from then on."""
    block_number: int
    block_hash: bytes
    block_time: int
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A transaction that a leg consists of, without sender, nonce and fees."""

    chain: str
    to: Address
    value: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Where a log entry stands."""

    chain: str
    block_number: int
    block_hash: bytes
    block_time: int
    transaction_hash: bytes
    log_index: int


@cache
def factory_codec() -> Contract:
    """The factory of both kinds of escrows."""
    return Contract.load("EscrowFactory")


@cache
def source_codec() -> Contract:
    """The escrow of the maker's tokens."""
    return Contract.load("SourceEscrow")


@cache
def destination_codec() -> Contract:
    """The escrow of the taker's tokens."""
    return Contract.load("DestinationEscrow")


def factory_topics() -> list[bytes]:
    """Topic 0 of the events that a factory creates escrows with."""
    return [factory_codec().topic("SourceEscrowCreated"), factory_codec().topic("DestinationEscrowCreated")]


def escrow_topics() -> list[bytes]:
    """Topic 0 of the events that end an escrow, each of them one; both kinds share them."""
    return [source_codec().topic(name) for name in ("EscrowWithdrawal", "EscrowCancelled")]


def find_created(log: Log) -> Address | None:
    """The escrow that a factory's log entry announces, as far as it can be read; None for any other entry."""
    try:
        event = (
            factory_codec().decode_event(log) if log.topics[:1] in [(topic,) for topic in factory_topics()] else None
        )
    except MalformedCalldata:
        return None
    return None if event is None else parse_address(event.args["escrow"])


def decode_lock(factory: Address, log: dict[str, Any], place: LogPlace) -> Lock | None:
    """The escrow that a factory's log entry announces; None for any other entry.

    Raises:
        MalformedCalldata: the entry does not hold what its topic says.
    """
    event = factory_codec().decode_event(log)
    if event is None or event.name not in ("SourceEscrowCreated", "DestinationEscrowCreated"):
        return None
    args, is_source = event.args, event.name == "SourceEscrowCreated"
    words = args["immutables"]
    terms = args.get("terms")
    return Lock(
        side=Side.SOURCE if is_source else Side.DESTINATION,
        chain=place.chain,
        factory=address_to_bytes(factory),
        address=address_to_bytes(args["escrow"]),
        fill_index=args["fillIndex"] if is_source else 0,
        immutables=Immutables(
            order_hash=words["orderHash"],
            hashlock=words["hashlock"],
            maker=address_to_bytes(words["maker"]),
            taker=address_to_bytes(words["taker"]),
            token=address_to_bytes(words["token"]),
            amount=words["amount"],
            safety_deposit=words["safetyDeposit"],
            time_locks=words["timelocks"],
            parameters=words["parameters"],
        ),
        terms=DestinationTerms(
            chain=terms["chain"],
            factory=terms["factory"],
            token=terms["token"],
            receiver=terms["receiver"],
            amount=terms["amount"],
            safety_deposit=terms["safetyDeposit"],
        )
        if terms is not None
        else None,
        block_number=place.block_number,
        block_hash=place.block_hash,
        block_time=place.block_time,
        transaction_hash=place.transaction_hash,
        log_index=place.log_index,
    )


def decode_escrow_event(address: Address, log: dict[str, Any], place: LogPlace) -> EscrowEvent | None:
    """What an escrow's log entry says; None for any other entry.

    Raises:
        MalformedCalldata: the entry does not hold what its topic says.
    """
    event = source_codec().decode_event(log)
    kinds: dict[str, EscrowEventKind] = {
        "EscrowWithdrawal": "withdrawn",
        "EscrowCancelled": "cancelled",
    }
    if event is None or event.name not in kinds:
        return None
    return EscrowEvent(
        chain=place.chain,
        address=address_to_bytes(address),
        kind=kinds[event.name],
        secret=event.args.get("secret"),
        block_number=place.block_number,
        block_hash=place.block_hash,
        block_time=place.block_time,
        transaction_hash=place.transaction_hash,
        log_index=place.log_index,
    )


def state_call() -> bytes:
    """Calldata that asks an escrow for its state."""
    return source_codec().encode("state")


def decode_state(result: bytes) -> Outcome | None:
    """What an escrow answered; None where there is no contract."""
    if len(result) != 32:
        return None
    value = int.from_bytes(result, "big")
    return _OUTCOMES[value] if value < len(_OUTCOMES) else None


def lock_destination_call(terms: SwapTerms, source: Lock, cancels_by: int) -> Call:
    """The taker's transaction that locks the destination with exactly the terms that the source factory emitted.

    Args:
        cancels_by: the factory refuses an escrow whose cancellation would open later, so that a transaction that waits
            too long for its block locks nothing.
    """
    other = source.terms
    if other is None:
        raise ValueError("a source escrow carries the terms of the destination")
    locks, _ = TimeLocks.unpack(source.immutables.time_locks)
    immutables = Immutables(
        order_hash=source.immutables.order_hash,
        hashlock=source.immutables.hashlock,
        maker=other.receiver,
        taker=source.immutables.taker,
        token=other.token,
        amount=other.amount,
        safety_deposit=other.safety_deposit,
        time_locks=locks.pack(),
        parameters=source.immutables.parameters,
    )
    data = factory_codec().encode("createDestination", [immutables_argument(immutables), cancels_by])
    return Call(
        chain=terms.destination_chain,
        to=address_from_bytes(other.factory),
        value=other.safety_deposit,
        data=data,
    )


def escrow_call(leg: Leg, lock: Lock, secret: bytes | None) -> Call:
    """The transaction that closes an escrow; the withdrawals need the secret."""
    names = {
        Leg.DESTINATION_WITHDRAW: "withdraw",
        Leg.DESTINATION_PUBLIC_WITHDRAW: "publicWithdraw",
        Leg.DESTINATION_CANCEL: "cancel",
        Leg.SOURCE_WITHDRAW: "withdraw",
        Leg.SOURCE_PUBLIC_WITHDRAW: "publicWithdraw",
        Leg.SOURCE_CANCEL: "cancel",
        Leg.SOURCE_PUBLIC_CANCEL: "publicCancel",
    }
    codec = source_codec() if lock.side is Side.SOURCE else destination_codec()
    arguments: list[object] = [immutables_argument(lock.immutables)]
    if "ithdraw" in names[leg]:
        if secret is None:
            raise ValueError("a withdrawal needs the secret")
        arguments.insert(0, secret)
    return Call(
        chain=lock.chain, to=address_from_bytes(lock.address), value=0, data=codec.encode(names[leg], arguments)
    )


def immutables_argument(immutables: Immutables) -> dict[str, object]:
    """The struct that the contracts take."""
    return {
        "orderHash": immutables.order_hash,
        "hashlock": immutables.hashlock,
        "maker": address_from_bytes(immutables.maker),
        "taker": address_from_bytes(immutables.taker),
        "token": address_from_bytes(immutables.token),
        "amount": immutables.amount,
        "safetyDeposit": immutables.safety_deposit,
        "timelocks": immutables.time_locks,
        "parameters": immutables.parameters,
    }
