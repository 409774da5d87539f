"""What must be true after a storm: each effect once, no gap, rows equal to the chain, a history without holes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.support.stub_node import Chain, Tx

from lockstep.chains.evm import Address, UnsignedTransaction
from lockstep.kit.database import Row
from lockstep.transactions import State, Transaction

STRANGER = Address("0x" + "57" * 20)
"""Receives what others send with our keys."""


class Broken(AssertionError):
    """Something that must be true in the end is not."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What was asked for. Its value names it: no other transaction of the run has it."""

    sender: Address
    to: Address
    value: int
    reverts: bool
    may_expire: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The end of a run, as database and chain show it."""

    chain: Chain
    pool: Sequence[Tx]
    rows: Sequence[Transaction]
    intents: Mapping[str, Intent]
    """By id of the row."""
    taken_back: Collection[str]
    """Ids of rows whose cancellation was asked for."""
    refused: Collection[int]
    """Values of transactions that custody refused to sign."""
    own: Mapping[tuple[Address, int], Tx]
    """What callers signed themselves, by sender and nonce."""
    signed: Sequence[tuple[Address, UnsignedTransaction]]
    reserved: Collection[tuple[str, int]]
    steps: Sequence[Row]

    def check(self) -> None:
        """
        Raises:
            Broken: with what is not as it must be.
        """
        self._check_effects()
        self._check_nonces()
        self._check_signatures()
        self._check_history()

    def _check_effects(self) -> None:
        on_chain = Counter(
            (outcome.tx.sender, outcome.tx.to, outcome.tx.value)
            for _, outcome in self.chain.places.values()
            if outcome.tx.to != STRANGER
        )
        for t in self.rows:
            intent = self.intents[t.id]
            times = on_chain.pop((intent.sender, intent.to, intent.value), 0)
            if t.is_final:
                _demand(times == 1, f"final, and {times} times on the chain", t)
                right = State.REVERTED_FINAL if intent.reverts else State.FINAL
                _demand(t.state is right, "ended in the wrong state", t)
            else:
                _demand(self._may_not_happen(t, intent), "did not happen", t)
                _demand(times == 0, f"given up, and {times} times on the chain", t)
            if t.block_hash is not None:
                self._check_place(t)
        for (sender, nonce), tx in self.own.items():
            times = on_chain.pop((sender, tx.to, tx.value), 0)
            is_overtaken = has_stranger(self.chain, sender, nonce) or _recipient(self.chain, sender, nonce) == sender
            _demand(times == (not is_overtaken), f"nonce {nonce} of a caller is {times} times on the chain")
        for sender, to, value in on_chain:
            _demand((to, value) == (sender, 0), f"on the chain, and nobody asked for it: {value} wei to {to}")

    def _may_not_happen(self, t: Transaction, intent: Intent) -> bool:
        match t.state:
            case State.EXPIRED | State.CANCELLED:
                return intent.may_expire or t.id in self.taken_back or t.value in self.refused
            case State.REPLACED_EXTERNALLY:
                return has_stranger(self.chain, t.sender, t.nonce)
            case State.DROPPED:
                return t.value in self.refused
            case _:
                return False

    def _check_place(self, t: Transaction) -> None:
        """What the row says of its block is what the chain says."""
        place = self.chain.places.get(t.hash or b"")
        if place is None:
            raise Broken(f"the row's hash is not on the chain: {describe(t)}")
        block, outcome = place
        succeeded = None if t.state is State.CANCELLED else outcome.succeeded
        said = (t.block_number, t.block_hash, t.nonce, t.succeeded, t.gas_used, t.effective_gas_price, t.fee_paid)
        fee = outcome.gas_used * outcome.price
        true = (block.number, block.hash, outcome.tx.nonce, succeeded, outcome.gas_used, outcome.price, fee)
        _demand(said == true, f"row and chain differ: {said} and {true}", t)

    def _check_nonces(self) -> None:
        """What is reserved is mined, and nothing is mined that nobody has reserved, strangers apart."""
        mined = {(outcome.tx.sender, outcome.tx.nonce): outcome.tx.to for _, outcome in self.chain.places.values()}
        ours = {key for key, to in mined.items() if to != STRANGER}
        reserved = set(self.reserved)
        _demand(reserved <= mined.keys(), f"reserved, and not mined: {reserved - mined.keys()}")
        _demand(ours <= reserved, f"mined, and not reserved: {ours - reserved}")
        _demand(not self.pool, f"left in a pool: {self.pool}")

    def _check_signatures(self) -> None:
        """Two forms of a nonce differ in their fees only, or one of them takes the other back."""
        contents: dict[tuple[str, int], set[tuple[str | None, int]]] = {}
        for sender, tx in self.signed:
            if (tx.to, tx.value) != (sender, 0):
                contents.setdefault((sender, tx.nonce), set()).add((tx.to, tx.value))
        twice = {key: content for key, content in contents.items() if len(content) > 1}
        _demand(not twice, f"signed for two things: {twice}")

    def _check_history(self) -> None:
        """Versions and states follow one another, and nothing was taken back whose block is there."""
        last: dict[str, tuple[int, str | None]] = {}
        for row in self.steps:
            version, state = last.get(row["transaction_id"], (0, None))
            _demand((row["version"], row["from_state"]) == (version + 1, state), f"a hole in the history: {row}")
            last[row["transaction_id"]] = (row["version"], row["to_state"])
            if (dropped := row["facts"].get("dropped_hash")) is not None:
                block = self.chain.by_hash[bytes.fromhex(dropped[2:])]
                _demand(not self.chain.is_canonical(block), f"taken back, and its block is there: {row}")
        for t in self.rows:
            _demand(last[t.id] == (t.version, t.state.value), f"its history ends with {last[t.id]}", t)


def has_stranger(chain: Chain, sender: Address, nonce: int | None) -> bool:
    """Whether somebody else has used this nonce on the chain."""
    return _recipient(chain, sender, nonce) == STRANGER


def _recipient(chain: Chain, sender: Address, nonce: int | None) -> str | None:
    """To whom the transaction goes that has this nonce on the chain; None: there is none."""
    places = (outcome.tx for _, outcome in chain.places.values())
    return next((tx.to for tx in places if (tx.sender, tx.nonce) == (sender, nonce)), None)


def describe(t: Transaction) -> str:
    return f"value {t.value}, {t.state.value}, nonce {t.nonce}, attempt {t.attempt}, reason {t.reason!r}"


def _demand(holds: bool, words: str, t: Transaction | None = None) -> None:
    if not holds:
        raise Broken(words if t is None else f"{words}: {describe(t)}")
