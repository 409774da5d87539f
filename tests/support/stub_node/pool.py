"""A transaction pool with the rules of geth's legacy pool.

Kept: what is executable (pending) and what waits behind a gap (queued), a replacement 10 % dearer in both fees, cumulative
balance, limits per account and for the whole pool, what is dropped without a word. Not kept: journals, local accounts,
life times, blobs, delegations.

Source: geth core/txpool/legacypool (add, list.Add, promoteExecutables, truncateQueue) and core/txpool/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.stub_node.chain import GAS_LIMIT, State
from tests.support.stub_node.dialects import Refusal
from tests.support.stub_node.transaction import Tx

MAX_TX_BYTES = 131_072
MAX_INITCODE_BYTES = 49_152
TX_GAS_CAP = 2**24


class Refused(Exception):
    """The pool does not take a transaction."""

    def __init__(self, refusal: Refusal, **fields: object) -> None:
        super().__init__(refusal.value, fields)
        self.refusal, self.fields = refusal, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """The pool's settings; geth's defaults, and what other clients do differently."""

    price_bump: int = 10
    """Percent by which both fees of a replacement must be higher."""
    least_tip: int = 1
    account_queue: int = 64
    """Queued transactions of an account; what is beyond is dropped without a word."""
    pool: int = 5120 + 1024
    """Transactions of all accounts."""
    takes_gaps: bool = True
    takes_below_base_fee: bool = True


class Pool:
    """Transactions by account and nonce."""

    def __init__(self, chain_id: int, limits: Limits | None = None) -> None:
        self.chain_id, self.limits = chain_id, limits or Limits()
        self.by_account: dict[str, dict[int, Tx]] = {}

    def __iter__(self) -> Iterator[Tx]:
        return (tx for nonces in self.by_account.values() for tx in nonces.values())

    def __len__(self) -> int:
        return sum(map(len, self.by_account.values()))

    def find(self, hash_: bytes) -> Tx | None:
        return next((tx for tx in self if tx.hash == hash_), None)

    def clear(self) -> None:
        self.by_account.clear()

    def next_nonce(self, address: str, state: State) -> int:
        """The nonce behind the last executable one: "pending" of eth_getTransactionCount."""
        nonce, known = state.nonce(address), self.by_account.get(address, {})
        while nonce in known:
            nonce += 1
        return nonce

    def queued(self, address: str, state: State) -> list[Tx]:
        """What waits behind a gap, lowest nonce first."""
        first = self.next_nonce(address, state)
        return [tx for nonce, tx in sorted(self.by_account.get(address, {}).items()) if nonce > first]

    def add(self, tx: Tx, state: State, base_fee: int) -> None:
        """Take a transaction in, or one in place of another.

        Raises:
            Refused: with the reason that geth finds first.
        """
        known = self.by_account.get(tx.sender, {})
        old = known.get(tx.nonce)
        if old is not None and old.hash == tx.hash:
            raise Refused(Refusal.ALREADY_KNOWN)
        self._check(tx)
        self._check_against_state(tx, old, state, base_fee)
        if old is None and len(self) >= self.limits.pool:
            self._make_room(tx, state)
        if old is not None and not self._is_replacement(old, tx):
            raise Refused(Refusal.REPLACEMENT_UNDERPRICED)
        self.by_account.setdefault(tx.sender, {})[tx.nonce] = tx
        for too_many in self.queued(tx.sender, state)[self.limits.account_queue :]:
            self._remove(too_many)

    def after_block(self, state: State) -> None:
        """Forget what is mined and what cannot be paid any more."""
        for tx in list(self):
            if tx.nonce < state.nonce(tx.sender) or tx.cost > state.balance(tx.sender):
                self._remove(tx)

    def executable(self, state: State, base_fee: int) -> list[Tx]:
        """What the next block takes: dearest tips first, each account in the order of its nonces."""
        heads = {address: state.nonce(address) for address in self.by_account}
        chosen: list[Tx] = []
        gas = 0
        while True:
            ready = [
                tx
                for address, nonce in heads.items()
                if (tx := self.by_account[address].get(nonce)) is not None and tx.max_fee >= base_fee
            ]
            if not ready:
                return chosen
            best = max(ready, key=lambda tx: (tx.price(base_fee), tx.sender))
            if gas + best.gas > GAS_LIMIT:
                return chosen
            gas += best.gas
            chosen.append(best)
            heads[best.sender] += 1

    # --- rules --------------------------------------------------------------------------------------------------------

    def _check(self, tx: Tx) -> None:
        if tx.size > MAX_TX_BYTES:
            raise Refused(Refusal.OVERSIZED, size=tx.size, most=MAX_TX_BYTES)
        if tx.to is None and len(tx.data) > MAX_INITCODE_BYTES:
            raise Refused(Refusal.INITCODE, size=len(tx.data), most=MAX_INITCODE_BYTES)
        if tx.gas > TX_GAS_CAP:
            raise Refused(Refusal.GAS_CAP, gas=tx.gas, cap=TX_GAS_CAP)
        if tx.gas > GAS_LIMIT:
            raise Refused(Refusal.BLOCK_GAS_LIMIT, gas=tx.gas, cap=GAS_LIMIT)
        if tx.tip > tx.max_fee:
            raise Refused(Refusal.TIP_ABOVE_FEE, tip=tx.tip, max_fee=tx.max_fee)
        if tx.chain_id != self.chain_id:
            raise Refused(Refusal.WRONG_CHAIN, chain_id=tx.chain_id, own_chain_id=self.chain_id)
        if tx.gas < tx.intrinsic_gas:
            raise Refused(Refusal.INTRINSIC_GAS, gas=tx.gas, least_gas=tx.intrinsic_gas)
        if tx.gas < tx.floor_gas:
            raise Refused(Refusal.FLOOR_GAS, gas=tx.gas, least_gas=tx.floor_gas)
        if tx.tip < self.limits.least_tip:
            raise Refused(Refusal.UNDERPRICED, tip=tx.tip, least_tip=self.limits.least_tip)

    def _check_against_state(self, tx: Tx, old: Tx | None, state: State, base_fee: int) -> None:
        next_nonce, balance = state.nonce(tx.sender), state.balance(tx.sender)
        if tx.nonce < next_nonce:
            raise Refused(Refusal.NONCE_TOO_LOW, nonce=tx.nonce, next_nonce=next_nonce)
        if not self.limits.takes_gaps and tx.nonce > (gap := self.next_nonce(tx.sender, state)):
            raise Refused(Refusal.NONCE_GAP, nonce=tx.nonce, next_nonce=gap)
        if not self.limits.takes_below_base_fee and tx.max_fee < base_fee:
            raise Refused(Refusal.BELOW_BASE_FEE, max_fee=tx.max_fee, base_fee=base_fee, tip=tx.tip)
        if balance < tx.cost:
            raise Refused(Refusal.INSUFFICIENT_FUNDS, balance=balance, cost=tx.cost, short=tx.cost - balance)
        pooled = sum(one.cost for one in self.by_account.get(tx.sender, {}).values()) - (old.cost if old else 0)
        if balance < pooled + tx.cost:
            short = pooled + tx.cost - balance
            raise Refused(Refusal.OVERDRAFT, balance=balance, pooled=pooled, cost=tx.cost, short=short)

    def _is_replacement(self, old: Tx, new: Tx) -> bool:
        factor = 100 + self.limits.price_bump
        return all(
            after > before and after >= before * factor // 100
            for before, after in ((old.max_fee, new.max_fee), (old.tip, new.tip))
        )

    def _make_room(self, tx: Tx, state: State) -> None:
        """A full pool lets the cheapest go for a dearer one, and takes no transaction behind a gap."""
        if not self.by_account or tx.nonce > self.next_nonce(tx.sender, state):
            raise Refused(Refusal.POOL_FULL)
        cheapest = min(self, key=lambda one: (one.tip, one.max_fee, -one.nonce))
        if (tx.tip, tx.max_fee) <= (cheapest.tip, cheapest.max_fee):
            raise Refused(Refusal.UNDERPRICED, tip=tx.tip, least_tip=cheapest.tip)
        self._remove(cheapest)

    def _remove(self, tx: Tx) -> None:
        del self.by_account[tx.sender][tx.nonce]
        if not self.by_account[tx.sender]:
            del self.by_account[tx.sender]
