"""Views of what makes several calls at once: user operations, with the calls that their account will make. Pure."""

from __future__ import annotations

from dataclasses import replace

from lockstep.chains.evm import Address, UserOperation, chain_name, decode_user_operation
from lockstep.custody.view.errors import ViewMismatch
from lockstep.custody.view.leaves.calls import calls_of_account
from lockstep.custody.view.types import Call, FieldValue, Method, RequestView


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
