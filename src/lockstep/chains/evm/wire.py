"""JSON-RPC shapes of EVM nodes as typed values: blocks, logs, receipts, fee history. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lockstep.chains.evm.addresses import address_to_bytes
from lockstep.chains.evm.blooms import may_hold
from lockstep.chains.evm.types import Address, BlockRef, Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log entry of a contract."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: int
    block_hash: Hash32
    transaction_hash: Hash32
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a mined transaction did. Amounts in wei."""

    transaction_hash: Hash32
    block_number: int
    block_hash: Hash32
    transaction_index: int
    sender: Address
    to: Address | None
    succeeded: bool
    gas_used: int
    effective_gas_price: int
    data_fee: int
    """What an OP-stack roll-up took for its parent chain beside the gas; 0 elsewhere."""
    contract_address: Address | None
    logs: tuple[Log, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A block with its parent, for whoever walks a chain."""

    ref: BlockRef
    parent_hash: Hash32
    base_fee_per_gas: int
    """Wei; 0 on chains without EIP-1559."""
    logs_bloom: int | None = None
    """2048 bits (see `blooms`); None where the node does not show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeHistory:
    """Fees of the last blocks, oldest first; wei."""

    base_fees: tuple[int, ...]
    """One more than blocks: the last one is the base fee of the next block."""
    rewards: tuple[tuple[int, ...], ...]
    """Tips per block at the percentiles asked for."""

    @property
    def next_base_fee(self) -> int:
        return self.base_fees[-1]


MOST_ADDRESSES = 500
"""A filter with more addresses is asked for by its topics alone; nodes refuse or crawl on longer lists."""


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    """Which logs to read. Empty addresses: any contract; empty topics: any event (topic 0)."""

    addresses: Sequence[Address] = ()
    topics: Sequence[Hash32] = ()

    def params(self) -> dict[str, object]:
        """As members of an eth_getLogs filter; the answer may hold logs that do not match."""
        members: dict[str, object] = {}
        if 0 < len(self.addresses) <= MOST_ADDRESSES:
            members["address"] = list(self.addresses)
        if self.topics:
            members["topics"] = [["0x" + topic.hex() for topic in self.topics]]
        return members

    def matches(self, log: Log) -> bool:
        """Whether a log is wanted."""
        addresses, topics = self._wanted
        return (not addresses or log.address in addresses) and (not topics or log.topics[:1] in topics)

    def may_match(self, bloom: int | None) -> bool:
        """Whether a block with this bloom may hold a wanted log; None: it is not known."""
        if bloom is None:
            return True
        return (not self.addresses or may_hold(bloom, map(address_to_bytes, self.addresses))) and (
            not self.topics or may_hold(bloom, self.topics)
        )

    @cached_property
    def _wanted(self) -> tuple[frozenset[Address], frozenset[tuple[Hash32, ...]]]:
        return frozenset(self.addresses), frozenset((topic,) for topic in self.topics)


def to_hex(value: int | bytes) -> str:
    """JSON-RPC form: a quantity without leading zeros, or data."""
    return "0x" + value.hex() if isinstance(value, bytes) else hex(value)


def to_int(text: str) -> int:
    """A quantity."""
    return int(text, 16)


def to_bytes(text: str) -> bytes:
    """Data."""
    return bytes.fromhex(text[2:])


def read_header(chain: str, raw: Mapping[str, Any]) -> Header:
    """Header from eth_getBlockBy…"""
    bloom = raw.get("logsBloom")
    return Header(
        ref=BlockRef(chain, to_int(raw["number"]), to_bytes(raw["hash"]), to_int(raw["timestamp"])),
        parent_hash=to_bytes(raw["parentHash"]),
        base_fee_per_gas=to_int(raw.get("baseFeePerGas") or "0x0"),
        logs_bloom=to_int(bloom) if bloom else None,
    )


def read_log(raw: Mapping[str, Any]) -> Log:
    """Log from eth_getLogs or a receipt."""
    return Log(
        address=Address(raw["address"].lower()),
        topics=tuple(to_bytes(topic) for topic in raw["topics"]),
        data=to_bytes(raw["data"]),
        block_number=to_int(raw["blockNumber"]),
        block_hash=to_bytes(raw["blockHash"]),
        transaction_hash=to_bytes(raw["transactionHash"]),
        log_index=to_int(raw["logIndex"]),
    )


def read_receipt(raw: Mapping[str, Any]) -> Receipt:
    """Receipt from eth_getTransactionReceipt."""
    to, created = raw.get("to"), raw.get("contractAddress")
    return Receipt(
        transaction_hash=to_bytes(raw["transactionHash"]),
        block_number=to_int(raw["blockNumber"]),
        block_hash=to_bytes(raw["blockHash"]),
        transaction_index=to_int(raw["transactionIndex"]),
        sender=Address(raw["from"].lower()),
        to=Address(to.lower()) if to else None,
        succeeded=to_int(raw["status"]) == 1,
        gas_used=to_int(raw["gasUsed"]),
        effective_gas_price=to_int(raw.get("effectiveGasPrice") or "0x0"),
        data_fee=to_int(raw.get("l1Fee") or "0x0"),
        contract_address=Address(created.lower()) if created else None,
        logs=tuple(read_log(log) for log in raw["logs"]),
    )


def read_fee_history(raw: Mapping[str, Any]) -> FeeHistory:
    """Fee history from eth_feeHistory."""
    return FeeHistory(
        base_fees=tuple(to_int(fee) for fee in raw["baseFeePerGas"]),
        rewards=tuple(tuple(to_int(tip) for tip in block) for block in raw.get("reward") or ()),
    )
