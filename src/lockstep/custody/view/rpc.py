"""Reads the body of `POST /v1/wallets/{id}/rpc` into a typed request; every fault with its path, nothing unknown let by.

Envelope `{"method", "caip2"?, "chain_type"?, "params", "preview_digest"?}`. Quantities are 0x hex, decimal strings or JSON
integers up to 2^53-1. Sending may leave nonce, gas and fees open; pure signing may not: there is no default for a
number that is signed. Pure: asks no node and no database.
"""

from __future__ import annotations

from lockstep.custody.view.errors import MethodNotOffered
from lockstep.custody.view.parsing.authorizations import parse_authorization
from lockstep.custody.view.parsing.blind import parse_hash
from lockstep.custody.view.parsing.calls import parse_calls
from lockstep.custody.view.parsing.cardano import parse_cardano_data, parse_cardano_transaction
from lockstep.custody.view.parsing.messages import parse_personal_sign, parse_typed_data
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.parsing.transactions import parse_send, parse_sign
from lockstep.custody.view.parsing.user_operations import parse_user_operation
from lockstep.custody.view.types import CARDANO_METHODS, Method, RpcRequest


def parse_rpc(body: object) -> RpcRequest:
    """The typed request that a JSON body stands for.

    Raises:
        MethodNotOffered: another method.
        RpcInvalid: unknown or missing members, wrong types, numbers out of range; all faults together.
        MalformedTransaction: numbers that do not hold together, for example a tip above the fee.
        MalformedTypedData: an EIP-712 document that does not hold or carries what would not be signed.
    """
    reader = Reader()
    envelope = reader.members(
        body, "body", required={"method", "params"}, optional={"caip2", "chain_type", "preview_digest"}
    )
    method = envelope.get("method")
    if "method" in envelope and method not in set(Method):
        raise MethodNotOffered(
            f"expected one of {', '.join(Method)}, was {method[:64]!r}"
            if isinstance(method, str)
            else "method must be text"
        )
    family = "cardano" if method in CARDANO_METHODS else "ethereum"
    if envelope.get("chain_type", family) != family:
        reader.add("chain_type", f'expected "{family}"')
    preview_digest = reader.preview_digest(envelope.get("preview_digest"))
    chain_id = reader.caip2(envelope["caip2"]) if "caip2" in envelope else None
    reader.check()
    params = envelope["params"]
    if method == Method.SEND_TRANSACTION:
        return parse_send(reader, params, chain_id, preview_digest)
    if method == Method.SEND_CALLS:
        return parse_calls(reader, params, chain_id, preview_digest)
    if method == Method.SIGN_TRANSACTION:
        return parse_sign(reader, params, chain_id, preview_digest)
    if "caip2" in envelope:
        reader.add("caip2", f"not part of {method}")
    if method == Method.SIGN_AUTHORIZATION:
        return parse_authorization(reader, params, preview_digest)
    if method == Method.SIGN_CARDANO:
        return parse_cardano_transaction(reader, params, preview_digest)
    if method == Method.SIGN_CARDANO_DATA:
        return parse_cardano_data(reader, params, preview_digest)
    if method == Method.SIGN_HASH:
        return parse_hash(reader, params, preview_digest)
    if method == Method.SIGN_USER_OPERATION:
        return parse_user_operation(reader, params, preview_digest)
    if method == Method.PERSONAL_SIGN:
        return parse_personal_sign(reader, params, preview_digest)
    return parse_typed_data(reader, params, preview_digest)
