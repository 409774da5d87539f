"""Views of what makes several calls at once: user operations, and batches that a wallet's own account makes. Pure.

A batch is one transaction of the account to itself, whose data is the batch form of ERC-7821 and ERC-7579. So the account
must run code that knows it (EIP-7702); then all of its calls are made, or none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lockstep.chains.evm import Address, UserOperation, abi_encode, abi_encode_call, chain_name, decode_user_operation
from lockstep.custody.view.errors import ViewMismatch
from lockstep.custody.view.leaves.calls import calls_of_account
from lockstep.custody.view.types import Call, FieldValue, Method, RequestView, SendTransaction, TransactionDraft

BATCH_MODE: Final = b"\x01" + bytes(31)
"""Execution mode of ERC-7579 and ERC-7821: a batch, and any failure undoes all of it."""


def view_user_operation(operation: UserOperation, from_address: Address) -> RequestView:
    """The view of a user operation.

    Where its data is a function by which accounts make calls, it stands for each of these calls; where it is anything else,
    there are no facts about calls, so that no rule about them can hold.

    Raises:
        ViewMismatch: the payload decodes to something else.
    """
    payload = operation.encode()
    decoded = decode_user_operation(payload)
    if decoded != operation:
        raise ViewMismatch
    view = RequestView(
        method=Method.SIGN_USER_OPERATION,
        from_address=from_address,
        chain=chain_name(decoded.chain_id),
        fields=_fields(decoded),
        payload=payload,
        digest=decoded.digest(),
        user_operation=decoded,
    )
    calls = [
        Call(Address(one.to), one.value, one.data) for one in calls_of_account(decoded.sender, decoded.call_data) or ()
    ]
    return replace(view, parts=view_calls(view, calls)) if calls else view


def sent_draft(request: SendTransaction, address: Address) -> TransactionDraft:
    """The transaction that a request to send stands for: of calls, the one call itself or the account's batch."""
    calls, draft = request.calls, request.draft
    if not calls:
        return draft
    if len(calls) == 1:
        return replace(draft, to=calls[0].to, value=calls[0].value, data=calls[0].data)
    listed = abi_encode(["(address,uint256,bytes)[]"], [[(call.to, call.value, call.data) for call in calls]])
    return replace(draft, to=address, value=0, data=abi_encode_call("execute(bytes32,bytes)", [BATCH_MODE, listed]))


def as_calls(view: RequestView) -> RequestView:
    """The view of a transaction that was asked for as calls: it stands for each of them.

    Read from the transaction itself, so that it is the same before and after it was queued.
    """
    own = view.call
    assert own is not None, "a transaction makes a call"
    inner = calls_of_account(view.from_address, own.data) if own.to == view.from_address else None
    calls = [own] if inner is None else [Call(Address(one.to), one.value, one.data) for one in inner]
    whole = replace(view, method=Method.SEND_CALLS)
    shared = {name: view.fields[name] for name in ("ethereum_transaction.from", "ethereum_transaction.chain_id")}
    base = replace(whole, fields=shared, transaction=None, call=None, payload=None, digest=None)
    return replace(whole, parts=view_calls(base, calls))


def view_calls(view: RequestView, calls: list[Call]) -> tuple[RequestView, ...]:
    """One view for each call: what is known of all of them, and the call itself as a transaction would show it."""
    return tuple(
        replace(view, call=call, fields={**view.fields, **_call_fields(call)}, _arguments={}) for call in calls
    )


def _call_fields(call: Call) -> dict[str, FieldValue]:
    source = "ethereum_transaction."
    fields: dict[str, FieldValue] = {source + "value": call.value, source + "data": call.data}
    if call.to is not None:
        fields[source + "to"] = call.to
        if len(call.data) >= 4:
            fields[source + "function_selector"] = call.data[:4]
    return fields


def _fields(operation: UserOperation) -> dict[str, FieldValue]:
    source = "ethereum_user_operation."
    fields: dict[str, FieldValue] = {
        "ethereum_transaction.from": operation.sender,
        "ethereum_transaction.chain_id": operation.chain_id,
        source + "sender": operation.sender,
        source + "entry_point": operation.entry_point,
        source + "nonce": operation.nonce,
        source + "call_data": operation.call_data,
        source + "max_fee_per_gas": operation.max_fee_per_gas,
        source + "max_cost": operation.max_cost,
    }
    if operation.factory is not None:
        fields[source + "factory"] = operation.factory
    if operation.paymaster is not None:
        fields[source + "paymaster"] = operation.paymaster
    return fields
