"""The typed request of a caller, and the one view of the bytes that would be signed.

Policy, words, preview and signer all read a `RequestView`; nobody looks into the caller's JSON a second time. Holds no
key, decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from lockstep.chains.cardano import TransactionBody
from lockstep.chains.evm import (
    Address,
    Authorization,
    HashFunction,
    Speed,
    TransactionType,
    TypedData,
    UnsignedTransaction,
    UserOperation,
    is_address,
)
from lockstep.custody.view.calldata import decode_arguments

FieldValue: TypeAlias = int | bool | str | bytes
"""A fact of a request as it is signed: numbers as int, addresses in lower case, bytes as bytes."""


class Method(StrEnum):
    """What can be asked of a wallet's key."""

    SEND_TRANSACTION = "eth_sendTransaction"
    SEND_CALLS = "wallet_sendCalls"
    SIGN_TRANSACTION = "eth_signTransaction"
    PERSONAL_SIGN = "personal_sign"
    SIGN_TYPED_DATA = "eth_signTypedData_v4"
    SIGN_AUTHORIZATION = "eth_sign7702Authorization"
    SIGN_HASH = "secp256k1_sign"
    SIGN_USER_OPERATION = "eth_signUserOperation"
    SIGN_CARDANO = "cardano_signTransaction"
    SIGN_CARDANO_DATA = "cardano_signData"


CARDANO_METHODS = frozenset({Method.SIGN_CARDANO, Method.SIGN_CARDANO_DATA})
"""Methods of Cardano wallets; all others are those of wallets of EVM chains."""


MAX_FAULTS = 50
"""Most faults that a refusal lists: a body can have many more than anybody reads, each of them told in more bytes."""


class Fault(NamedTuple):
    """One thing that is wrong with a document, and where."""

    path: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionDraft:
    """A transaction to be sent: its nonce is bound at signing, and so are gas and fees where they are open (None).

    Amounts and fees in wei; given ones are ceilings. `to` None creates a contract.
    """

    chain_id: int
    to: Address | None
    value: int = 0
    data: bytes = b""
    gas_limit: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    type: TransactionType = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a request makes: `to` None creates a contract; value in wei."""

    to: Address | None
    value: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTransaction:
    """`eth_sendTransaction`, or `wallet_sendCalls`: decide, bind a nonce, sign and send."""

    method: Literal[Method.SEND_TRANSACTION, Method.SEND_CALLS] = Method.SEND_TRANSACTION
    chain: str
    """CAIP-2."""
    draft: TransactionDraft
    calls: tuple[Call, ...] = ()
    """Of `wallet_sendCalls`; recipient, value and data of the draft follow from them and the wallet, see `sent_draft`."""
    speed: Speed = Speed.STANDARD
    is_private: bool | None = None
    from_address: Address | None = None
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTransaction:
    """`eth_signTransaction`: sign exactly this, every number given by the caller."""

    method: Literal[Method.SIGN_TRANSACTION] = Method.SIGN_TRANSACTION
    chain: str
    transaction: UnsignedTransaction
    from_address: Address | None = None
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSign:
    """`personal_sign` over these bytes (EIP-191)."""

    method: Literal[Method.PERSONAL_SIGN] = Method.PERSONAL_SIGN
    content: bytes
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTypedData:
    """`eth_signTypedData_v4` (EIP-712)."""

    method: Literal[Method.SIGN_TYPED_DATA] = Method.SIGN_TYPED_DATA
    document: Mapping[str, Any] = field(repr=False)
    """`{types, primaryType, domain, message}` as the encoder and the signer take it."""
    data: TypedData
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignAuthorization:
    """`eth_sign7702Authorization`: let the account run the code of another contract."""

    method: Literal[Method.SIGN_AUTHORIZATION] = Method.SIGN_AUTHORIZATION
    authorization: Authorization
    is_self_executed: bool = False
    """The account itself sends the transaction that carries it, and so reserves its nonce there."""
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSign:
    """`secp256k1_sign` and `raw_sign`: sign what nobody can see the meaning of."""

    method: Literal[Method.SIGN_HASH] = Method.SIGN_HASH
    content: bytes
    function: HashFunction | None = None
    """What the content is hashed with; None: it is the hash itself, 32 bytes."""
    asked_as: Literal["secp256k1_sign", "raw_sign"] = "secp256k1_sign"
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUserOperation:
    """`eth_signUserOperation`: as an owner, let a contract account do something (ERC-4337, version 0.7)."""

    method: Literal[Method.SIGN_USER_OPERATION] = Method.SIGN_USER_OPERATION
    operation: UserOperation
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignCardano:
    """`cardano_signTransaction`: sign the id of exactly this body."""

    method: Literal[Method.SIGN_CARDANO] = Method.SIGN_CARDANO
    body: TransactionBody
    preview_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignCardanoData:
    """`cardano_signData`: a message under the wallet's address (CIP-8)."""

    method: Literal[Method.SIGN_CARDANO_DATA] = Method.SIGN_CARDANO_DATA
    content: bytes
    preview_digest: str | None = None


RpcRequest: TypeAlias = (
    SendTransaction
    | SignTransaction
    | PersonalSign
    | SignTypedData
    | SignAuthorization
    | BlindSign
    | SignUserOperation
    | SignCardano
    | SignCardanoData
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What would be signed, decoded from the very bytes.

    `fields` holds every fact by "<field source>.<field>"; what is absent from the bytes is absent from the mapping.
    """

    method: Method
    from_address: Address
    chain: str | None
    """CAIP-2; None for messages and for typed data whose domain names no chain."""
    fields: Mapping[str, FieldValue]
    payload: bytes | None
    """The bytes that the digest is made of, as the signer gets them; None while a number of a transaction is still open."""
    digest: bytes | None
    """What is signed, 32 bytes."""
    transaction: UnsignedTransaction | None = None
    """The decoded transaction; open numbers hold placeholders and must not be read: see `open_fields`."""
    open_fields: tuple[str, ...] = ()
    typed_data: TypedData | None = None
    message: bytes | None = None
    authorization: Authorization | None = None
    user_operation: UserOperation | None = None
    cardano_body: TransactionBody | None = None
    call: Call | None = None
    """What is called; of a transaction always there."""
    parts: tuple[RequestView, ...] = ()
    """Where one signature stands for several things: each of them, all of which must be allowed by themselves."""
    _arguments: dict[tuple[str, ...], tuple[Any, ...] | None] = field(
        default_factory=dict, compare=False, repr=False, hash=False
    )

    def __post_init__(self) -> None:
        if not is_address(self.from_address):
            raise ValueError("expected the wallet's address in lower case")
        if not isinstance(self.fields, MappingProxyType):
            object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))
        tx = self.transaction
        if self.call is None and tx is not None:
            object.__setattr__(self, "call", Call(tx.to, tx.value, tx.data))

    @property
    def decided(self) -> tuple[RequestView, ...]:
        """The views that policies decide on, one by one."""
        return self.parts or (self,)

    @property
    def calldata(self) -> bytes | None:
        """Data of a call with a selector; None for creations, plain transfers and what calls nothing."""
        call = self.call
        return call.data if call is not None and call.to is not None and len(call.data) >= 4 else None

    def arguments(self, types: tuple[str, ...]) -> tuple[Any, ...] | None:
        """The call's arguments read strictly as these ABI types; None when they are not in canonical form.

        Remembers its answers: several rules ask for the same reading.
        """
        if types not in self._arguments:
            data = self.calldata
            self._arguments[types] = None if data is None else decode_arguments(types, data[4:])
        return self._arguments[types]
