"""A node with geth's rules, the words of a chosen client, and faults on command.

It mines when it is told to (or at once, like anvil, with `automine`). Time is that of its blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from eth_abi import encode as abi_encode
from tests.support.stub_node.chain import GAS_LIMIT, Block, Chain, Outcome
from tests.support.stub_node.dialects import Dialect, Refusal, words
from tests.support.stub_node.pool import Limits, Pool, Refused
from tests.support.stub_node.rpc import RpcError, RpcServer
from tests.support.stub_node.transaction import Tx, decode


class SendFault(StrEnum):
    """What becomes of one eth_sendRawTransaction; HTTP faults take the rest of their batch along."""

    REFUSE_HTTP = "refuse_http"
    """HTTP 500; nothing of the batch took effect from here on."""
    LOSE_ANSWER = "lose_answer"
    """All of the batch takes effect; the answer is HTTP 500."""
    LOSE = "lose"
    """Accepted, and forgotten."""
    ERR = "err"
    """Takes effect, but an error of the node's back end is answered."""
    LATE = "late"
    """Accepted; reaches the pool with the next block only."""
    TWICE = "twice"
    """Takes effect; the batch has its answer twice."""


Moment = Literal["before", "after"]


class StrictNode(RpcServer):
    """One node of one chain. Its fields may be changed at any time."""

    def __init__(
        self,
        chain: Chain,
        *,
        dialect: Dialect = Dialect.GETH,
        limits: Limits | None = None,
        automine: bool = False,
        final_after: int = 64,
    ) -> None:
        super().__init__()
        self.chain, self.dialect, self.automine, self.final_after = chain, dialect, automine, final_after
        self.pool = Pool(chain.chain_id, limits)
        self.lag = 0
        """Blocks by which its view is behind: a stale head."""
        self.failing_requests = 0
        """So many of the next HTTP requests are answered with status 500 and do nothing."""
        self.sends = 0
        """Raw transactions that came in so far."""
        self.faults: dict[int, SendFault | Refusal] = {}
        """By the number of the send (`sends` when it has come in), from 1; a refusal is said without cause."""
        self.watch: Callable[[Moment, list[dict[str, Any]]], None] | None = None
        """Called before a request takes effect and again before it is answered."""
        self._late: list[Tx] = []
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(self.chain.chain_id),
            "net_version": lambda: str(self.chain.chain_id),
            "eth_blockNumber": lambda: hex(self.head.number),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBalance": lambda address, at="latest": hex(self._at(at).state.balance(address.lower())),
            "eth_getTransactionCount": self._transaction_count,
            "eth_getCode": lambda address, at="latest": "0x60006000fd" if address.lower() in chain.refusing else "0x",
            "eth_getLogs": lambda wanted: [],
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": lambda: hex(self.chain.next_base_fee + 10**9),
            "eth_maxPriorityFeePerGas": lambda: hex(10**9),
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "txpool_status": self._pool_status,
        }

    # --- commands -----------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Block:
        """The newest block that it shows."""
        return self.chain.blocks[max(0, len(self.chain.blocks) - 1 - self.lag)]

    def fault(self, kind: SendFault | Refusal, *, after: int = 0) -> None:
        """Let the next send (or a later one) go wrong."""
        self.faults[self.sends + 1 + after] = kind

    def mine(self, blocks: int = 1, *, empty: bool = False) -> Block:
        """Blocks with what the pool has for them, or with nothing: a miner who has not heard of it."""
        for _ in range(blocks):
            chosen = [] if empty else self.pool.executable(self.chain.head.state, self.chain.next_base_fee)
            self.chain.mine(chosen)
            self.heard_of_block()
        return self.chain.head

    def heard_of_block(self) -> None:
        """Put the pool in order after blocks that this node, or another one of the same chain, has made."""
        self.pool.after_block(self.chain.head.state)
        late, self._late = self._late, []
        self._readmit(late)

    def reorganise(self, depth: int, *, returns: bool = True, empty: bool = True) -> None:
        """Replace the newest blocks by one more of another branch.

        Args:
            returns: their transactions go back to the pool, as geth does it; else they are lost.
            empty: the new blocks take none of the pool.
        """
        count = min(depth, self.chain.head.number)
        dropped = self.chain.unwind(count)
        if returns:
            self._readmit(dropped)
        self.mine(count + 1, empty=empty)

    def restart(self) -> None:
        """The pool is empty afterwards."""
        self.pool.clear()
        self._late.clear()

    def calm(self) -> None:
        """End all faults."""
        self.faults.clear()
        self.lag = self.failing_requests = 0
        self.status, self.delay, self.watch = 200, 0.0, None

    # --- JSON-RPC -----------------------------------------------------------------------------------------------------

    async def exchange(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]] | int:
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.watch is not None:
            self.watch("before", calls)
        if self.failing_requests:
            self.failing_requests -= 1
            return 500
        if self.status != 200:
            return self.status
        answers, lost = [], False
        for call in calls:
            fault = self._fault_of(call)
            if fault is SendFault.REFUSE_HTTP:
                return 500
            lost |= fault is SendFault.LOSE_ANSWER
            answer = self.answer({**call, "params": [*call["params"], fault]} if fault else call)
            answers += [answer] * (2 if fault is SendFault.TWICE else 1)
        if self.watch is not None:
            self.watch("after", calls)
        return 500 if lost else answers

    def call(self, method: str, params: list[Any]) -> Any:
        known = self._methods.get(method)
        if known is None:
            raise RpcError(f"the method {method} does not exist/is not available", -32601)
        return known(*params)

    def _fault_of(self, call: dict[str, Any]) -> SendFault | Refusal | None:
        if call["method"] != "eth_sendRawTransaction":
            return None
        self.sends += 1
        return self.faults.pop(self.sends, None)

    def _send(self, text: str, fault: SendFault | Refusal | None = None) -> str:
        if isinstance(fault, Refusal):
            raise self._error(fault)
        try:
            tx = decode(bytes.fromhex(text[2:]))
        except ValueError as error:
            refusal = Refusal.UNKNOWN_TYPE if "type" in str(error) else Refusal.BAD_SIGNATURE
            raise self._error(refusal) from error
        if fault is SendFault.LOSE:
            return "0x" + tx.hash.hex()
        if fault is SendFault.LATE:
            self._late.append(tx)
            return "0x" + tx.hash.hex()
        try:
            self.pool.add(tx, self.chain.head.state, self.chain.next_base_fee)
        except Refused as refused:
            raise self._error(refused.refusal, **refused.fields) from refused
        if self.automine:
            self.mine()
        if fault is SendFault.ERR:
            raise RpcError("context deadline exceeded")
        return "0x" + tx.hash.hex()

    def _error(self, refusal: Refusal, **fields: object) -> RpcError:
        code, text = words(self.dialect, refusal, **fields)
        return RpcError(text, code)

    def _readmit(self, transactions: list[Tx]) -> None:
        for tx in transactions:
            try:
                self.pool.add(tx, self.chain.head.state, self.chain.next_base_fee)
            except Refused:  # another one has its nonce by now, or it cannot be paid any more
                continue

    # --- reads --------------------------------------------------------------------------------------------------------

    def _at(self, at: Any) -> Block:
        found = self._find(at)
        if found is None:
            raise RpcError("header not found")
        return found

    def _find(self, at: Any) -> Block | None:
        if isinstance(at, dict) and "blockNumber" in at:
            at = at["blockNumber"]
        if isinstance(at, dict):
            found = self.chain.by_hash.get(bytes.fromhex(at["blockHash"][2:]))
            if found is None or found.number > self.head.number:
                return None
            if at.get("requireCanonical") and not self.chain.is_canonical(found):
                raise RpcError("hash is not currently canonical")
            return found
        tags = {
            "latest": self.head.number,
            "pending": self.head.number,
            "earliest": 0,
            "finalized": max(0, self.head.number - self.final_after),
            "safe": max(0, self.head.number - self.final_after // 2),
        }
        number = tags[at] if at in tags else int(at, 16)
        return self.chain.blocks[number] if number <= self.head.number else None

    def _block_by_number(self, at: str, whole: bool = False) -> dict[str, Any] | None:
        found = self._find(at)
        return None if found is None else self._write_block(found, whole)

    def _block_by_hash(self, hash_: str, whole: bool = False) -> dict[str, Any] | None:
        found = self._find({"blockHash": hash_})
        return None if found is None else self._write_block(found, whole)

    def _transaction_count(self, address: str, at: Any = "latest") -> str:
        address = address.lower()
        if at == "pending":
            return hex(self.pool.next_nonce(address, self.chain.head.state))
        return hex(self._at(at).state.nonce(address))

    def _call(self, call: dict[str, Any], at: Any = "latest") -> str:
        self._at(at)
        self._refuse(call)
        return "0x"

    def _estimate(self, call: dict[str, Any], at: Any = "latest") -> str:
        state, value = self._at(at).state, int(call.get("value", "0x0"), 16)
        if value > state.balance(call.get("from", "").lower()):
            raise RpcError("insufficient funds for transfer")
        self._refuse(call)
        data = bytes.fromhex(call.get("data", "0x")[2:])
        zeros = data.count(0)
        gas = 21_000 + 4 * zeros + 16 * (len(data) - zeros) + (0 if call.get("to") else 32_000)
        return hex(max(gas, 21_000 + 10 * (zeros + 4 * (len(data) - zeros))))

    def _refuse(self, call: dict[str, Any]) -> None:
        reason = self.chain.refusing.get((call.get("to") or "").lower())
        if reason is not None:
            data = "0x08c379a0" + abi_encode(["string"], [reason]).hex()
            raise RpcError(f"execution reverted: {reason}", 3, data)

    def _fee_history(self, count: str | int, newest: Any, percentiles: list[float] | None = None) -> dict[str, Any]:
        last = self._at(newest).number
        wanted = int(count, 16) if isinstance(count, str) else count
        blocks = self.chain.blocks[max(0, last + 1 - wanted) : last + 1]
        following = self.chain.blocks[last + 1].base_fee if last < self.chain.head.number else self.chain.next_base_fee
        return {
            "oldestBlock": hex(blocks[0].number),
            "baseFeePerGas": [hex(block.base_fee) for block in blocks] + [hex(following)],
            "gasUsedRatio": [block.gas_used / GAS_LIMIT for block in blocks],
            "reward": [[hex(_tip_at(block, one)) for one in percentiles or ()] for block in blocks],
        }

    def _receipt(self, hash_: str) -> dict[str, Any] | None:
        place = self.chain.places.get(bytes.fromhex(hash_[2:]))
        if place is None or place[0].number > self.head.number:
            return None
        block, outcome = place
        return {
            "transactionHash": hash_,
            "transactionIndex": hex(outcome.index),
            "blockHash": "0x" + block.hash.hex(),
            "blockNumber": hex(block.number),
            "from": outcome.tx.sender,
            "to": outcome.tx.to,
            "cumulativeGasUsed": hex(sum(one.gas_used for one in block.outcomes[: outcome.index + 1])),
            "gasUsed": hex(outcome.gas_used),
            "effectiveGasPrice": hex(outcome.price),
            "contractAddress": outcome.contract,
            "logs": [],
            "logsBloom": "0x" + "00" * 256,
            "status": hex(outcome.succeeded),
            "type": hex(outcome.tx.type),
        }

    def _transaction(self, hash_: str) -> dict[str, Any] | None:
        place = self.chain.places.get(bytes.fromhex(hash_[2:]))
        if place is not None and place[0].number <= self.head.number:
            return _write_transaction(place[1].tx, place)
        pooled = self.pool.find(bytes.fromhex(hash_[2:]))
        return None if pooled is None else _write_transaction(pooled, None)

    def _pool_status(self) -> dict[str, str]:
        state = self.chain.head.state
        queued = sum(len(self.pool.queued(address, state)) for address in self.pool.by_account)
        return {"pending": hex(len(self.pool) - queued), "queued": hex(queued)}

    def _write_block(self, block: Block, whole: bool) -> dict[str, Any]:
        return {
            "number": hex(block.number),
            "hash": "0x" + block.hash.hex(),
            "parentHash": "0x" + block.parent_hash.hex(),
            "timestamp": hex(block.timestamp),
            "baseFeePerGas": hex(block.base_fee),
            "gasLimit": hex(GAS_LIMIT),
            "gasUsed": hex(block.gas_used),
            "logsBloom": "0x" + "00" * 256,
            "transactions": [
                _write_transaction(outcome.tx, (block, outcome)) if whole else "0x" + outcome.tx.hash.hex()
                for outcome in block.outcomes
            ],
        }


def _write_transaction(tx: Tx, place: tuple[Block, Outcome] | None) -> dict[str, Any]:
    block, outcome = place or (None, None)
    return {
        "hash": "0x" + tx.hash.hex(),
        "type": hex(tx.type),
        "chainId": hex(tx.chain_id),
        "nonce": hex(tx.nonce),
        "from": tx.sender,
        "to": tx.to,
        "value": hex(tx.value),
        "input": "0x" + tx.data.hex(),
        "gas": hex(tx.gas),
        "maxFeePerGas": hex(tx.max_fee),
        "maxPriorityFeePerGas": hex(tx.tip),
        "gasPrice": hex(outcome.price if outcome else tx.max_fee),
        "blockHash": None if block is None else "0x" + block.hash.hex(),
        "blockNumber": None if block is None else hex(block.number),
        "transactionIndex": None if outcome is None else hex(outcome.index),
    }


def _tip_at(block: Block, percentile: float) -> int:
    """Tip at a percentile of the block's gas; 0 for an empty block, as geth says."""
    passed, threshold = 0, block.gas_used * percentile / 100
    ordered = sorted(block.outcomes, key=lambda outcome: outcome.price)
    for outcome in ordered:
        passed += outcome.gas_used
        if passed >= threshold:
            return outcome.price - block.base_fee
    return 0
