"""Builds the view of a request from the bytes that will be signed: encode, decode, compare, and only then read.

Pure: no database, no node, no clock. What a request leaves open is absent from the view, never zero.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from lockstep.chains.evm import (
    Address,
    Authorization,
    TypedData,
    UnsignedTransaction,
    blind_digest,
    chain_name,
    decode_authorization,
    decode_unsigned,
    encode_blind,
    intrinsic_gas,
    keccak256,
    personal_digest,
)
from lockstep.custody.view.batches import as_calls, sent_draft, view_user_operation
from lockstep.custody.view.errors import ViewMismatch, WrongSender
from lockstep.custody.view.types import (
    BlindSign,
    FieldValue,
    Method,
    PersonalSign,
    RequestView,
    RpcRequest,
    SendTransaction,
    SignAuthorization,
    SignTransaction,
    SignTypedData,
    SignUserOperation,
    TransactionDraft,
)

_CEILINGS = ("gas_limit", "max_fee_per_gas", "max_priority_fee_per_gas")


def view_request(request: RpcRequest, wallet_address: Address) -> RequestView:
    """The view of a parsed request for this wallet.

    Raises:
        WrongSender: the request names another sender.
        MalformedTransaction: a draft whose numbers do not hold together.
        ViewMismatch: the encoded bytes decode to something else.
    """
    if isinstance(request, SendTransaction | SignTransaction):
        if request.from_address is not None and request.from_address != wallet_address:
            raise WrongSender(f"from must be the wallet {wallet_address}, was {request.from_address}")
        if isinstance(request, SendTransaction):
            view = view_draft(sent_draft(request, wallet_address), wallet_address)
            return as_calls(view) if request.method is Method.SEND_CALLS else view
        return view_transaction(request.transaction, wallet_address, Method.SIGN_TRANSACTION)
    if isinstance(request, SignAuthorization):
        return view_authorization(request.authorization, wallet_address, wallet_address)
    if isinstance(request, SignUserOperation):
        return view_user_operation(request.operation, wallet_address)
    if isinstance(request, BlindSign):
        return view_blind(request, wallet_address)
    if isinstance(request, PersonalSign):
        return view_message(request.content, wallet_address)
    assert isinstance(request, SignTypedData), "requests of Cardano wallets have views of their own"
    return view_typed_data(request.data, wallet_address)


def view_transaction(transaction: UnsignedTransaction, from_address: Address, method: Method) -> RequestView:
    """The view of a complete transaction, read from its signing payload.

    Args:
        method: `eth_signTransaction`, or `eth_sendTransaction` for a queued one whose nonce is bound now.
    Raises:
        ViewMismatch: the payload decodes to something else.
    """
    payload = transaction.signing_payload()
    decoded = _decode_again(transaction, payload)
    view = RequestView(
        method=method,
        from_address=from_address,
        chain=chain_name(decoded.chain_id),
        fields=_transaction_fields(decoded, from_address, ()),
        payload=payload,
        digest=keccak256(payload),
        transaction=decoded,
    )
    if not decoded.authorizations:
        return view
    # An authorization hands over an account, so a rule about the transaction alone never carries it.
    given = [
        view_authorization(one.authorization, one.recover_authority(), from_address) for one in decoded.authorizations
    ]
    return replace(view, parts=(view, *given))


def view_sent(transaction: UnsignedTransaction, from_address: Address, method: Method) -> RequestView:
    """The view of a queued transaction whose numbers are bound now.

    Args:
        method: the one that it was asked for with.
    Raises:
        ViewMismatch: the payload decodes to something else.
    """
    view = view_transaction(transaction, from_address, Method.SEND_TRANSACTION)
    return as_calls(view) if method is Method.SEND_CALLS else view


def view_authorization(authorization: Authorization, authority: Address, from_address: Address) -> RequestView:
    """The view of an EIP-7702 authorization.

    Args:
        authority: the account that is handed over; the wallet itself, or another one whose authorization it carries.

    Raises:
        ViewMismatch: the payload decodes to something else.
    """
    payload = authorization.signing_payload()
    decoded = decode_authorization(payload)
    if decoded != authorization:
        raise ViewMismatch
    source = "ethereum_7702_authorization."
    return RequestView(
        method=Method.SIGN_AUTHORIZATION,
        from_address=from_address,
        chain=chain_name(decoded.chain_id) if decoded.chain_id else None,
        fields={
            source + "contract": decoded.contract,
            source + "chain_id": decoded.chain_id,
            source + "nonce": decoded.nonce,
            source + "authority": authority,
        },
        payload=payload,
        digest=keccak256(payload),
        authorization=decoded,
    )


def view_blind(request: BlindSign, from_address: Address) -> RequestView:
    """The view of what is signed blindly: there are no facts about it."""
    encoded = encode_blind(request.content, request.function)
    return RequestView(
        method=Method.SIGN_HASH,
        from_address=from_address,
        chain=None,
        fields={},
        payload=encoded,
        digest=blind_digest(encoded),
    )


def view_draft(draft: TransactionDraft, from_address: Address) -> RequestView:
    """The view of a transaction to be sent, before its nonce and, it may be, its gas and fees are bound.

    What is open holds a placeholder while the bytes are made and read again, and is then absent from the facts.

    Raises:
        MalformedTransaction: numbers out of range, data above 128 KiB, gas below the intrinsic cost.
        ViewMismatch: the bytes decode to something else.
    """
    open_fields = ("nonce", *(name for name in _CEILINGS if getattr(draft, name) is None))
    fee, tip = draft.max_fee_per_gas, draft.max_priority_fee_per_gas or 0
    if draft.type == 0:
        fee = tip = fee or 0  # one gas price
    complete = UnsignedTransaction(
        chain_id=draft.chain_id,
        to=draft.to,
        value=draft.value,
        data=draft.data,
        nonce=0,
        gas_limit=intrinsic_gas(draft.to, draft.data) if draft.gas_limit is None else draft.gas_limit,
        max_fee_per_gas=tip if fee is None else fee,
        max_priority_fee_per_gas=tip,
        type=draft.type,
    )
    decoded = _decode_again(complete, complete.signing_payload())
    return RequestView(
        method=Method.SEND_TRANSACTION,
        from_address=from_address,
        chain=chain_name(decoded.chain_id),
        fields=_transaction_fields(decoded, from_address, open_fields),
        payload=None,
        digest=None,
        transaction=decoded,
        open_fields=open_fields,
    )


def view_message(content: bytes, from_address: Address) -> RequestView:
    """The view of a `personal_sign` message; its text is a fact only where the bytes are valid UTF-8."""
    fields: dict[str, FieldValue] = {"ethereum_message.byte_length": len(content)}
    with suppress(UnicodeDecodeError):  # no text: absent, so that no rule about text can hold
        fields["ethereum_message.content"] = content.decode()
    return RequestView(
        method=Method.PERSONAL_SIGN,
        from_address=from_address,
        chain=None,
        fields=fields,
        payload=b"\x19Ethereum Signed Message:\n" + str(len(content)).encode() + content,
        digest=personal_digest(content),
        message=content,
    )


def view_typed_data(data: TypedData, from_address: Address) -> RequestView:
    """The view of typed data, from what the encoder says it encoded."""
    fields: dict[str, FieldValue] = {}
    for member, value in data.domain.items():
        if not isinstance(value, list | dict):
            fields[f"ethereum_typed_data_domain.{_DOMAIN_NAMES.get(member, member)}"] = value
    chain_id = data.domain.get("chainId")
    return RequestView(
        method=Method.SIGN_TYPED_DATA,
        from_address=from_address,
        chain=chain_name(chain_id) if isinstance(chain_id, int) and chain_id > 0 else None,
        fields=fields,
        payload=b"\x19\x01" + data.domain_separator + data.struct_hash,
        digest=data.digest,
        typed_data=data,
    )


_DOMAIN_NAMES = {"chainId": "chain_id", "verifyingContract": "verifying_contract"}


def _decode_again(transaction: UnsignedTransaction, payload: bytes) -> UnsignedTransaction:
    decoded = decode_unsigned(payload)
    if decoded != transaction:
        raise ViewMismatch
    return decoded


def _transaction_fields(
    transaction: UnsignedTransaction, from_address: Address, open_fields: tuple[str, ...]
) -> dict[str, FieldValue]:
    source = "ethereum_transaction."
    fields: dict[str, FieldValue] = {
        source + "from": from_address,
        source + "value": transaction.value,
        source + "chain_id": transaction.chain_id,
        source + "data": transaction.data,
        source + "type": transaction.type,
    }
    for name in ("nonce", "gas_limit", "max_fee_per_gas"):
        if name not in open_fields:
            fields[source + name] = getattr(transaction, name)
    if transaction.type >= 2 and "max_priority_fee_per_gas" not in open_fields:  # a gas price has no tip
        fields[source + "max_priority_fee_per_gas"] = transaction.max_priority_fee_per_gas
    if transaction.type == 3:
        fields[source + "max_fee_per_blob_gas"] = transaction.max_fee_per_blob_gas
        fields[source + "blob_count"] = len(transaction.blob_hashes)
    if transaction.to is not None:  # a creation has no recipient: absent, never the zero address
        fields[source + "to"] = transaction.to
        if len(transaction.data) >= 4:
            fields[source + "function_selector"] = transaction.data[:4]
    return fields
