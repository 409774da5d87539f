"""What callers of the signer hold in their hands: requests, authorizations' addressees, answers, and the executor's shape.

Payloads are structured: the signer decodes them itself and computes the digest that it signs. A bare digest is an
operation of its own, which only a decision about blind signing authorizes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from lockstep.chains.cardano import message_digest, message_payload, read_body, read_message_payload
from lockstep.chains.evm import (
    Address,
    Authorization,
    Hash32,
    HashFunction,
    UnsignedTransaction,
    UserOperation,
    blind_digest,
    decode_authorization,
    decode_unsigned,
    decode_user_operation,
    encode_blind,
    keccak256,
    personal_digest,
    typed_data_digest,
)
from lockstep.custody.execution.errors import PayloadRefused
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId

Op = Literal[
    "generate_key",
    "generate_ed25519_key",
    "evm_transaction",
    "typed_data",
    "personal_message",
    "evm_authorization",
    "blind",
    "user_operation",
    "cardano_transaction",
    "cardano_message",
]
Curve = Literal["secp256k1", "ed25519"]
GENERATIONS: dict[Curve, Op] = {"secp256k1": "generate_key", "ed25519": "generate_ed25519_key"}
"""The operation that makes a key, by its curve."""
TransportPurpose = Literal["audit_checkpoint", "jwt", "webhook"]
TRANSPORT_PURPOSES: tuple[TransportPurpose, ...] = ("audit_checkpoint", "jwt", "webhook")
MAX_PAYLOAD_BYTES = 160 * 1024
"""A transaction with its 128 KiB of data and what stands around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletKey:
    """Names one key: the wallet that it belongs to and the address that it must have, for Ed25519 the fingerprint."""

    app_id: AppId
    wallet_id: WalletId
    address: Address


@dataclass(frozen=True, slots=True)
class SignerIdentity:
    """The signer process that an authorization is for; a restarted signer has another boot epoch."""

    signer_id: str
    boot_epoch: bytes


@dataclass(frozen=True, slots=True)
class TransactionPayload:
    """An EVM transaction, given as its fields."""

    op: ClassVar[Op] = "evm_transaction"
    transaction: UnsignedTransaction

    def encode(self) -> bytes:
        return self.transaction.signing_payload()

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return self.transaction.digest()


@dataclass(frozen=True, slots=True)
class TypedDataPayload:
    """An EIP-712 document `{types, domain, primaryType, message}`.

    Raises:
        PayloadRefused: a document that JSON cannot carry.
    """

    op: ClassVar[Op] = "typed_data"
    document: Mapping[str, Any]
    _encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            encoded = json.dumps(self.document, separators=(",", ":"), allow_nan=False, default=_plain).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise PayloadRefused(f"the typed data cannot be written as JSON: {error}") from error
        object.__setattr__(self, "_encoded", encoded)

    def encode(self) -> bytes:
        return self._encoded

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return typed_data_digest(_read_json(self._encoded)).digest


@dataclass(frozen=True, slots=True)
class PersonalMessagePayload:
    """The bytes of a `personal_sign` message (EIP-191), without the prefix."""

    op: ClassVar[Op] = "personal_message"
    message: bytes

    def encode(self) -> bytes:
        return self.message

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return personal_digest(self.message)


@dataclass(frozen=True, slots=True)
class AuthorizationPayload:
    """An EIP-7702 authorization, given as its fields."""

    op: ClassVar[Op] = "evm_authorization"
    authorization: Authorization

    def encode(self) -> bytes:
        return self.authorization.signing_payload()

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return self.authorization.digest()


@dataclass(frozen=True, slots=True)
class BlindPayload:
    """A hash, or bytes with the function that they are hashed with."""

    op: ClassVar[Op] = "blind"
    content: bytes
    function: HashFunction | None = None

    def encode(self) -> bytes:
        return encode_blind(self.content, self.function)

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return blind_digest(self.encode())


@dataclass(frozen=True, slots=True)
class UserOperationPayload:
    """An ERC-4337 user operation, given as its fields."""

    op: ClassVar[Op] = "user_operation"
    operation: UserOperation

    def encode(self) -> bytes:
        return self.operation.encode()

    def digest(self) -> Hash32:
        """The 32 bytes that are signed."""
        return self.operation.digest()


@dataclass(frozen=True, slots=True)
class CardanoTransactionPayload:
    """A transaction body, given as its bytes; signed with an Ed25519 key."""

    op: ClassVar[Op] = "cardano_transaction"
    body: bytes

    def encode(self) -> bytes:
        return self.body

    def digest(self) -> Hash32:
        """The id of the transaction, which is signed."""
        return read_body(self.body).id


@dataclass(frozen=True, slots=True)
class CardanoMessagePayload:
    """A message under the address of its signer (CIP-8); signed with an Ed25519 key."""

    op: ClassVar[Op] = "cardano_message"
    address: bytes
    message: bytes

    def encode(self) -> bytes:
        return message_payload(self.address, self.message)

    def digest(self) -> Hash32:
        """What stands for the bytes that are signed."""
        return message_digest(self.encode())


ED25519_OPS: frozenset[Op] = frozenset({"cardano_transaction", "cardano_message"})
"""Operations of Ed25519 keys; all others are those of secp256k1 keys."""
Payload: TypeAlias = (
    CardanoTransactionPayload
    | CardanoMessagePayload
    | TransactionPayload
    | TypedDataPayload
    | PersonalMessagePayload
    | AuthorizationPayload
    | BlindPayload
    | UserOperationPayload
)


def digest_of(op: Op, encoded: bytes) -> Hash32:
    """Decode a payload and compute what is signed; this is what the signer relies on.

    Raises:
        PayloadRefused: another operation, too many bytes, or bytes that are not the one encoding of their content.
        LockstepError: what the codec of the chain says about the content.
    """
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise PayloadRefused(f"expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, was {len(encoded)}")
    if op == "evm_transaction":
        if decode_unsigned(encoded).signing_payload() != encoded:
            raise PayloadRefused("the transaction is not in canonical form")
        return keccak256(encoded)
    if op == "evm_authorization":
        if decode_authorization(encoded).signing_payload() != encoded:
            raise PayloadRefused("the authorization is not in canonical form")
        return keccak256(encoded)
    if op == "typed_data":
        return typed_data_digest(_read_json(encoded)).digest
    if op == "cardano_transaction":
        return read_body(encoded).id
    if op == "cardano_message":
        read_message_payload(encoded)
        return message_digest(encoded)
    if op == "user_operation":
        return decode_user_operation(encoded).digest()
    if op == "blind":
        return blind_digest(encoded)
    if op == "personal_message":
        return personal_digest(encoded)
    raise PayloadRefused(f"{op} signs nothing")


def signed_content(op: Op, encoded: bytes) -> bytes:
    """The bytes that an Ed25519 key signs: the id of a transaction, a whole message.

    Raises:
        PayloadRefused, LockstepError: see `digest_of`.
    """
    digest = digest_of(op, encoded)
    return digest if op == "cardano_transaction" else encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """One signature that is wanted.

    `auth_share` is the sealed share that `generate_key` returned; `authorization` the encoded execution authorization
    that `AuthorizationIssuer` made for exactly this key and this payload.
    """

    key: WalletKey
    payload: Payload
    auth_share: bytes = field(repr=False)
    authorization: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """r‖s‖v with v 27 or 28 and s in the lower half of the order, verified against the address; of an Ed25519 key R‖S."""

    content: bytes

    @property
    def r(self) -> int:
        return int.from_bytes(self.content[:32], "big")

    @property
    def s(self) -> int:
        return int.from_bytes(self.content[32:64], "big")

    @property
    def y_parity(self) -> int:
        return self.content[64] - 27

    @property
    def hex(self) -> str:
        """0x and two hex digits for each byte."""
        return "0x" + self.content.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that the signer made. Nobody has ever seen it whole outside the signer.

    `auth_share` is sealed with the auth key and belongs into the wallet's row; `recovery_share` is sealed to the
    recovery public key, whose private key is kept off line.
    """

    address: Address
    """Of an Ed25519 key its fingerprint."""
    public_key: bytes
    """Uncompressed point, 65 bytes; of an Ed25519 key 32 bytes."""
    share_set: str
    """Id of the split, 32 hex digits."""
    auth_share: bytes = field(repr=False)
    recovery_share: bytes = field(repr=False)


class Executor(Protocol):
    """The only way to a key: a signer process behind a socket, or the same checks in this process for tests."""

    async def identity(self) -> SignerIdentity:
        """
        Raises:
            SignerUnavailable: no signer answers.
        """

    async def generate_key(self, app_id: AppId, wallet_id: WalletId, authorization: bytes) -> NewKey:
        """Make the key of a wallet.

        When the answer is lost, so is the key (nobody knows its address): take a new wallet id.

        Raises:
            WalletKeyExists: this wallet id has one already.
            LockstepError: see errors.py.
        """

    async def generate_keys(
        self, app_id: AppId, wanted: Sequence[tuple[WalletId, bytes]]
    ) -> list[NewKey | LockstepError]:
        """Make the keys of many wallets of one app, together; answers in the order of the wallets.

        Args:
            wanted: wallet id and authorization of each.
        """

    async def sign(self, request: SigningRequest) -> Signature:
        """
        Raises:
            LockstepError: see errors.py.
        """

    async def sign_many(self, requests: Sequence[SigningRequest]) -> list[Signature | LockstepError]:
        """Sign what can be signed, pipelined; answers in the order of the requests, never raises for one of them."""

    async def sign_transport(self, purpose: TransportPurpose, payload: bytes) -> bytes:
        """Ed25519 signature, 64 bytes, with the transport key of this purpose."""

    async def transport_public_key(self, purpose: TransportPurpose) -> bytes:
        """The Ed25519 public key of this purpose, 32 bytes."""

    async def health(self) -> Mapping[str, str | int]:
        """Who the signer is and what it has counted since it started."""

    async def close(self) -> None: ...


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in typed data")


def _read_json(content: bytes) -> Mapping[str, Any]:
    """JSON of typed data, read in one way only: no double names, no fractions, no constants."""
    try:
        document = json.loads(
            content.decode(),
            object_pairs_hook=_unique_members,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise PayloadRefused(f"the typed data cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise PayloadRefused("expected a typed data document, an object")
    return document


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object names a member twice")
    return members


def _refuse_number(text: str) -> object:
    raise ValueError(f"{text[:40]} is not a whole number")
