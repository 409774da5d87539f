"""Wire shapes of orders. Members of the signed order keep their EIP-712 names; amounts and nonces are decimal strings,
bytes are 0x hex, times are whole seconds of the source chain."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from lockstep.auctions.types import Destination, Order, PriceCurve, PricePoint
from lockstep.chains.evm import Address, BadAddress, parse_address
from lockstep.kit.money import Amount, AmountIn
from lockstep.settlement import TimeLocks

U32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
Chain = Annotated[str, Field(pattern=r"^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$", examples=["eip155:31337"])]


def _address(text: str) -> str:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(error.detail) from error


AddressIn = Annotated[
    str,
    Field(max_length=42),
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}),
]
"""An EVM address; a mixed-case one must carry its checksum."""
Bytes32 = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
ShortBytes = Annotated[str, Field(pattern=r"^0x([0-9a-fA-F]{2}){1,64}$")]
LongBytes = Annotated[str, Field(pattern=r"^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * 4096)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Member(_In):
    """A struct of the signed order: the wire shows the EIP-712 names of its members."""

    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DestinationIn(_Member):
    """Where and in what the maker is paid; raw bytes of that chain (20 on EVM)."""

    chain: Chain
    factory: ShortBytes
    token: ShortBytes
    receiver: ShortBytes


class PricePointIn(_Member):
    """A bend of the price curve."""

    rate_bump: U32
    delay: U32


class PriceCurveIn(_Member):
    """The destination amount over the source chain's time."""

    start_time: U64
    duration: U32
    end_amount: AmountIn
    initial_rate_bump: U32
    points: Annotated[list[PricePointIn], Field(max_length=64)]


class DepositsIn(_Member):
    """Least safety deposits of the taker, native coin of each chain."""

    source: AmountIn
    destination: AmountIn


class TimeLocksIn(_Member):
    """Seconds after the creation of the escrow of that side at which each stage opens."""

    source_withdrawal: U32
    source_public_withdrawal: U32
    source_cancellation: U32
    source_public_cancellation: U32
    destination_withdrawal: U32
    destination_public_withdrawal: U32
    destination_cancellation: U32


class OrderIn(_Member):
    """The members that the maker signs."""

    maker: AddressIn
    source_token: AddressIn
    source_amount: AmountIn
    destination: DestinationIn
    price: PriceCurveIn
    deposits: DepositsIn
    time_locks: TimeLocksIn
    hashlock_info: Bytes32
    allowed_takers: Annotated[list[AddressIn], Field(max_length=64)]
    nonce: AmountIn
    expiry: U64
    extension_hash: Bytes32

    def to_order(self, source_chain: str, source_factory: str) -> Order:
        """The order, in the domain of its source chain."""
        price, locks, other = self.price, self.time_locks, self.destination
        return Order(
            source_chain=source_chain,
            source_factory=Address(source_factory),
            maker=Address(self.maker),
            source_token=Address(self.source_token),
            source_amount=self.source_amount,
            destination=Destination(
                chain=other.chain,
                factory=from_hex(other.factory),
                token=from_hex(other.token),
                receiver=from_hex(other.receiver),
            ),
            price=PriceCurve(
                start_time=price.start_time,
                duration=price.duration,
                end_amount=price.end_amount,
                initial_rate_bump=price.initial_rate_bump,
                points=tuple(PricePoint(rate_bump=point.rate_bump, delay=point.delay) for point in price.points),
            ),
            source_deposit=self.deposits.source,
            destination_deposit=self.deposits.destination,
            time_locks=TimeLocks(**locks.model_dump(by_alias=False)),
            hashlock=from_hex(self.hashlock_info),
            allowed_takers=tuple(Address(taker) for taker in self.allowed_takers),
            nonce=self.nonce,
            expiry=self.expiry,
            extension_hash=from_hex(self.extension_hash),
        )


class PostOrder(_In):
    """A signed order."""

    source_chain: Chain
    source_factory: AddressIn
    order: OrderIn
    signature: LongBytes
    signature_kind: Literal["eip712", "eip1271"] = "eip712"
    permit: LongBytes = "0x"
    """Optional EIP-2612 permit of the maker for the source factory: abi.encode(value, deadline, v, r, s)."""


class PostFill(_In):
    """Take an order. A managed taker names its wallet, of which a session signer must be granted to module:coordinator;
    an external taker opens the source escrow itself."""

    fill_index: Literal[0] = 0
    mode: Literal["managed", "external"]
    wallet_id: Id | None = None
    session_signer_id: Id | None = None
    taker: AddressIn | None = None


class PostSecret(_In):
    """The secret of a fill, released by the maker's client once both escrows are final."""

    fill_index: Literal[0] = 0
    secret: Bytes32 = Field(repr=False)


class PutHeldSecret(_In):
    """The secret of a fill, left with this deployment to be released for the maker."""

    secret: Bytes32 = Field(repr=False)


class FillOut(_Out):
    """An attempt to take an order."""

    fill_index: int
    swap_id: str
    taker: str
    mode: Literal["managed", "external"]
    settlement_state: str
    source_amount: Amount
    destination_amount: Amount


OrderStateText = Literal[
    "received",
    "validated",
    "scheduled",
    "open",
    "partially_filled",
    "filled",
    "cancelled",
    "expired",
    "rejected",
]
ValidityText = Literal["ok", "balance_low", "allowance_low", "nonce_used", "signature_bad", "predicate_false"]


class OrderOut(_Out):
    """An order in the book, with everything that a taker needs to use it."""

    hash: str
    maker: str
    source_chain: str
    source_factory: str
    source_token: str
    destination_chain: str
    destination_token: str
    order: dict[str, Any]
    signature: str
    signature_kind: Literal["eip712", "eip1271"]
    permit: str
    state: OrderStateText
    validity: ValidityText
    remaining: Amount
    fills: list[FillOut]
    cancel_requested_at: str | None
    version: int
    created_at: str
    updated_at: str


class OrderPage(_Out):
    """A page of orders, the newest first."""

    items: list[OrderOut]
    next_cursor: str | None


class AsOf(_Out):
    """The block that a price was computed at."""

    chain: str
    block_number: str
    block_hash: str
    timestamp: int


class PriceOut(_Out):
    """The price of an order at the head of its source chain, or at the moment asked for."""

    order_hash: str
    at: int
    rate_bump: int
    destination_amount: Amount
    as_of: AsOf


class SecretOut(_Out):
    """The released secret of a fill."""

    order_hash: str
    fill_index: int
    secret: str = Field(repr=False)


class HeldSecretOut(_Out):
    """That a secret is held, and since when; never the secret."""

    order_hash: str
    fill_index: int
    held_at: str


def from_hex(text: str) -> bytes:
    """Bytes of 0x hex."""
    return bytes.fromhex(text.removeprefix("0x"))


def to_hex(raw: bytes) -> str:
    """0x hex of bytes."""
    return "0x" + raw.hex()
