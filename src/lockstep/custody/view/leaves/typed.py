"""Leaves of typed data: permits, authorizations, orders and what owners of a Safe sign, by their exact types.

Typed data of other types may stand for anything: everything on its chain is in doubt.

Sources: EIP-2612, the permit of DAI, EIP-3009, Permit2 (AllowanceTransfer and SignatureTransfer), Safe 1.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from lockstep.chains.evm import TypedData
from lockstep.custody.view.leaves.calls import Seen, Walk, safe_call
from lockstep.custody.view.leaves.types import UNLIMITED, Doubt, Leaf, LeafKind
from lockstep.custody.view.orders import ORDER

_Part: TypeAlias = tuple[LeafKind, str, int, str | None]
_Read: TypeAlias = Callable[[str, dict[str, Any]], list[_Part]]
"""From the verifying contract and the message to (kind, token, amount, to)."""

_DETAILS: Final = "PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)"
_PERMISSIONS: Final = "TokenPermissions(address token,uint256 amount)"
_SAFE: Final = (
    "SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,uint256 gasPrice,"
    "address gasToken,address refundReceiver,uint256 nonce)"
)
_AUTHORIZATION: Final = "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
_TERMS: Final = [("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256")]


def see_typed_data(data: TypedData, chain: str | None, signer: str) -> Seen:
    """What a signature over typed data lets move."""
    contract = data.domain.get("verifyingContract")
    read = _READERS.get(data.encoded_type) or _witnessed(data)
    if isinstance(contract, str) and read is not None:
        parts = read(contract, data.message)
        return Seen((), tuple(Leaf(kind, chain, token, amount, to) for kind, token, amount, to in parts if amount), ())
    if data.encoded_type == _SAFE:
        m: dict[str, Any] = data.message
        call = safe_call(m["to"], m["value"], m["data"], m["operation"], m["gasPrice"])
        if call is not None:
            safe = contract if isinstance(contract, str) else signer
            return Walk(chain, safe).see(call)
    return Seen((), (), (Doubt(chain, None, "what this typed data stands for is not known"),))


def _permit(token: str, message: dict[str, Any]) -> list[_Part]:
    return [(LeafKind.ALLOWANCE, token, message["value"], message["spender"])]


def _dai_permit(token: str, message: dict[str, Any]) -> list[_Part]:
    return [(LeafKind.ALLOWANCE, token, UNLIMITED if message["allowed"] else 0, message["spender"])]


def _authorization(token: str, message: dict[str, Any]) -> list[_Part]:
    return [(LeafKind.TRANSFER, token, message["value"], message["to"])]


def _details(_permit2: str, message: dict[str, Any]) -> list[_Part]:
    details = message["details"]
    entries = details if isinstance(details, list) else [details]
    return [(LeafKind.ALLOWANCE, entry["token"], entry["amount"], message["spender"]) for entry in entries]


def _permitted(_permit2: str, message: dict[str, Any]) -> list[_Part]:
    """A transfer by signature does not say to whom; its spender decides."""
    permitted = message["permitted"]
    entries = permitted if isinstance(permitted, list) else [permitted]
    return [(LeafKind.ALLOWANCE, entry["token"], entry["amount"], message["spender"]) for entry in entries]


def _order(_factory: str, message: dict[str, Any]) -> list[_Part]:
    return [(LeafKind.TRANSFER, message["sourceToken"], message["sourceAmount"], None)]


def _none(_contract: str, _message: dict[str, Any]) -> list[_Part]:
    return []


def _witnessed(data: TypedData) -> _Read | None:
    """A transfer by signature under further terms, whose types are their contract's own; they only narrow it."""
    permissions = {
        "PermitWitnessTransferFrom": "TokenPermissions",
        "PermitBatchWitnessTransferFrom": "TokenPermissions[]",
    }
    kind = permissions.get(data.primary_type)
    members = data.types[data.primary_type]
    if kind is None or members[:4] != [("permitted", kind), *_TERMS]:
        return None
    return _permitted if _PERMISSIONS in data.encoded_type else None


_READERS: dict[str, _Read] = {
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)": _permit,
    "Permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed)": _dai_permit,
    "TransferWithAuthorization" + _AUTHORIZATION: _authorization,
    "ReceiveWithAuthorization" + _AUTHORIZATION: _authorization,
    "CancelAuthorization(address authorizer,bytes32 nonce)": _none,
    "PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)" + _DETAILS: _details,
    "PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)" + _DETAILS: _details,
    "PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)"
    + _PERMISSIONS: _permitted,
    "PermitBatchTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline)"
    + _PERMISSIONS: _permitted,
    ORDER: _order,
}
