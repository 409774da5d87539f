"""Reads the logs of a range of blocks, and believes no node whose logs contradict its own blocks.

A block's bloom lies under its hash and cannot deny a log that the block has. Blocks whose bloom rules out what is wanted
are not asked for. Where it promises something and the node has nothing, the node must show all logs of that block: they
have to account for every bit of the bloom. A node that cannot is left alone and another one is asked, because nodes do
answer before they have indexed a block, and an empty answer looks like a quiet chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lockstep.chains.evm.blooms import log_bits
from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.errors import NodeError, RangeTooWide
from lockstep.chains.evm.nodes import Call, Disbelieved, NodePool, RpcFault
from lockstep.chains.evm.outcomes import too_wide
from lockstep.chains.evm.types import Hash32
from lockstep.chains.evm.wire import Header, Log, LogFilter, read_header, read_log, to_hex

_MOST_SHOWN = 16
"""Blocks of one scan, the newest ones, whose silence is questioned: what is older has been indexed long ago."""

_Ask = Callable[[Sequence[Call]], Awaitable[list[Any | RpcFault]]]


class Moved(Exception):
    """The chain or the checkpoint moved while we looked; look again."""


class LogReader:
    """Logs of one chain."""

    def __init__(self, config: ChainConfig, nodes: NodePool) -> None:
        self._config, self._nodes = config, nodes

    async def read(
        self, filters: Sequence[LogFilter], first: int, last: int, headers: Mapping[int, Header]
    ) -> list[Log]:
        """What the filters want of the canonical blocks `first` to `last`, in the order of the chain, each log once.

        Args:
            headers: of blocks of the range, as far as they are known; that of `last` must be among them.
        Raises:
            Moved: the node that answered sees another block at the end of the range.
            RangeTooWide: for the nodes; ask for less.
            NodeUnavailable: no node answered. NodeError: none gave an answer that holds.
        """
        blooms = {number: header.logs_bloom for number, header in headers.items()} if self._config.blooms else {}
        first, last = _narrow(filters, first, last, blooms)
        if not filters or first > last:
            return []
        place = {"fromBlock": to_hex(first), "toBlock": to_hex(last)}
        calls: list[Call] = [("eth_getLogs", [{**wanted.params(), **place}]) for wanted in filters]
        calls.append(("eth_getBlockByNumber", [to_hex(last), False]))
        in_range = [headers[number] for number in sorted(headers) if first <= number <= last and self._config.blooms]
        found: dict[tuple[int, int], Log] = {}

        async def check(answers: list[Any | RpcFault], ask: _Ask) -> None:
            *answered, closing = (_result(answer) for answer in answers)
            if closing is None or read_header(self._config.chain, closing).ref.hash != headers[last].ref.hash:
                raise Moved("the last block of the range changed while its logs were read")
            by_filter = [[read_log(raw) for raw in one] for one in answered]
            await _check_blooms(filters, by_filter, in_range, ask)
            found.clear()
            for wanted, logs in zip(filters, by_filter, strict=True):
                found.update({(log.block_number, log.log_index): log for log in logs if wanted.matches(log)})

        await self._nodes.ask(calls, check)
        return [found[key] for key in sorted(found)]


def _narrow(filters: Sequence[LogFilter], first: int, last: int, blooms: Mapping[int, int | None]) -> tuple[int, int]:
    """The part of the range that may hold logs; empty (the first above the last) when none of it does. A block whose
    bloom is not known may hold anything."""
    if len(blooms) < last - first + 1:
        return first, last
    may = [n for n in range(first, last + 1) if any(wanted.may_match(blooms.get(n)) for wanted in filters)]
    return (may[0], may[-1]) if may else (last + 1, last)


async def _check_blooms(
    filters: Sequence[LogFilter], by_filter: Sequence[Sequence[Log]], headers: Sequence[Header], ask: _Ask
) -> None:
    """
    Raises:
        Disbelieved: the logs are not those that the blooms of these blocks speak of.
    """
    blooms = {header.ref.hash: header.logs_bloom for header in headers if header.logs_bloom is not None}
    if not blooms:
        return
    silent: dict[Hash32, list[LogFilter]] = {}
    for wanted, logs in zip(filters, by_filter, strict=True):
        for log in logs:
            bloom = blooms.get(log.block_hash)
            if bloom is not None and log_bits(log.address, log.topics) & ~bloom:
                raise Disbelieved(f"its block {log.block_number} has no such log, says the block's bloom")
        heard = {log.block_hash for log in logs if wanted.matches(log)}
        for block_hash in blooms.keys() - heard:
            if wanted.may_match(blooms[block_hash]):
                silent.setdefault(block_hash, []).append(wanted)
    questioned = [header for header in headers if header.ref.hash in silent][-_MOST_SHOWN:]
    if not questioned:
        return
    shown = await ask([("eth_getLogs", [{"blockHash": to_hex(header.ref.hash)}]) for header in questioned])
    for header, answer in zip(questioned, shown, strict=True):
        if isinstance(answer, RpcFault):
            raise Disbelieved(f"it does not show the logs of its block {header.ref.number}: {answer.message[:100]}")
        logs = [read_log(raw) for raw in answer]
        accounted = 0
        for log in logs:
            accounted |= log_bits(log.address, log.topics)
        is_whole = not blooms[header.ref.hash] & ~accounted
        if not is_whole or any(wanted.matches(log) for wanted in silent[header.ref.hash] for log in logs):
            raise Disbelieved(f"it left out logs of its block {header.ref.number}")


def _result(answer: Any | RpcFault) -> Any:
    if not isinstance(answer, RpcFault):
        return answer
    width = too_wide(answer.code, answer.message)
    if width is not None:
        raise RangeTooWide(answer.message[:200], is_limit=width == "blocks")
    error = answer.error()
    raise error if isinstance(error, NodeError) else NodeError(error.detail)
