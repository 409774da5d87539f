"""Views of what Cardano wallets sign: a transaction by its outputs, a message by its text. Pure.

Nobody can see from a body what its inputs are worth. What a wallet loses is what goes to others, the fee, and what
certificates, minting, scripts and a donation take; so rules see every output on its own and all of the others together.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from lockstep.chains.cardano import (
    Output,
    TransactionBody,
    key_hash,
    message_digest,
    message_payload,
    payment_key_hash,
    read_address,
    read_body,
)
from lockstep.chains.evm import Address
from lockstep.custody.view.errors import ViewMismatch
from lockstep.custody.view.types import FieldValue, Method, RequestView, SignCardano, SignCardanoData

_SOURCE = "cardano_transaction."


class CardanoAccount(NamedTuple):
    """Whose wallet it is: the fingerprint of its key, the key, and its address."""

    fingerprint: Address
    public_key: bytes
    address: str


def view_body(request: SignCardano, account: CardanoAccount) -> RequestView:
    """The view of a transaction: one part for each output, and for each token in it.

    Raises:
        ViewMismatch: the bytes read differently a second time.
    """
    body = read_body(request.body.raw)
    if body != request.body:
        raise ViewMismatch
    whole = RequestView(
        method=Method.SIGN_CARDANO,
        from_address=account.fingerprint,
        chain=None,
        fields=_shared_fields(body),
        payload=body.raw,
        digest=body.id,
        cardano_body=body,
    )
    own = key_hash(account.public_key)
    parts = [part for output in body.outputs for part in _output_fields(output, own)]
    return replace(whole, parts=tuple(replace(whole, fields={**whole.fields, **part}) for part in parts))


def view_data(request: SignCardanoData, account: CardanoAccount) -> RequestView:
    """The view of a message under the wallet's address (CIP-8)."""
    fields: dict[str, FieldValue] = {"cardano_message.byte_length": len(request.content)}
    with suppress(UnicodeDecodeError):  # no text: absent, so that no rule about text can hold
        fields["cardano_message.content"] = request.content.decode()
    payload = message_payload(signing_address(account), request.content)
    return RequestView(
        method=Method.SIGN_CARDANO_DATA,
        from_address=account.fingerprint,
        chain=None,
        fields=fields,
        payload=payload,
        digest=message_digest(payload),
        message=request.content,
    )


def signing_address(account: CardanoAccount) -> bytes:
    """The bytes of the wallet's address.

    Raises:
        ViewMismatch: it is not that of the wallet's key.
    """
    address = read_address(account.address)
    if payment_key_hash(address) != key_hash(account.public_key):
        raise ViewMismatch
    return address


def is_own(output: Output, public_key: bytes) -> bool:
    """Whether the wallet's key can spend an output again, without any script."""
    return payment_key_hash(output.address) == key_hash(public_key)


def _output_fields(output: Output, own: bytes) -> list[dict[str, FieldValue]]:
    fields: dict[str, FieldValue] = {
        _SOURCE + "address": output.text,
        _SOURCE + "lovelace": output.lovelace,
        _SOURCE + "is_own": payment_key_hash(output.address) == own,
        _SOURCE + "token_count": len(output.tokens),
    }
    return [
        {
            **fields,
            _SOURCE + "token": f"{token.policy_id.hex()}.{token.name.hex()}",
            _SOURCE + "token_amount": token.amount,
        }
        for token in output.tokens
    ] or [fields]


def _shared_fields(body: TransactionBody) -> dict[str, FieldValue]:
    fields: dict[str, FieldValue] = {
        _SOURCE + "fee": body.fee,
        _SOURCE + "output_count": len(body.outputs),
        _SOURCE + "certificate_count": len(body.certificates),
        _SOURCE + "withdrawal_count": len(body.withdrawals),
        _SOURCE + "mint_count": len(body.mint),
        _SOURCE + "donation": body.donation,
        _SOURCE + "runs_scripts": body.has_scripts,
    }
    if body.ttl is not None:
        fields[_SOURCE + "ttl"] = body.ttl
    return fields
