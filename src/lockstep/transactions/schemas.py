"""Wire shapes of transactions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lockstep.chains.evm import Speed, TransactionType
from lockstep.transactions.types import State

ChainName = Annotated[str, Field(pattern=r"^eip155:[1-9][0-9]{0,31}$", examples=["eip155:31337"])]
_AmountText = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$", examples=["1000000000000000000"])]
_HashText = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_AddressText = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
_Time = Annotated[str, Field(examples=["2026-01-31T12:00:00.000Z"])]


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)


class TransactionOut(_Schema):
    """A transaction as it stands. Amounts in wei, as decimal strings."""

    id: str
    wallet_id: str
    chain: str
    sender: _AddressText = Field(alias="from")
    to: _AddressText | None
    value: _AmountText
    selector: str | None = Field(description="First four bytes of the calldata.")
    type: TransactionType = Field(description="0: one gas price, in both fee fields. 2: a fee cap and a tip cap.")
    speed: Annotated[Speed, Field(strict=False)]
    is_private: bool = Field(description="Sent to the chain's private node only.")
    state: Annotated[State, Field(strict=False)]
    version: int
    reason: str | None = Field(description="Why it waits, or ended where it did.")
    nonce: int | None
    attempt: int
    hash: _HashText | None = Field(description="Hash that was mined, or that of the newest signed form.")
    gas_limit: _AmountText | None
    max_fee_per_gas: _AmountText | None
    max_priority_fee_per_gas: _AmountText | None
    block_number: int | None
    block_hash: _HashText | None
    succeeded: bool | None = Field(
        description="Whether it did not revert; null before it is mined, and when its cancellation was mined instead."
    )
    gas_used: _AmountText | None
    effective_gas_price: _AmountText | None
    data_fee: _AmountText = Field(
        description="Beside the gas, for the parent chain of a roll-up: kept back for it, then what it was. Part of `fee_paid`."
    )
    fee_paid: _AmountText | None
    contract_address: _AddressText | None
    revert_reason: str | None
    deadline_at: _Time | None
    cancel_requested_at: _Time | None = Field(description="When it was asked to be cancelled, or passed its deadline.")
    correlation_id: str | None
    created_at: _Time
    updated_at: _Time


class StepOut(_Schema):
    """One entry of the timeline."""

    version: int
    from_state: Annotated[State, Field(strict=False)] | None
    to_state: Annotated[State, Field(strict=False)]
    reason: str | None
    facts: dict[str, Any] = Field(description="What the step rests on: nonce, hash, fees, block.")
    time: _Time


class TransactionDetailOut(TransactionOut):
    """A transaction with its calldata, every hash that it was signed under, and its timeline."""

    data: str = Field(pattern=r"^0x([0-9a-f]{2})*$")
    hashes: list[_HashText]
    timeline: list[StepOut]


class SpeedUpIn(_Schema):
    """Ceilings under which a transaction may be made dearer, wei per gas; what is left out stays as it was."""

    max_fee_per_gas: _AmountText | None = None
    max_priority_fee_per_gas: _AmountText | None = None
    attempt: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="The attempt to be outbid, as you saw it: once it is, nothing happens any more, so that a request may be repeated.",
    )


class TransactionListOut(_Schema):
    """A page of transactions, newest first."""

    items: list[TransactionOut]
    next_cursor: str | None
