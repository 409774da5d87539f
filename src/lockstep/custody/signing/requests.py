"""What each kind of request means on the road to a signature: what the signer is given, which nonces it takes, and how
the answer looks. Pure."""

from __future__ import annotations

from typing import NamedTuple

from lockstep.chains.cardano import cose_key, cose_sign1
from lockstep.chains.evm import Address, SignedAuthorization, chain_name, encode_signed, to_checksum, transaction_hash
from lockstep.custody.execution import (
    AuthorizationPayload,
    BlindPayload,
    CardanoMessagePayload,
    CardanoTransactionPayload,
    Payload,
    PersonalMessagePayload,
    Signature,
    TransactionPayload,
    TypedDataPayload,
    UserOperationPayload,
)
from lockstep.custody.signing.types import Authority, Execution
from lockstep.custody.signing.views import account_of
from lockstep.custody.view import (
    BlindSign,
    PersonalSign,
    RpcRequest,
    SendTransaction,
    SignAuthorization,
    SignCardano,
    SignCardanoData,
    SignTransaction,
    SignUserOperation,
    signing_address,
)


class NonceClaim(NamedTuple):
    """A nonce of the wallet that a signature uses up, and the digest that it belongs to from then on."""

    chain: str
    nonce: int
    digest: bytes


def nonces_of(request: RpcRequest, address: Address) -> tuple[NonceClaim, ...]:
    """The nonces that are reserved before this is signed, in order.

    An authorization of the account uses up a nonce like a transaction. One that its own transaction carries is reserved
    with that transaction, behind it; one for every chain is reserved on none, since no ledger can hold it everywhere.
    """
    if isinstance(request, SignAuthorization):
        given = request.authorization
        if request.is_self_executed or not given.chain_id:
            return ()
        return (NonceClaim(chain_name(given.chain_id), given.nonce, given.digest()),)
    if not isinstance(request, SignTransaction):
        return ()
    transaction, chain = request.transaction, request.chain
    own = [one.authorization for one in transaction.authorizations if one.recover_authority() == address]
    return (
        NonceClaim(chain, transaction.nonce, transaction.digest()),
        *(NonceClaim(chain, one.nonce, one.digest()) for one in own if one.chain_id in (0, transaction.chain_id)),
    )


def payload_of(request: RpcRequest, authority: Authority) -> Payload:
    """What the signer is given: structured, so that it computes the digest itself."""
    if isinstance(request, SignCardano):
        return CardanoTransactionPayload(request.body.raw)
    if isinstance(request, SignCardanoData):
        return CardanoMessagePayload(signing_address(account_of(authority)), request.content)
    if isinstance(request, SignTransaction):
        return TransactionPayload(request.transaction)
    if isinstance(request, SignAuthorization):
        return AuthorizationPayload(request.authorization)
    if isinstance(request, SignUserOperation):
        return UserOperationPayload(request.operation)
    if isinstance(request, BlindSign):
        return BlindPayload(request.content, request.function)
    if isinstance(request, PersonalSign):
        return PersonalMessagePayload(request.content)
    assert not isinstance(request, SendTransaction), "sent transactions are signed by the engine's batches"
    return TypedDataPayload(request.document)


def answer_of(request: RpcRequest, signature: Signature, execution: Execution) -> dict[str, object]:
    """The body of the answer to a request that was signed at once."""
    data: dict[str, object]
    payload, key = execution.payload, execution.public_key
    if isinstance(payload, CardanoTransactionPayload):
        data = {
            "encoding": "hex",
            "signature": signature.hex,
            "public_key": "0x" + key.hex(),
            "transaction_id": execution.digest.hex(),
        }
        return {"method": str(request.method), "data": data}
    if isinstance(payload, CardanoMessagePayload):
        signed = cose_sign1(payload.address, payload.message, signature.content)
        data = {"encoding": "hex", "signature": "0x" + signed.hex(), "key": "0x" + cose_key(key).hex()}
        return {"method": str(request.method), "data": data}
    if isinstance(request, SignTransaction):
        raw = encode_signed(request.transaction, signature.r, signature.s, signature.y_parity)
        data = {
            "encoding": "rlp",
            "signed_transaction": "0x" + raw.hex(),
            "hash": "0x" + transaction_hash(raw).hex(),
        }
    elif isinstance(request, SignAuthorization):
        data = {"authorization": _authorization(request, signature)}
    else:
        data = {"encoding": "hex", "signature": signature.hex}
    return {"method": request.asked_as if isinstance(request, BlindSign) else str(request.method), "data": data}


def _authorization(request: SignAuthorization, signature: Signature) -> dict[str, object]:
    signed = SignedAuthorization(
        authorization=request.authorization, y_parity=signature.y_parity, r=signature.r, s=signature.s
    )
    return {
        "chain_id": hex(signed.authorization.chain_id),
        "contract": to_checksum(signed.authorization.contract),
        "nonce": hex(signed.authorization.nonce),
        "y_parity": signed.y_parity,
        "r": f"0x{signed.r:064x}",
        "s": f"0x{signed.s:064x}",
    }
