"""Pure decisions about transactions of EVM chains: fees, nonces, gaps, replacements. No database, node or clock.

Source: EIP-1559; the replacement rule of common nodes (both caps at least 10 % higher), which holds for cancellations as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

from lockstep.chains.evm import Address, FeeMarket, Fees
from lockstep.kit.money import ceil_div
from lockstep.transactions.errors import FeeCeilingTooLow
from lockstep.transactions.types import Attempt, Form, Transaction

GAS_HEADROOM_PERCENT = 20
"""Added to an estimate: state moves between the estimate and the block."""
DATA_FEE_HEADROOM_PERCENT = 50
"""Added to a data fee: the base fee of the parent chain moves by up to an eighth with each of its blocks."""


def bound_fees(
    market: FeeMarket, offer: Fees, ceiling: int, tip_ceiling: int | None, *, is_legacy: bool
) -> Fees | None:
    """The offer under the ceilings; None when the next block would not take them or pools would refuse them, which means wait:
    what no pool takes must not get a nonce, or it holds up its account.

    Where the ceilings cut the offer, an eighth is left below them as long as the next block takes that too: so there is room
    for one replacement, and a transaction that reaches its ceiling is not stuck there. Wei per gas.

    Args:
        is_legacy: a transaction of type 0; it has no tip, and no ceiling of one.
    """
    wanted = offer.max_fee_per_gas
    if is_legacy:
        price = _cut(wanted, ceiling, market.least_fee)
        return None if price < market.least_fee else Fees(price, price)
    tip = offer.max_priority_fee_per_gas
    if tip_ceiling is not None:
        tip = _cut(tip, tip_ceiling, market.least_tip)
    max_fee = _cut(wanted, ceiling, market.least_fee + tip)
    tip = min(tip, max_fee - market.least_fee)
    return None if tip < market.least_tip else Fees(max_fee, tip)


def bump_fees(old: Fees, offer: Fees, ceiling: int, tip_ceiling: int | None, *, is_legacy: bool) -> Fees | None:
    """Fees of a replacement: both caps 12.5 % higher (rounded up), or the offer where that is more.

    None when the ceilings do not leave room for what nodes demand (10 % on both).
    """
    max_fee = min(max(_step(old.max_fee_per_gas), offer.max_fee_per_gas), ceiling)
    tip = max_fee
    if not is_legacy:
        tip = min(max(_step(old.max_priority_fee_per_gas), offer.max_priority_fee_per_gas), max_fee)
        tip = tip if tip_ceiling is None else min(tip, tip_ceiling)
    new = Fees(max_fee, tip)
    return new if is_replacement(old, new) else None


def helps_to_pay_more(newest: Fees, market: FeeMarket, *, has_fee_auction: bool) -> bool:
    """Whether a dearer form would be mined sooner: always where blocks are auctioned, else only below the base fee."""
    return has_fee_auction or newest.max_fee_per_gas < market.least_fee


def _step(cap: int) -> int:
    """An eighth more, rounded up; from 0 one wei, as nodes want both caps strictly higher."""
    return max(ceil_div(cap * 9, 8), cap + 1)


def _cut(wanted: int, ceiling: int, least: int) -> int:
    """`wanted` under a ceiling; of what the ceiling cuts, 8/9 of it (rounded down) where that is not below `least`."""
    return min(wanted, max(ceiling * 8 // 9, min(least, ceiling)))


def is_replacement(old: Fees, new: Fees) -> bool:
    """Whether nodes take `new` in place of `old`: both caps at least 10 % higher and strictly larger."""
    return all(
        after * 100 >= before * 110 and after > before
        for before, after in (
            (old.max_fee_per_gas, new.max_fee_per_gas),
            (old.max_priority_fee_per_gas, new.max_priority_fee_per_gas),
        )
    )


def goes_private(is_private: bool, first_sent_block: int | None, head: int, fallback_blocks: int | None) -> bool:
    """Whether the bytes go to the private node only.

    Args:
        first_sent_block: head at which the first form was first sent; None before that.
        fallback_blocks: blocks after which an unmined private transaction is sent to all nodes; None: never.
    """
    if not is_private or fallback_blocks is None or first_sent_block is None:
        return is_private
    return head - first_sent_block < fallback_blocks


def free_nonces(chain_nonce: int, reserved: Collection[int]) -> Iterator[int]:
    """Nonces that the account may use, lowest first: not mined and not reserved. Gaps come first, so they close."""
    return (nonce for nonce in count(chain_nonce) if nonce not in reserved)


def with_headroom(estimate: int, cap: int | None) -> int:
    """Gas limit for an estimate, rounded up; at most the chain's cap per transaction unless the estimate is above it."""
    wanted = ceil_div(estimate * (100 + GAS_HEADROOM_PERCENT), 100)
    return wanted if cap is None else min(wanted, max(estimate, cap))


def cost(value: int, gas_limit: int, max_fee_per_gas: int, data_fee: int) -> int:
    """The most that a transaction can take from its account, wei."""
    return value + gas_limit * max_fee_per_gas + data_fee


def kept_for_data(data_fee: int) -> int:
    """What is kept back for a data fee of now, wei, rounded up: half more covers three full blocks of the parent chain."""
    return ceil_div(data_fee * (100 + DATA_FEE_HEADROOM_PERCENT), 100)


def content_hash(to: Address | None, value: int, data: bytes) -> bytes:
    """What a replacement must leave unchanged, as 32 bytes."""
    head = (to or "").encode() + b"|" + str(value).encode() + b"|"
    return hashlib.sha256(head + data).digest()


def cancellation_ceiling(chain_ceiling: int) -> int:
    """Highest fee per gas of a cancellation, wei: an eighth above the chain's ceiling, rounded up.

    No transaction pays more than the chain's ceiling, and its cancellation must pay a tenth more than it: so whatever is
    capped can still be cancelled. It takes little gas.
    """
    return ceil_div(chain_ceiling * 9, 8)


def content_of(transaction: Transaction, form: Form) -> Transaction:
    """The transaction with the content of one of its forms."""
    if form is Form.ORIGINAL:
        return transaction
    return replace(transaction, to=transaction.sender, value=0, data=b"")


def sped_up_fees(transaction: Transaction, newest: Attempt | None, market: FeeMarket, chain_ceiling: int) -> Fees:
    """Fees of the next form, wei per gas, under the transaction's ceilings and the chain's.

    Args:
        newest: None while it has no nonce; then the fees that it could go with now.
    Raises:
        FeeCeilingTooLow: with what nodes want.
    """
    own, tip_ceiling = transaction.max_fee_ceiling, transaction.max_priority_fee_ceiling
    ceiling = chain_ceiling if own is None else min(own, chain_ceiling)
    offer, is_legacy = market.offer(transaction.speed, is_legacy=transaction.is_legacy), transaction.is_legacy
    if newest is None:
        fees = bound_fees(market, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
        if fees is None:
            raise FeeCeilingTooLow(
                f"the next block takes {market.least_fee} wei per gas and a tip; the ceiling is {ceiling}"
            )
        return fees
    old = Fees(newest.max_fee_per_gas, newest.max_priority_fee_per_gas)
    fees = bump_fees(old, offer, ceiling, tip_ceiling, is_legacy=is_legacy)
    if fees is None:
        tip = "" if tip_ceiling is None else f" and a tip ceiling of {tip_ceiling}"
        raise FeeCeilingTooLow(
            f"nodes want a tenth more than {old.max_fee_per_gas} and a tip of {old.max_priority_fee_per_gas} wei per gas,"
            f" under a fee ceiling of {ceiling}{tip}"
        )
    return fees


def open_gaps(
    next_nonce: int, highest: int, holders: Mapping[int, datetime | None], now: datetime, grace: timedelta
) -> list[int]:
    """Nonces below something in flight that nobody is going to send, lowest first.

    Args:
        next_nonce: what the chain takes next.
        highest: nonce of the account's last transaction in flight.
        holders: reserved nonces: when one was signed for a caller who sends it, None for transactions of the engine.
        grace: how long a caller may take to send.
    """
    gaps = []
    for nonce in range(next_nonce, highest):
        claimed_at = holders.get(nonce)
        if nonce not in holders or (claimed_at is not None and now - claimed_at >= grace):
            gaps.append(nonce)
    return gaps


def is_jammed(
    head: int, sent_block: int | None, reserved_at: datetime, now: datetime, blocks: int, block_time: timedelta
) -> bool:
    """Whether an account's first unmined transaction is older than so many blocks, sent or not."""
    if sent_block is not None:
        return head - sent_block >= blocks
    return now - reserved_at >= blocks * block_time


def low_accounts(balances: Mapping[Address, int], threshold: int) -> list[Address]:
    """Accounts with less than the threshold, wei; a threshold of 0 finds none."""
    return [address for address, balance in balances.items() if balance < threshold]
