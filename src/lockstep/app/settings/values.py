"""How single values of settings are written and checked, so that each fault is reported with all others."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from limits import parse_many
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic_settings import (
    NoDecode,
)

from lockstep.chains.evm import (
    Address,
    BadAddress,
    UnknownChain,
    parse_address,
    parse_chain,
)

T = TypeVar("T")


class Unreadable:
    """Stands for a value whose file could not be read, so that the fault is reported with the others."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _refuse_unreadable(value: object) -> object:
    if isinstance(value, Unreadable):
        raise ValueError(value.reason)
    return value


def _read_json(value: object) -> object:
    value = _refuse_unreadable(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"expected JSON: {error}") from error


def _read_words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _check_address(text: str) -> Address:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(error.detail) from error


def _check_chain(text: str) -> str:
    try:
        parse_chain(text)
    except UnknownChain as error:
        raise ValueError(error.detail) from error
    return text


def _check_rate(text: str) -> str:
    try:
        parse_many(text)
    except ValueError:
        raise ValueError('expected a rate, for example "100/second" or "50/second;1000/minute"') from None
    return text


EvmAddress = Annotated[str, AfterValidator(_check_address)]
"""A contract's address; a wrong checksum is refused, lower case is kept."""
ChainName = Annotated[str, AfterValidator(_check_chain)]
Rate = Annotated[str, AfterValidator(_check_rate)]
"""Requests per time, in the notation of `RateLimits`."""
FileableSecret = Annotated[SecretStr, BeforeValidator(_refuse_unreadable), Field(min_length=1)]
Json = (NoDecode, BeforeValidator(_read_json))
"""A value that is written as JSON, with a fault of its own instead of one that hides all others."""
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_words)]
"""Several words, divided by commas."""


def named_group() -> Any:
    """A required group: what is missing is reported by the names of its values, not as the group."""
    return Field(default_factory=dict, validate_default=True)


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def without(faults: list[str], value: T) -> T:
    if faults:
        raise ValueError("; ".join(faults))
    return value
