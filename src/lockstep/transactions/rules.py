"""Pure decisions of the engine: fees, nonces, replacements, what a refused send means. No database, node or clock.

Source: EIP-1559; the replacement rule of common nodes (both caps at least 10 % higher).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from enum import Enum
from itertools import count

from lockstep.chains.evm import Address, FeeMarket, Fees
from lockstep.kit.money import ceil_div

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


class AfterRefusal(Enum):
    """What follows when a simulation says that a transaction would fail."""

    WAIT = "wait"
    LOOK_AGAIN = "look_again"
    END = "end"


def after_refusal(earlier: int, looks: int, most_looks: int) -> AfterRefusal:
    """While earlier transactions of the account are not mined the refusal decides nothing: they may change the state that it
    rests on, as an approval does for a swap. Then the transaction gets a few looks, because nodes lag, and ends.

    Args:
        earlier: transactions of the account that were queued before it and are neither mined nor ended.
        looks: refusals in a row without earlier ones, this one included.
    """
    if earlier > 0:
        return AfterRefusal.WAIT
    return AfterRefusal.LOOK_AGAIN if looks < most_looks else AfterRefusal.END


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


def backoff_seconds(failures: int, most: float = 5.0) -> float:  # house: float-near-money, because these are seconds
    """Pause after so many failures in a row: 0.2 s, doubling."""
    return min(most, 0.2 * float(1 << min(failures, 10)))  # house: float-near-money, because these are seconds
