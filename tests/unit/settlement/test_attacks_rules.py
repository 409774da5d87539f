"""Attacks on the pure rules: windows that are too short to be used, chains that hide how late it is, caps that are used up."""

from dataclasses import replace

import pytest
from swap_model import LOCKS, PROFILE

from lockstep.settlement.rules import time_locks_fault


@pytest.mark.parametrize(
    "change",
    [
        {"source_withdrawal": 88, "source_public_withdrawal": 89},
        {"source_public_withdrawal": 79},
    ],
    ids=str,
)
def test_time_locks__source_withdrawal_window_too_short_to_use__are_refused(change: dict[str, int]) -> None:
    # The maker would be paid on the destination and have its tokens back before anybody could withdraw them.
    assert time_locks_fault(replace(LOCKS, **change), PROFILE) is not None
    assert time_locks_fault(replace(LOCKS, source_public_withdrawal=78), PROFILE) is None


def test_time_locks__taker_has_no_time_to_cancel_before_everybody__are_refused() -> None:
    # The maker would keep its secret, cancel first and earn the taker's safety deposit.
    assert time_locks_fault(replace(LOCKS, source_public_cancellation=97), PROFILE) is not None
    assert time_locks_fault(replace(LOCKS, source_public_cancellation=98), PROFILE) is None
