"""Before a nonce is reserved: how much gas a transaction takes, and whether it would go through at all.

Asks nodes only. What a refusal means for the transaction is decided in `engine.rules.after_refusal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lockstep.chains.evm import BlockRef, CallReverted, NodeUnavailable, RpcFault, block_param
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.rules import with_headroom
from lockstep.transactions.types import Transaction

_TRANSFER_GAS = 21_000

Call = tuple[str, list[Any]]


async def simulate(lane: EvmLane, transactions: Sequence[Transaction], block: BlockRef) -> dict[str, int | str]:
    """Gas limit by id (its own, or an estimate with headroom), or why the transaction would fail now.

    A simulation that a node cannot make refuses nothing: only a transaction without a gas limit needs the answer. One that
    leaves no gas for code (21,000 and no data) is not simulated.

    Args:
        block: where those with a gas limit are run; estimates are made on the node's newest state.
    Raises:
        NodeUnavailable: no question was answered.
    """
    calls: dict[str, Call] = {}
    found: dict[str, int | str] = {}
    for t in transactions:
        if t.gas_limit_ceiling is None:
            calls[t.id] = ("eth_estimateGas", [_call(t)])
            continue
        found[t.id] = t.gas_limit_ceiling
        if lane.settings.simulates and (t.data or t.gas_limit_ceiling > _TRANSFER_GAS):
            calls[t.id] = ("eth_call", [{**_call(t), "gas": hex(t.gas_limit_ceiling)}, block_param(block)])
    for t_id, answer in zip(calls, await _ask(lane, list(calls.values())) if calls else [], strict=True):
        fault = answer.error() if isinstance(answer, RpcFault) else None
        if isinstance(fault, CallReverted):
            found[t_id] = fault.reason
        elif t_id in found:
            continue
        elif isinstance(answer, RpcFault):
            found[t_id] = answer.message[:200]
        elif answer is None:
            found[t_id] = "the node does not find out in time how much gas it takes"
        else:
            found[t_id] = with_headroom(int(answer, 16), lane.client.config.transaction_gas_cap)
    return found


def _call(t: Transaction) -> dict[str, str]:
    call = {"from": t.sender, "data": "0x" + t.data.hex(), "value": hex(t.value)}
    return call if t.to is None else {**call, "to": t.to}


async def _ask(lane: EvmLane, calls: list[Call]) -> list[Any]:
    """The answers to all calls. When they do not come in time, each is asked alone and slow ones stay None: one that runs
    for ever must not keep the others of its batch from being answered.

    Raises:
        NodeUnavailable: none is answered.
    """

    async def alone(call: Call) -> Any:
        try:
            return (await lane.client.batch([call]))[0]
        except NodeUnavailable:
            return None

    try:
        return await lane.client.batch(calls)
    except NodeUnavailable:
        answers = await asyncio.gather(*(alone(call) for call in calls)) if len(calls) > 1 else [None]
        if all(answer is None for answer in answers):
            raise
        return answers
