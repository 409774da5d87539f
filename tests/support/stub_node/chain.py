"""A chain in memory: blocks, balances and nonces after each of them, receipts, reorganisations.

Executes plain transfers, contract creations without code, and calls of contracts that refuse. Its block hashes are not
those of real headers: they only are different for different blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import rlp
from eth_hash.auto import keccak
from tests.support.stub_node.transaction import Tx

START = 1_700_000_000
GAS_LIMIT = 30_000_000
_EXECUTION_GAS = 3_000
"""What a contract takes before it refuses."""


@dataclass(slots=True)
class State:
    """What accounts have, after a block."""

    balances: dict[str, int] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)

    def copy(self) -> State:
        return State(dict(self.balances), dict(self.nonces))

    def balance(self, address: str) -> int:
        return self.balances.get(address, 0)

    def nonce(self, address: str) -> int:
        return self.nonces.get(address, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a transaction did in its block."""

    tx: Tx
    index: int
    succeeded: bool
    gas_used: int
    price: int
    contract: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int
    gas_used: int
    outcomes: tuple[Outcome, ...]
    state: State = field(repr=False)


class Chain:
    """The canonical blocks, and those that were once."""

    def __init__(
        self, chain_id: int, balances: dict[str, int], *, base_fee: int = 10**9, block_seconds: int = 12
    ) -> None:
        self.chain_id, self.block_seconds = chain_id, block_seconds
        self.base_fee: int | None = None
        """Of the next blocks; None: as EIP-1559 computes it."""
        self.refusing: dict[str, str] = {}
        """Contracts that refuse every call, with their words."""
        self._branch = 0
        genesis = Block(
            number=0,
            hash=keccak(b"genesis %d" % chain_id),
            parent_hash=bytes(32),
            timestamp=START,
            base_fee=base_fee,
            gas_used=0,
            outcomes=(),
            state=State(dict(balances)),
        )
        self.blocks = [genesis]
        self.by_hash = {genesis.hash: genesis}
        self.places: dict[bytes, tuple[Block, Outcome]] = {}
        """Where the canonical chain has a transaction."""

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    @property
    def next_base_fee(self) -> int:
        """EIP-1559 with a target of half the gas limit."""
        if self.base_fee is not None:
            return self.base_fee
        parent, target = self.head, GAS_LIMIT // 2
        if parent.gas_used == target:
            return parent.base_fee
        delta = parent.base_fee * abs(parent.gas_used - target) // target // 8
        return parent.base_fee + max(delta, 1) if parent.gas_used > target else parent.base_fee - delta

    def is_canonical(self, block: Block) -> bool:
        return block.number < len(self.blocks) and self.blocks[block.number] is block

    def mine(self, transactions: Iterable[Tx]) -> Block:
        """A block with these transactions, those left out that cannot be executed any more."""
        parent, base_fee = self.head, self.next_base_fee
        state, outcomes, gas = parent.state.copy(), [], 0
        for tx in transactions:
            outcome = self._execute(tx, state, base_fee, len(outcomes))
            if outcome is not None:
                outcomes.append(outcome)
                gas += outcome.gas_used
        number, timestamp = parent.number + 1, parent.timestamp + self.block_seconds
        content = [parent.hash, [outcome.tx.hash for outcome in outcomes], base_fee, timestamp, self._branch]
        block = Block(
            number=number,
            hash=keccak(rlp.encode(content)),
            parent_hash=parent.hash,
            timestamp=timestamp,
            base_fee=base_fee,
            gas_used=gas,
            outcomes=tuple(outcomes),
            state=state,
        )
        self.blocks.append(block)
        self.by_hash[block.hash] = block
        self.places |= {outcome.tx.hash: (block, outcome) for outcome in outcomes}
        return block

    def unwind(self, depth: int) -> list[Tx]:
        """Take the newest blocks off; their transactions, oldest first. The next blocks are of another branch."""
        depth = min(depth, self.head.number)
        dropped = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        self._branch += 1
        transactions = [outcome.tx for block in dropped for outcome in block.outcomes]
        for tx in transactions:
            del self.places[tx.hash]
        return transactions

    def _execute(self, tx: Tx, state: State, base_fee: int, index: int) -> Outcome | None:
        if tx.nonce != state.nonce(tx.sender) or tx.max_fee < base_fee or state.balance(tx.sender) < tx.cost:
            return None
        refuses = tx.to in self.refusing
        gas = max(tx.intrinsic_gas, tx.floor_gas)
        gas = min(tx.gas, gas + _EXECUTION_GAS) if refuses else gas
        price = tx.price(base_fee)
        state.nonces[tx.sender] = tx.nonce + 1
        state.balances[tx.sender] -= gas * price
        contract = None
        if not refuses:
            receiver = tx.to or "0x" + keccak(rlp.encode([bytes.fromhex(tx.sender[2:]), tx.nonce]))[-20:].hex()
            contract = receiver if tx.to is None else None
            state.balances[tx.sender] -= tx.value
            state.balances[receiver] = state.balance(receiver) + tx.value
        return Outcome(tx=tx, index=index, succeeded=not refuses, gas_used=gas, price=price, contract=contract)
