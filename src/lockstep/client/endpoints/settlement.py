"""Calls of transactions, orders, fills, secrets and swaps; and whether the deployment can serve."""

from __future__ import annotations

from lockstep.client.decoding import read
from lockstep.client.models import (
    BookOrder,
    HeldSecret,
    Price,
    Readiness,
    ReleasedSecret,
    Swap,
    TimelineEntry,
    Transaction,
    TransactionDetail,
)
from lockstep.client.orders import SwapOrder
from lockstep.client.requests import (
    Page,
    Request,
    Wait,
    get,
    given,
    listing,
    new_idempotency_key,
    nothing,
    of,
    segment,
    send,
)

# --- transactions -----------------------------------------------------------------------------------------------------


def get_transaction(transaction_id: str) -> Request[TransactionDetail]:
    """A transaction with every hash that it was signed under and its timeline."""
    return get(f"/v1/transactions/{segment(transaction_id)}", of(TransactionDetail))


def list_transactions(
    *,
    wallet_id: str | None = None,
    chain: str | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> Request[Page[Transaction]]:
    """The app's transactions, newest first."""
    return listing(
        "/v1/transactions", Transaction, wallet_id=wallet_id, chain=chain, state=state, cursor=cursor, limit=limit
    )


def wait_transaction(transaction_id: str, timeout_seconds: float = 120.0) -> Wait[TransactionDetail]:
    """Wait until a transaction does not change any more; look at its state, for it may have failed."""
    return Wait(
        request=get_transaction(transaction_id),
        is_done=lambda transaction: transaction.is_over,
        what=f"the end of transaction {transaction_id}",
        timeout_seconds=timeout_seconds,
    )


def cancel_transaction(transaction_id: str) -> Request[Transaction]:
    """Cancel a transaction: at once while it is not signed, else by a self-send under its nonce. Follow it to its end: it
    may have been mined before."""
    return send("POST", f"/v1/transactions/{segment(transaction_id)}/cancel", of(Transaction), is_repeatable=True)


def speed_up_transaction(
    transaction_id: str,
    *,
    max_fee_per_gas: int | None = None,
    max_priority_fee_per_gas: int | None = None,
    attempt: int | None = None,
) -> Request[Transaction]:
    """Make a transaction dearer now, at market fees under its ceilings, which may be raised here (wei per gas).

    Args:
        attempt: the attempt to be outbid, as the transaction shows it; with it the request may be repeated.
    """
    ceilings = {"max_fee_per_gas": max_fee_per_gas, "max_priority_fee_per_gas": max_priority_fee_per_gas}
    body: dict[str, object] = {name: str(ceiling) for name, ceiling in ceilings.items() if ceiling is not None}
    path = f"/v1/transactions/{segment(transaction_id)}/speed-up"
    return send("POST", path, of(Transaction), {**body, **given(attempt=attempt)}, is_repeatable=attempt is not None)


# --- orders -----------------------------------------------------------------------------------------------------------


def post_order(
    order: SwapOrder,
    signature: bytes,
    *,
    source_chain: str,
    source_factory: str,
    signature_kind: str = "eip712",
    permit: bytes = b"",
) -> Request[BookOrder]:
    """Put a signed order into the book. The same order again changes nothing.

    Args:
        source_chain: CAIP-2.
        permit: EIP-2612 permit of the maker for the factory: abi.encode(value, deadline, v, r, s).
    """
    body = {
        "source_chain": source_chain,
        "source_factory": source_factory,
        "order": order.wire(),
        "signature": "0x" + signature.hex(),
        "signature_kind": signature_kind,
        "permit": "0x" + permit.hex(),
    }
    return send("POST", "/v1/orders", of(BookOrder), body, is_repeatable=True)


def get_order(order_hash: str) -> Request[BookOrder]:
    """One order with its fills."""
    return get(f"/v1/orders/{segment(order_hash)}", of(BookOrder))


def list_orders(
    *,
    maker: str | None = None,
    state: str | None = None,
    validity: str | None = None,
    source_chain: str | None = None,
    destination_chain: str | None = None,
    source_token: str | None = None,
    destination_token: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> Request[Page[BookOrder]]:
    """Orders of the book, the newest first."""
    return listing(
        "/v1/orders",
        BookOrder,
        maker=maker,
        state=state,
        validity=validity,
        source_chain=source_chain,
        destination_chain=destination_chain,
        source_token=source_token,
        destination_token=destination_token,
        cursor=cursor,
        limit=limit,
    )


def get_price(order_hash: str, *, at: int | None = None) -> Request[Price]:
    """What a taker owes the maker at a moment of the source chain; default: its head."""
    return get(f"/v1/orders/{segment(order_hash)}/price", of(Price), at=at)


def cancel_order(order_hash: str) -> Request[BookOrder]:
    """Stop offering an order at once; it is `cancelled` once its nonce is invalidated for good."""
    return send("DELETE", f"/v1/orders/{segment(order_hash)}", of(BookOrder), is_repeatable=True)


def fill_order(
    order_hash: str,
    *,
    mode: str,
    wallet_id: str | None = None,
    session_signer_id: str | None = None,
    taker: str | None = None,
    idempotency_key: str | None = None,
) -> Request[Swap]:
    """Take an order: opens its swap.

    Args:
        mode: "managed" (name the wallet and the session signer that it granted to module:coordinator) or "external"
            (name the taker's address, which opens the source escrow itself).
    """
    body = given(fill_index=0, mode=mode, wallet_id=wallet_id, session_signer_id=session_signer_id, taker=taker)
    key = idempotency_key or new_idempotency_key()
    return send("POST", f"/v1/orders/{segment(order_hash)}/fills", of(Swap), body, idempotency_key=key)


def submit_secret(order_hash: str, secret: bytes, *, fill_index: int = 0) -> Request[Swap]:
    """Release the secret of a fill. Check both escrows yourself first: from then on the taker can withdraw."""
    body = {"fill_index": fill_index, "secret": "0x" + secret.hex()}
    return send("POST", f"/v1/orders/{segment(order_hash)}/secrets", of(Swap), body, is_repeatable=True)


def hold_secret(order_hash: str, secret: bytes, *, fill_index: int = 0) -> Request[HeldSecret]:
    """Leave the secret of a fill with the deployment, sealed; it is released for you once both escrows are final.

    You then trust the deployment to look at both chains, and need not be there when it is time.
    """
    path = f"/v1/orders/{segment(order_hash)}/fills/{fill_index}/held-secret"
    return send("PUT", path, of(HeldSecret), {"secret": "0x" + secret.hex()}, is_repeatable=True)


def take_back_secret(order_hash: str, *, fill_index: int = 0) -> Request[None]:
    """Have a held secret forgotten before it is released."""
    path = f"/v1/orders/{segment(order_hash)}/fills/{fill_index}/held-secret"
    return send("DELETE", path, nothing, is_repeatable=True)


def get_secret(order_hash: str, *, fill_index: int = 0) -> Request[ReleasedSecret]:
    """The released secret, for the taker of this fill only."""
    return get(f"/v1/orders/{segment(order_hash)}/fills/{fill_index}/secret", of(ReleasedSecret))


# --- swaps ------------------------------------------------------------------------------------------------------------


def get_swap(swap_id: str) -> Request[Swap]:
    """One swap in which the caller is a party."""
    return get(f"/v1/swaps/{segment(swap_id)}", of(Swap))


def list_swaps(*, state: str | None = None, cursor: str | None = None, limit: int | None = None) -> Request[Page[Swap]]:
    """Swaps in which the caller is a party, the newest first."""
    return listing("/v1/swaps", Swap, state=state, cursor=cursor, limit=limit)


def get_swap_timeline(swap_id: str) -> Request[tuple[TimelineEntry, ...]]:
    """Everything that happened to a swap, oldest first."""
    return get(
        f"/v1/swaps/{segment(swap_id)}/timeline", lambda answer: read(tuple[TimelineEntry, ...], answer["items"])
    )


def wait_swap(swap_id: str, timeout_seconds: float = 600.0) -> Wait[Swap]:
    """Wait until a swap does not change any more; look at its state, for it may have been undone."""
    return Wait(
        request=get_swap(swap_id),
        is_done=lambda swap: swap.is_over,
        what=f"the end of swap {swap_id}",
        timeout_seconds=timeout_seconds,
        every_seconds=0.5,
    )


# --- health -----------------------------------------------------------------------------------------------------------


def get_health() -> Request[Readiness]:
    """Whether the deployment can serve, and which part is missing."""
    request = get("/health/ready", of(Readiness))
    return Request(method=request.method, path=request.path, parse=request.parse, accepts=frozenset({503}))
