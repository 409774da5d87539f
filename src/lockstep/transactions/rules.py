"""Pure decisions of the engine: fees, nonces, replacements, what a refused send means. No database, node or clock.

Source: EIP-1559; the replacement rule of common nodes (both caps at least 10 % higher).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import count

from lockstep.chains.evm import Address, FeeHistory
from lockstep.kit.money import ceil_div
from lockstep.transactions.types import Fees

GAS_HEADROOM_PERCENT = 20
"""Added to an estimate: state moves between the estimate and the block."""
MAX_TRANSACTION_GAS = 2**24
"""Cap per transaction of EIP-7825."""


def market_fees(history: FeeHistory, tip_floor: int) -> Fees:
    """Fees that survive five full blocks in a row: twice the next base fee plus a tip.

    The tip is the median over the blocks of the lower percentile asked for, at least the floor. Wei per gas.
    """
    tips = sorted(block[0] for block in history.rewards if block)
    tip = max(tips[len(tips) // 2] if tips else 0, tip_floor)
    return Fees(2 * history.next_base_fee + tip, tip)


def bound_fees(market: Fees, next_base_fee: int, ceiling: int, tip_ceiling: int | None) -> Fees | None:
    """The market's fees under the ceilings; None when the next block would not take them, which means wait.

    Args:
        next_base_fee: wei per gas; the fee cap must cover it with the tip.
    """
    tip = market.max_priority_fee_per_gas if tip_ceiling is None else min(market.max_priority_fee_per_gas, tip_ceiling)
    max_fee = min(market.max_fee_per_gas, ceiling)
    if max_fee < next_base_fee + min(tip, 1):
        return None
    return Fees(max_fee, min(tip, max_fee - next_base_fee))


def bump_fees(old: Fees, market: Fees, ceiling: int, tip_ceiling: int | None) -> Fees | None:
    """Fees of a replacement: both caps 12.5 % higher (rounded up), or the market's where that is more.

    None when the ceilings do not leave room for what nodes demand (10 % on both).
    """
    max_fee = min(max(ceil_div(old.max_fee_per_gas * 9, 8), market.max_fee_per_gas), ceiling)
    tip = max(ceil_div(old.max_priority_fee_per_gas * 9, 8), market.max_priority_fee_per_gas)
    tip = min(tip, max_fee, max_fee if tip_ceiling is None else tip_ceiling)
    new = Fees(max_fee, tip)
    return new if is_replacement(old, new) else None


def is_replacement(old: Fees, new: Fees) -> bool:
    """Whether nodes take `new` in place of `old`: both caps at least 10 % higher and strictly larger."""
    return all(
        after * 100 >= before * 110 and after > before
        for before, after in (
            (old.max_fee_per_gas, new.max_fee_per_gas),
            (old.max_priority_fee_per_gas, new.max_priority_fee_per_gas),
        )
    )


def free_nonces(chain_nonce: int, reserved: Collection[int]) -> Iterator[int]:
    """Nonces that the account may use, lowest first: not mined and not reserved. Gaps come first, so they close."""
    return (nonce for nonce in count(chain_nonce) if nonce not in reserved)


def with_headroom(estimate: int) -> int:
    """Gas limit for an estimate, rounded up; at most the cap per transaction unless the estimate is above it."""
    return min(ceil_div(estimate * (100 + GAS_HEADROOM_PERCENT), 100), max(estimate, MAX_TRANSACTION_GAS))


def cost(value: int, gas_limit: int, max_fee_per_gas: int) -> int:
    """The most that a transaction can take from its account, wei."""
    return value + gas_limit * max_fee_per_gas


def content_hash(to: Address | None, value: int, data: bytes) -> bytes:
    """What a replacement must leave unchanged, as 32 bytes."""
    head = (to or "").encode() + b"|" + str(value).encode() + b"|"
    return hashlib.sha256(head + data).digest()


def backoff_seconds(failures: int, most: float = 5.0) -> float:  # house: float-near-money, because these are seconds
    """Pause after so many failures in a row: 0.2 s, doubling."""
    return min(most, 0.2 * float(1 << min(failures, 10)))  # house: float-near-money, because these are seconds
