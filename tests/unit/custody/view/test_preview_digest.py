from __future__ import annotations

from typing import Any

from lockstep.custody.view import parse_rpc, preview_digest, view_request

WALLET, SHOP, OTHER = "0x" + "11" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20
POLICIES = [("a", 1), ("b", 2)]


def digest(policies: list[tuple[str, int]] | None = None, wallet: str = WALLET, **changes: Any) -> str:
    transaction = {"to": SHOP, "value": "5", **changes.pop("transaction", {})}
    body = {"method": "eth_sendTransaction", "caip2": "eip155:1", "params": {"transaction": transaction}}
    view = view_request(parse_rpc(body), wallet)
    stands_for = {"decision": "allow", "sentence": "Send it", "quote": {"gas_limit": 21_000, "will_revert": None}}
    return preview_digest(view, POLICIES if policies is None else policies, **{**stands_for, **changes})


def test_preview_digest__same_content__is_the_same_in_any_order_of_policies() -> None:
    assert digest() == digest(policies=POLICIES[::-1])
    assert len(digest()) == 66


def test_preview_digest__anything_that_was_shown_changes__is_another() -> None:
    others = {
        digest(policies=[("a", 1), ("b", 3)]),
        digest(policies=[("a", 1)]),
        digest(policies=[("a", 12)]),
        digest(wallet=OTHER),
        digest(decision="deny"),
        digest(sentence="Send that"),
        digest(quote={"gas_limit": 21_001, "will_revert": None}),
        digest(quote={"gas_limit": 21_000, "will_revert": "no"}),
        digest(quote={"gas_limit": 2**60, "will_revert": None}),
        digest(quote=None),
        digest(transaction={"to": OTHER}),
        digest(transaction={"value": "6"}),
        digest(transaction={"data": "0x01"}),
        digest(transaction={"gas_limit": "50000"}),
        digest(transaction={"max_fee_per_gas": "0"}),
        digest(transaction={"max_priority_fee_per_gas": "0"}),
        digest(transaction={"max_priority_fee_per_gas": "1"}),
    }
    assert len(others) == 17
    assert digest() not in others
