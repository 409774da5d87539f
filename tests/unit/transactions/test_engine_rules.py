"""How transactions end and what their accounts need, as pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evm import address
from tests.support.transactions import APP, WALLET

from lockstep.chains.evm import Fees
from lockstep.transactions import NotCancellable, State, Transaction
from lockstep.transactions.engine.rules import (
    check_cancellable,
    final_state,
    live_attempt,
    unsigned_end,
    wants_cancellation,
)
from lockstep.transactions.evm.rules import (
    bump_fees,
    cancellation_ceiling,
    content_of,
    is_jammed,
    low_accounts,
    open_gaps,
)
from lockstep.transactions.types import TERMINAL, Attempt, Form

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
gwei = st.integers(0, 10**13)


def transaction(**changes: Any) -> Transaction:
    fields: dict[str, Any] = dict.fromkeys(Transaction.__dataclass_fields__)
    fields |= {
        "id": "t",
        "app_id": APP,
        "wallet_id": WALLET,
        "chain": "eip155:31337",
        "sender": address(0),
        "to": address(5),
        "value": 7,
        "data": b"\x01",
        "state": State.BROADCAST,
        "nonce": 3,
        "cancels_late": True,
        "wanted_attempt": 0,
    }
    return Transaction(**(fields | changes))


def attempt(number: int, form: Form = Form.ORIGINAL, *, is_signed: bool = True) -> Attempt:
    return Attempt(
        transaction_id="t",
        attempt=number,
        form=form,
        app_id=APP,
        nonce=3,
        gas_limit=21_000,
        max_fee_per_gas=10 + number,
        max_priority_fee_per_gas=number,
        digest=bytes(32),
        created_at=NOW,
        raw=b"raw" if is_signed else None,
    )


@given(st.integers(1, 10**13), gwei, gwei, gwei)
def test_cancellation_ceiling__anything_under_the_chains_ceiling__can_be_outbid(
    ceiling: int, fee: int, tip: int, market: int
) -> None:
    old = Fees(min(fee, ceiling), min(fee, tip, ceiling))
    if old.max_fee_per_gas == 0:
        return  # no node takes it, so there is nothing to outbid
    new = bump_fees(old, Fees(market, 0), cancellation_ceiling(ceiling), None, is_legacy=False)
    assert new is not None
    assert new.max_fee_per_gas <= -(-ceiling * 9 // 8)


def test_content_of__cancellation__nothing_to_itself() -> None:
    t = content_of(transaction(), Form.CANCELLATION)
    assert (t.to, t.value, t.data, t.nonce) == (address(0), 0, b"", 3)
    assert content_of(transaction(), Form.ORIGINAL) == transaction()


def test_live_attempt__unsigned_cancellation__counts_only_while_it_is_to_be_signed() -> None:
    attempts = [attempt(1), attempt(2, Form.CANCELLATION, is_signed=False)]
    assert live_attempt(transaction(state=State.REPLACED), attempts).form is Form.CANCELLATION
    assert live_attempt(transaction(state=State.BROADCAST), attempts).form is Form.ORIGINAL
    assert live_attempt(transaction(), [attempt(1), attempt(2, Form.CANCELLATION)]).form is Form.CANCELLATION


@pytest.mark.parametrize(
    ("changes", "forms", "expected"),
    [
        ({}, [attempt(1)], False),
        ({"cancel_requested_at": NOW}, [attempt(1)], True),
        ({"cancel_requested_at": NOW}, [attempt(1), attempt(2, Form.CANCELLATION)], False),
        ({"deadline_at": NOW + timedelta(seconds=1)}, [attempt(1)], False),
        ({"deadline_at": NOW}, [attempt(1)], True),
        ({"deadline_at": NOW, "cancels_late": False}, [attempt(1)], False),
        ({"deadline_at": NOW, "cancels_late": False, "cancel_requested_at": NOW}, [attempt(1)], True),
    ],
)
def test_wants_cancellation__asked_or_late__once(changes: dict[str, Any], forms: list[Attempt], expected: bool) -> None:
    assert wants_cancellation(transaction(**changes), forms, NOW) is expected


def test_unsigned_end__taken_back_or_late__ends() -> None:
    assert unsigned_end(transaction(), NOW) is None
    assert (unsigned_end(transaction(deadline_at=NOW, cancels_late=False), NOW) or ("",))[0] is State.EXPIRED
    asked = transaction(cancel_requested_at=NOW, deadline_at=NOW)
    assert (unsigned_end(asked, NOW) or ("",))[0] is State.CANCELLED


@pytest.mark.parametrize("state", [State.MINED, *sorted(TERMINAL - {State.CANCELLED})])
def test_check_cancellable__mined_or_over__refused(state: State) -> None:
    with pytest.raises(NotCancellable):
        check_cancellable(transaction(state=state, succeeded=True))


@pytest.mark.parametrize("state", [State.QUEUED, State.RESERVED, State.SIGNED, State.BROADCAST, State.REPLACED])
def test_check_cancellable__open_or_cancelled__may_be_asked_for(state: State) -> None:
    check_cancellable(transaction(state=state))
    check_cancellable(transaction(state=State.CANCELLED))
    check_cancellable(transaction(state=State.MINED, succeeded=None))


def test_final_state__what_was_mined__decides() -> None:
    assert [final_state(each) for each in (True, False, None)] == [State.FINAL, State.REVERTED_FINAL, State.CANCELLED]


@given(
    st.integers(0, 20),
    st.integers(0, 30),
    st.dictionaries(st.integers(0, 30), st.none() | st.integers(0, 1_000).map(lambda s: NOW - timedelta(seconds=s))),
    st.integers(0, 1_000),
)
def test_open_gaps__any_holders__what_nobody_sends_below_the_last_one(
    next_nonce: int, highest: int, holders: dict[int, datetime | None], grace: int
) -> None:
    gaps = open_gaps(next_nonce, highest, holders, NOW, timedelta(seconds=grace))
    assert gaps == sorted(set(gaps))
    for nonce in range(next_nonce, highest):
        claimed_at = holders.get(nonce)
        is_ours = nonce in holders and claimed_at is None
        is_waited_for = claimed_at is not None and NOW - claimed_at < timedelta(seconds=grace)
        assert (nonce in gaps) is not (is_ours or is_waited_for)
    assert all(next_nonce <= nonce < highest for nonce in gaps)


def test_is_jammed__sent_or_not__by_blocks_or_their_usual_time() -> None:
    block = timedelta(seconds=12)
    assert not is_jammed(124, 100, NOW, NOW, 25, block)
    assert is_jammed(125, 100, NOW, NOW, 25, block)
    assert not is_jammed(10**6, None, NOW - timedelta(seconds=299), NOW, 25, block)
    assert is_jammed(0, None, NOW - timedelta(seconds=300), NOW, 25, block)


def test_low_accounts__below_the_threshold__named_and_none_without_one() -> None:
    balances = {address(0): 9, address(1): 10, address(2): 0}
    assert low_accounts(balances, 10) == [address(0), address(2)]
    assert low_accounts(balances, 0) == []
