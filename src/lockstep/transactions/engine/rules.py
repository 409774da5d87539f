"""Pure decisions that hold for every family of chains: how a transaction ends, and what may be done to it. No database, node
or clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from lockstep.transactions.errors import NotCancellable, NotReplaceable
from lockstep.transactions.types import Attempt, Form, State, Transaction


def live_attempt(transaction: Transaction, attempts: Sequence[Attempt]) -> Attempt:
    """The newest one that is signed or, in `replaced`, about to be: what the next form must outbid. One that custody
    refused never left here, and makes nothing dearer.

    Args:
        attempts: all of the transaction, oldest first.
    """
    if transaction.state is State.REPLACED:
        return attempts[-1]
    return next((attempt for attempt in reversed(attempts) if attempt.raw is not None), attempts[-1])


def is_late(transaction: Transaction, now: datetime) -> bool:
    """Whether its deadline has passed."""
    return transaction.deadline_at is not None and transaction.deadline_at <= now


def wants_cancellation(transaction: Transaction, attempts: Sequence[Attempt], now: datetime) -> bool:
    """Whether a signed transaction is to be cancelled now and is not yet: it was asked for, or the deadline has passed."""
    is_asked = transaction.cancel_requested_at is not None or (transaction.cancels_late and is_late(transaction, now))
    return is_asked and live_attempt(transaction, attempts).form is Form.ORIGINAL


def unsigned_end(transaction: Transaction, now: datetime) -> tuple[State, str] | None:
    """State and reason that end a transaction which is not signed, or None: taken back, or past its deadline."""
    if transaction.cancel_requested_at is not None:
        return State.CANCELLED, "cancelled before it was signed"
    if is_late(transaction, now):
        return State.EXPIRED, "its deadline passed before it was signed"
    return None


def check_cancellable(transaction: Transaction) -> None:
    """Refuse to cancel what is mined or over. What is cancelled already, or was asked to be, may be asked for again.

    Raises:
        NotCancellable: its state says so.
    """
    state = transaction.state
    is_cancelled = state is State.CANCELLED or (state is State.MINED and transaction.succeeded is None)
    if is_cancelled or not (state is State.MINED or state.is_terminal):
        return
    what = "it is mined" if state is State.MINED else f"it has ended as {state.value}"
    raise NotCancellable(f"expected a transaction that is not mined; {what}", state=state.value)


def wants_speed_up(transaction: Transaction) -> bool:
    """Whether a dearer form was asked for that is not made yet."""
    return transaction.attempt < transaction.wanted_attempt and transaction.cancel_requested_at is None


def check_replaceable(transaction: Transaction) -> None:
    """Refuse to make dearer what is not open, is cancelled, or is just being signed for the first time.

    Raises:
        NotReplaceable: its state says so.
    """
    state = transaction.state
    if transaction.cancel_requested_at is not None:
        raise NotReplaceable("it is being cancelled; its self-send gets dearer by itself", state=state.value)
    if state is State.RESERVED:
        raise NotReplaceable("it is being signed; ask again when it is broadcast", state=state.value)
    if state is State.MINED or state.is_terminal:
        raise NotReplaceable(f"expected a transaction that is not mined, was {state.value}", state=state.value)


def final_state(succeeded: bool | None) -> State:
    """How a mined transaction ends; None: its cancellation was mined."""
    if succeeded is None:
        return State.CANCELLED
    return State.FINAL if succeeded else State.REVERTED_FINAL


class AfterRefusal(Enum):
    """What follows when a simulation says that a transaction would fail."""

    WAIT = "wait"
    LOOK_AGAIN = "look_again"
    END = "end"


def after_refusal(earlier: int, looks: int, most_looks: int) -> AfterRefusal:
    """While earlier transactions of the account are not mined the refusal decides nothing: they may change the state that it
    rests on, as an approval does for a swap. Then the transaction gets a few looks, because nodes lag, and ends.

    Args:
        earlier: transactions of the account that were queued before it and are neither mined nor ended.
        looks: refusals in a row without earlier ones, this one included.
    """
    if earlier > 0:
        return AfterRefusal.WAIT
    return AfterRefusal.LOOK_AGAIN if looks < most_looks else AfterRefusal.END


def backoff_seconds(failures: int, most: float = 5.0) -> float:  # house: float-near-money, because these are seconds
    """Pause after so many failures in a row: 0.2 s, doubling."""
    return min(most, 0.2 * float(1 << min(failures, 10)))  # house: float-near-money, because these are seconds
