"""EIP-7702 authorizations: what an account signs to run another contract's code, and the tuples that a transaction carries.

An authorization hands the whole account to the code it names. Does not fetch, sign or send.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.chains.evm import rlp
from lockstep.chains.evm.addresses import address_from_bytes, address_to_bytes, is_address, keccak256
from lockstep.chains.evm.errors import BadSignature, MalformedTransaction
from lockstep.chains.evm.signatures import recover_public_address
from lockstep.chains.evm.types import Address, Hash32

MAGIC = b"\x05"
_MAX_NONCE = 2**64 - 2  # a nonce of 2^64-1 can never be used (EIP-2681)
_MAX_CHAIN_ID = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What is signed: from `nonce` on, the account runs the code of `contract` on the chain.

    Chain id 0 means every chain; the zero address takes a delegation back.

    Raises:
        MalformedTransaction: a number out of range, or no address.
    """

    chain_id: int
    contract: Address
    nonce: int

    def __post_init__(self) -> None:
        for name, limit in (("chain_id", _MAX_CHAIN_ID), ("nonce", _MAX_NONCE)):
            number = getattr(self, name)
            if type(number) is not int or not 0 <= number <= limit:
                raise MalformedTransaction(f"{name} of the authorization is out of range")
        if not is_address(self.contract):
            raise MalformedTransaction("the authorization names an address in lower case")

    def signing_payload(self) -> bytes:
        """The bytes whose keccak256 is signed."""
        return MAGIC + rlp.encode(self.fields())

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return keccak256(self.signing_payload())

    def fields(self) -> list[rlp.Item]:
        """Chain id, address, nonce, as RLP items."""
        return [rlp.encode_number(self.chain_id), address_to_bytes(self.contract), rlp.encode_number(self.nonce)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAuthorization:
    """An authorization with its signature, as a transaction of type 4 carries it.

    Raises:
        MalformedTransaction: a signature that no account can have made, or a malleated one; a chain would take the gas for
            it and pass it over.
    """

    authorization: Authorization
    y_parity: int
    r: int
    s: int

    def __post_init__(self) -> None:
        self.recover_authority()

    def recover_authority(self) -> Address:
        """The account that gave it."""
        if self.y_parity not in (0, 1):
            raise MalformedTransaction("y_parity of an authorization must be 0 or 1")
        try:
            return recover_public_address(self.authorization.digest(), self.r, self.s, self.y_parity)
        except BadSignature as error:
            raise MalformedTransaction(f"the signature of an authorization does not hold: {error.detail}") from error

    def fields(self) -> list[rlp.Item]:
        """The tuple as RLP items."""
        return [*self.authorization.fields(), *(rlp.encode_number(n) for n in (self.y_parity, self.r, self.s))]


def decode_authorization(payload: bytes) -> Authorization:
    """Read a signing payload.

    Raises:
        MalformedTransaction: something else, not canonical, or content that does not hold.
    """
    try:
        if payload[:1] != MAGIC:
            raise ValueError("expected the byte 05 in front")
        return _from_fields(_list(rlp.decode(payload[1:]), 3))
    except (ValueError, RecursionError) as error:
        raise MalformedTransaction(f"the authorization cannot be read: {error}") from error


def read_signed_authorization(item: rlp.Decoded) -> SignedAuthorization:
    """Read the tuple of a transaction.

    Raises:
        ValueError: not six fields, or not canonical.
        MalformedTransaction: content that does not hold.
    """
    fields = _list(item, 6)
    y_parity, r, s = (rlp.decode_number(part) for part in fields[3:])
    return SignedAuthorization(authorization=_from_fields(fields), y_parity=y_parity, r=r, s=s)


def _list(item: rlp.Decoded, length: int) -> list[rlp.Decoded]:
    if not isinstance(item, list) or len(item) != length:
        raise ValueError(f"expected an authorization of {length} fields")
    return item


def _from_fields(fields: list[rlp.Decoded]) -> Authorization:
    contract = fields[1]
    if not isinstance(contract, bytes) or len(contract) != 20:
        raise ValueError("an authorization names an address of 20 bytes")
    return Authorization(
        chain_id=rlp.decode_number(fields[0]), contract=address_from_bytes(contract), nonce=rlp.decode_number(fields[2])
    )
