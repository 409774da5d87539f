"""Reads the params of `eth_signUserOperation` (ERC-4337, entry point version 0.7)."""

from __future__ import annotations

from lockstep.chains.evm import UserOperation
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import SignUserOperation

MAX_BYTES = 131_072
_AT = "params.user_operation"
_NUMBERS = {
    "nonce": 256,
    "call_gas_limit": 128,
    "verification_gas_limit": 128,
    "pre_verification_gas": 256,
    "max_fee_per_gas": 128,
    "max_priority_fee_per_gas": 128,
}
_REQUIRED = {"sender", "call_data", *_NUMBERS}
_PAYMASTER = {"paymaster_verification_gas_limit": 128, "paymaster_post_op_gas_limit": 128}


def parse_user_operation(reader: Reader, params: object, preview_digest: str | None) -> SignUserOperation:
    """Read a user operation: `{"chain_id", "contract": entry point, "user_operation"}`, every number given.

    Raises:
        RpcInvalid: all faults together.
        MalformedTransaction: parts that do not hold together, or the entry point of another version.
    """
    given = reader.members(params, "params", required={"chain_id", "contract", "user_operation"})
    chain_id = reader.quantity(given["chain_id"], "params.chain_id", 64) if "chain_id" in given else 0
    entry_point = reader.address(given["contract"], "params.contract") if "contract" in given else None
    found = reader.members(
        given.get("user_operation", {}),
        _AT,
        required=_REQUIRED,
        optional={"factory", "factory_data", "paymaster", "paymaster_data", *_PAYMASTER},
    )
    raw = {name: value for name, value in found.items() if value is not None or name in _REQUIRED}
    address = {
        name: reader.address(raw[name], f"{_AT}.{name}") for name in ("sender", "factory", "paymaster") if name in raw
    }
    blob = {
        name: reader.blob(raw[name], f"{_AT}.{name}", MAX_BYTES)
        for name in ("call_data", "factory_data", "paymaster_data")
        if name in raw
    }
    number = {
        name: reader.quantity(raw[name], f"{_AT}.{name}", bits)
        for name, bits in {**_NUMBERS, **_PAYMASTER}.items()
        if name in raw
    }
    reader.check()
    sender = address["sender"]
    assert entry_point is not None  # missing ones are faults above
    assert sender is not None
    operation = UserOperation(
        chain_id=chain_id,
        entry_point=entry_point,
        sender=sender,
        nonce=number["nonce"],
        call_data=blob["call_data"],
        call_gas_limit=number["call_gas_limit"],
        verification_gas_limit=number["verification_gas_limit"],
        pre_verification_gas=number["pre_verification_gas"],
        max_fee_per_gas=number["max_fee_per_gas"],
        max_priority_fee_per_gas=number["max_priority_fee_per_gas"],
        factory=address.get("factory"),
        factory_data=blob.get("factory_data", b""),
        paymaster=address.get("paymaster"),
        paymaster_verification_gas_limit=number.get("paymaster_verification_gas_limit", 0),
        paymaster_post_op_gas_limit=number.get("paymaster_post_op_gas_limit", 0),
        paymaster_data=blob.get("paymaster_data", b""),
    )
    return SignUserOperation(operation=operation, preview_digest=preview_digest)
