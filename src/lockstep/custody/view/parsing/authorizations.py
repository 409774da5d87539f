"""Reads EIP-7702 authorizations: the params of `eth_sign7702Authorization`, and the signed ones of a transaction."""

from __future__ import annotations

from lockstep.chains.evm import Authorization, MalformedTransaction, SignedAuthorization
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import SignAuthorization


def parse_authorization(reader: Reader, params: object, preview_digest: str | None) -> SignAuthorization:
    """Read an authorization to be signed.

    `nonce` is the account's nonce when the authorization is taken to the chain. With executor "self" it is that of the
    account's own transaction, which uses it up first: the authorization then carries the next one.
    """
    given = reader.members(params, "params", required={"chain_id", "contract", "nonce"}, optional={"executor"})
    chain_id = reader.quantity(given["chain_id"], "params.chain_id", 64) if "chain_id" in given else 0
    contract = reader.address(given["contract"], "params.contract") if "contract" in given else None
    nonce = reader.quantity(given["nonce"], "params.nonce", 63) if "nonce" in given else 0
    is_own = "executor" in given
    if is_own and given["executor"] != "self":
        reader.add("params.executor", 'expected "self", or nothing where another account sends the transaction')
    reader.check()
    assert contract is not None  # a missing one is a fault above
    authorization = Authorization(chain_id=chain_id, contract=contract, nonce=nonce + 1 if is_own else nonce)
    return SignAuthorization(authorization=authorization, is_self_executed=is_own, preview_digest=preview_digest)


def read_authorization(reader: Reader, raw: object, at: str) -> SignedAuthorization | None:
    """A signed authorization, in the form in which `eth_sign7702Authorization` answers; None where there is a fault."""
    names = {"chain_id", "contract", "nonce", "y_parity", "r", "s"}
    given = reader.members(raw, at, required=names)
    if given.keys() != names:
        return None
    chain_id = reader.quantity(given["chain_id"], f"{at}.chain_id", 64)
    contract = reader.address(given["contract"], f"{at}.contract")
    nonce = reader.quantity(given["nonce"], f"{at}.nonce", 64)
    y_parity = reader.quantity(given["y_parity"], f"{at}.y_parity", 1)
    r, s = reader.word(given["r"], f"{at}.r"), reader.word(given["s"], f"{at}.s")
    if contract is None:
        return None
    try:
        authorization = Authorization(chain_id=chain_id, contract=contract, nonce=nonce)
        return SignedAuthorization(authorization=authorization, y_parity=y_parity, r=r, s=s)
    except MalformedTransaction as error:
        reader.add(at, error.detail)
        return None
