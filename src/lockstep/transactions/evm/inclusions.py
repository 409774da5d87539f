"""What the chain has of a transaction: receipts of every form, why it failed, what it found and left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lockstep.chains.evm import BlockRef, CallReverted, NodeError, NodeUnavailable, Receipt
from lockstep.transactions.engine.family import Inclusion
from lockstep.transactions.evm.lane import EvmLane
from lockstep.transactions.evm.observe import observe
from lockstep.transactions.types import Attempt, Form, Transaction


async def look_up(
    lane: EvmLane, transactions: Sequence[Transaction], attempts: Mapping[str, list[Attempt]]
) -> dict[str, Inclusion]:
    """See `Family.look_up`."""
    wanted = [(t.id, a.hash) for t in transactions for a in attempts[t.id] if a.hash is not None]
    found = await lane.client.receipts([transaction_hash for _, transaction_hash in wanted])
    receipts = {t_id: receipt for (t_id, _), receipt in zip(wanted, found, strict=True) if receipt is not None}
    return await _inclusions(lane, [t for t in transactions if t.id in receipts], attempts, receipts)


async def look_up_as_of(
    lane: EvmLane, t: Transaction, attempts: Sequence[Attempt], block: BlockRef
) -> Inclusion | None:
    """What is on the chain up to a block, from a node that has it: None says that there is nothing, not that the node is behind.

    Raises:
        NodeError: the node does not have the block.
    """
    hashes = [attempt.hash for attempt in attempts if attempt.hash is not None]
    receipts = await lane.client.receipts_as_of(hashes, block)
    receipt = next((one for one in receipts if one is not None), None)
    if receipt is None:
        return None
    return (await _inclusions(lane, [t], {t.id: list(attempts)}, {t.id: receipt}))[t.id]


async def _inclusions(
    lane: EvmLane,
    transactions: Sequence[Transaction],
    attempts: Mapping[str, list[Attempt]],
    receipts: Mapping[str, Receipt],
) -> dict[str, Inclusion]:
    forms = {
        t.id: next(a.form for a in attempts[t.id] if a.hash == receipts[t.id].transaction_hash) for t in transactions
    }
    own = [(t, receipts[t.id]) for t in transactions if forms[t.id] is Form.ORIGINAL]
    observed = await observe(lane, own)
    reasons = {t.id: await _revert_reason(lane, t, receipt) for t, receipt in own if not receipt.succeeded}
    return {
        t.id: _inclusion(receipts[t.id], forms[t.id], reasons.get(t.id), observed.get(t.id, {})) for t in transactions
    }


def _inclusion(
    receipt: Receipt, form: Form, revert_reason: str | None, observed: Mapping[str, Mapping[str, object]]
) -> Inclusion:
    return Inclusion(
        form=form,
        hash=receipt.transaction_hash,
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        succeeded=receipt.succeeded,
        costs={
            "gas_used": receipt.gas_used,
            "effective_gas_price": receipt.effective_gas_price,
            "data_fee": receipt.data_fee,
            "contract_address": receipt.contract_address,
        },
        revert_reason=revert_reason,
        observed=observed,
    )


async def _revert_reason(lane: EvmLane, t: Transaction, receipt: Receipt) -> str:
    """Why it failed, by a replay on the state before its block: approximate, as earlier ones of the block are missing."""
    if t.gas_limit is not None and receipt.gas_used >= t.gas_limit:
        return "out of gas"
    try:
        parent = await lane.client.block(receipt.block_number - 1)
        # With its own gas: what a caller did not pay for must not keep the node busy.
        await lane.client.eth_call(t.to, t.data, parent, sender=t.sender, value=t.value, gas=t.gas_limit)
    except CallReverted as error:
        return error.reason
    except (NodeError, NodeUnavailable):  # a reason is not worth the tracking of everybody else
        return "reverted; the state before its block is not available any more"
    return "reverted; a replay on the state before its block succeeds"
