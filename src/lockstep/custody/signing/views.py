"""The view of a request for a wallet, if the wallet's key is of the family that the request speaks of. Pure."""

from __future__ import annotations

from lockstep.custody.errors import FamilyMismatch, SignatureMismatch
from lockstep.custody.execution import fingerprint
from lockstep.custody.signing.types import Authority
from lockstep.custody.view import (
    CARDANO_METHODS,
    CardanoAccount,
    Method,
    RequestView,
    RpcRequest,
    SignCardano,
    SignCardanoData,
    view_body,
    view_data,
    view_request,
)


def view_of(authority: Authority, request: RpcRequest) -> RequestView:
    """The view of a request for this wallet.

    Raises:
        FamilyMismatch: the wallet's key is of another family of chains.
        WrongSender, MalformedTransaction, ViewMismatch: see `view_request`.
    """
    check_family(authority, request.method)
    if isinstance(request, SignCardano):
        return view_body(request, account_of(authority))
    if isinstance(request, SignCardanoData):
        return view_data(request, account_of(authority))
    return view_request(request, authority.address)


def check_family(authority: Authority, method: Method) -> None:
    """Refuse a method of another family.

    Raises:
        FamilyMismatch.
    """
    wanted = "cardano" if method in CARDANO_METHODS else "ethereum"
    if authority.chain_type != wanted:
        raise FamilyMismatch(f"{method} is for wallets of {wanted}, this one is of {authority.chain_type}")


def account_of(authority: Authority) -> CardanoAccount:
    """The account of a Cardano wallet.

    Raises:
        SignatureMismatch: the public key in the row is not that of the key; the fingerprint is sealed, and it is not.
    """
    if authority.native_address is None or fingerprint(authority.public_key) != authority.address:
        raise SignatureMismatch("the public key of the wallet is not that of its key")
    return CardanoAccount(authority.address, authority.public_key, authority.native_address)
