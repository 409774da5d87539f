"""What a chain asks for its gas now, and what to offer for each speed. Pure, integers in wei per gas.

Source: EIP-1559: the base fee moves by at most an eighth per block, so twice the next one survives five full blocks in a
row (1.125^5 = 1.80), and 5/4 of it one (1.125 and 1.125^2 = 1.27). Knows no ceiling, account or pending transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lockstep.chains.evm.wire import FeeHistory
from lockstep.kit.money import ceil_div


class Speed(StrEnum):
    """How soon a transaction should be mined."""

    SLOW = "slow"
    STANDARD = "standard"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee caps of EIP-1559, wei per gas; a transaction of type 0 has its gas price in both."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeMarket:
    """What the nodes of a chain ask for at a head, and what is offered for each speed."""

    least_fee: int
    """Base fee of the next block; on legacy chains the gas price that nodes ask for. What pays less waits."""
    least_tip: int
    """Pools of this chain refuse less."""
    offers: Mapping[Speed, Fees]

    def offer(self, speed: Speed, *, is_legacy: bool) -> Fees:
        """Fees for this speed; for a transaction of type 0 one price."""
        fees = self.offers[speed]
        return Fees(fees.max_fee_per_gas, fees.max_fee_per_gas) if is_legacy else fees


SPEED_PERCENTILES: Final = (10, 20, 60)
"""Percentiles of eth_feeHistory, ascending, in the order of `Speed`: the tip at which that share of a block's gas paid no more."""
_BASE_FEES: Final = {Speed.SLOW: (5, 4), Speed.STANDARD: (2, 1), Speed.FAST: (2, 1)}
"""How many times the next base fee the cap covers: numerator, denominator. What is not needed is not paid."""
_GAS_PRICES: Final = {Speed.SLOW: (1, 1), Speed.STANDARD: (11, 10), Speed.FAST: (5, 4)}
"""How many times the price that nodes ask for is offered, and paid, on legacy chains."""


def market_of_history(history: FeeHistory, tip_floor: int) -> FeeMarket:
    """The market of a chain with EIP-1559: per speed the median over the blocks of its percentile, at least the floor.

    Args:
        history: asked for with `SPEED_PERCENTILES`.
    """
    base, offers = history.next_base_fee, {}
    for column, speed in enumerate(Speed):
        tips = sorted(block[column] for block in history.rewards if len(block) > column)
        tip = max(tips[len(tips) // 2] if tips else 0, tip_floor)
        offers[speed] = Fees(_times(base, _BASE_FEES[speed]) + tip, tip)
    return FeeMarket(least_fee=base, least_tip=tip_floor, offers=offers)


def market_of_gas_price(gas_price: int, floor: int) -> FeeMarket:
    """The market of a chain without EIP-1559.

    Args:
        gas_price: eth_gasPrice.
        floor: the least that is offered.
    """
    asked = max(gas_price, floor)
    prices = {speed: _times(asked, _GAS_PRICES[speed]) for speed in Speed}
    return FeeMarket(
        least_fee=asked, least_tip=0, offers={speed: Fees(price, price) for speed, price in prices.items()}
    )


def _times(amount: int, ratio: tuple[int, int]) -> int:
    """Rounded up: a wei more rather than a block later."""
    return ceil_div(amount * ratio[0], ratio[1])
