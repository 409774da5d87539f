"""The whole life of a swap as one query: steps of its process, its transactions, creation and end of its escrows."""

from __future__ import annotations

from lockstep.kit.database import Row, UnitOfWork
from lockstep.kit.ids import AppId

_QUERY = """
with swap as (select * from swaps where id = %(id)s)
select at, what, name, detail, facts from (
    select p.created_at as at, 1 as rank, 'step' as what, p.to_state as name, p.reason as detail,
           jsonb_build_object('from', p.from_state, 'waiting_for', p.waiting_for, 'version', p.version) || p.facts as facts
    from process_steps p where p.kind = 'swap' and p.process_id = %(id)s
  union all
    select l.created_at, 2, 'leg', l.leg,
           case when l.transaction_id is not null then 'sent' when l.app_id = %(app)s then l.reason else 'refused' end,
           jsonb_build_object('attempt', l.attempt, 'transaction_id', l.transaction_id,
               'refusal', case when l.app_id = %(app)s then l.refusal end)
    from swap_legs l where l.swap_id = %(id)s
  union all
    select t.updated_at, 3, 'transaction', l.leg, t.state,
           jsonb_build_object('transaction_id', t.id, 'chain', t.chain, 'from', t.from_address, 'to', t.to_address,
               'nonce', t.nonce, 'hash', '0x' || encode(t.hash, 'hex'), 'block_number', t.block_number,
               'gas_used', t.gas_used, 'reason', coalesce(t.revert_reason, case when l.app_id = %(app)s then t.reason end))
    from swap_legs l join transactions t on t.id = l.transaction_id and t.app_id = l.app_id
    where l.swap_id = %(id)s
  union all
    select to_timestamp(e.block_time), 0, 'escrow', e.side || '_created', null,
           jsonb_build_object('chain', e.chain, 'address', '0x' || encode(e.address, 'hex'), 'amount', e.amount::text,
               'block_number', e.block_number, 'transaction_hash', '0x' || encode(e.transaction_hash, 'hex'))
    from escrows e join swap s on e.order_hash = s.order_hash and e.taker = s.taker
  union all
    select to_timestamp(v.block_time), 0, 'escrow', e.side || '_' || v.kind, null,
           jsonb_build_object('chain', v.chain, 'address', '0x' || encode(v.address, 'hex'),
               'block_number', v.block_number, 'transaction_hash', '0x' || encode(v.transaction_hash, 'hex'))
    from escrow_events v join escrows e on e.chain = v.chain and e.address = v.address
    join swap s on e.order_hash = s.order_hash and e.taker = s.taker
) life order by at, rank, name
"""


async def read(uow: UnitOfWork, swap_id: str, app_id: AppId | None) -> list[Row]:
    """Entries (at, what, name, detail, facts), oldest first. Needs a system unit of work; holds no secret.

    Why a wallet's policy refused a leg, or what its account lacks, only the app of that wallet is told (`app_id`).
    Reads columns of `transactions` and of the processes: a person who asks for the life of a swap wants one answer.
    """
    return await uow.fetch(_QUERY, {"id": swap_id, "app": app_id})
