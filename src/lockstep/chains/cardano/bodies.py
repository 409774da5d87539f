"""Transaction bodies, read from the bytes whose hash is signed. Source: the ledger's CDDL, Shelley to Conway.

Every member is understood, or the body is refused: what is not read here could move something. Votes, proposals and
protocol updates are not read. Datums and scripts are noted, not decoded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from lockstep.chains.cardano import cbor
from lockstep.chains.cardano.addresses import address_text
from lockstep.chains.cardano.errors import BadCardanoAddress, MalformedBody

MAX_BODY_BYTES: Final = 16_384
"""Largest transaction that the ledger takes; its body is smaller."""
_MAX = 2**64 - 1
_SET: Final = 258
_KNOWN: Final = frozenset({0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 14, 15, 16, 17, 18, 22})
CERTIFICATES: Final[dict[int, str]] = {
    0: "stake registration",
    1: "stake deregistration",
    2: "stake delegation",
    3: "pool registration",
    4: "pool retirement",
    7: "stake registration",
    8: "stake deregistration",
    9: "vote delegation",
    10: "stake and vote delegation",
    11: "stake registration and delegation",
    12: "stake registration and vote delegation",
    13: "stake registration, delegation and vote delegation",
    14: "committee authorization",
    15: "committee resignation",
    16: "representative registration",
    17: "representative deregistration",
    18: "representative update",
}
"""Kinds of certificates by their number."""


@dataclass(frozen=True, slots=True)
class Input:
    """An output of an earlier transaction that is spent."""

    transaction_id: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Token:
    """An amount of one native token; negative where it is burnt."""

    policy_id: bytes
    name: bytes
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Who gets what. `address` is bytes, `text` the same for people."""

    address: bytes
    text: str
    lovelace: int
    tokens: tuple[Token, ...] = ()
    has_datum: bool = False
    has_script: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionBody:
    """A body, with the very bytes that it was read from."""

    raw: bytes
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    fee: int
    ttl: int | None = None
    """Last slot in which it is valid; None: for ever."""
    valid_from: int | None = None
    certificates: tuple[str, ...] = ()
    withdrawals: tuple[tuple[str, int], ...] = ()
    """(reward address, lovelace)."""
    mint: tuple[Token, ...] = ()
    collateral: tuple[Input, ...] = ()
    collateral_return: Output | None = None
    total_collateral: int | None = None
    required_signers: tuple[bytes, ...] = ()
    reference_inputs: tuple[Input, ...] = ()
    network_id: int | None = None
    donation: int = 0
    has_scripts: bool = False
    """Whether scripts run in it."""

    @property
    def id(self) -> bytes:
        """BLAKE2b-256 of the bytes: the id of the transaction, and what is signed."""
        return hashlib.blake2b(self.raw, digest_size=32).digest()


def read_body(raw: bytes) -> TransactionBody:
    """Read a body.

    Raises:
        MalformedBody: too large, not CBOR in one meaning, a member that is unknown or not of its type, or none of those
            that every transaction has.
    """
    if len(raw) > MAX_BODY_BYTES:
        raise MalformedBody(f"expected at most {MAX_BODY_BYTES} bytes, was {len(raw)}")
    try:
        members = cbor.read(raw)
        if type(members) is not dict:
            raise ValueError("expected a map")
        unknown = [key for key in members if type(key) is not int or key not in _KNOWN]
        if unknown:
            raise ValueError(f"the member {unknown[0]!r} is not offered")
        missing = [key for key in (0, 1, 2) if key not in members]
        if missing:
            raise ValueError(f"the member {missing[0]} is missing")
        return _body(raw, members)
    except (ValueError, BadCardanoAddress, RecursionError) as error:
        detail = error.detail if isinstance(error, BadCardanoAddress) else error
        raise MalformedBody(f"the transaction body cannot be read: {detail}") from error


def _body(raw: bytes, members: dict[int, Any]) -> TransactionBody:
    inputs = _inputs(members[0])
    if not inputs:
        raise ValueError("a transaction spends at least one output")
    return TransactionBody(
        raw=raw,
        inputs=inputs,
        outputs=tuple(_output(one) for one in _list(members[1])),
        fee=_amount(members[2]),
        ttl=_amount(members[3]) if 3 in members else None,
        valid_from=_amount(members[8]) if 8 in members else None,
        certificates=tuple(_certificate(one) for one in _set(members.get(4, []))),
        withdrawals=tuple((address_text(_bytes(who, 29)), _amount(sum_)) for who, sum_ in _map(members.get(5, {}))),
        mint=_tokens(members.get(9, {}), signed=True),
        collateral=_inputs(members.get(13, [])),
        collateral_return=_output(members[16]) if 16 in members else None,
        total_collateral=_amount(members[17]) if 17 in members else None,
        required_signers=tuple(_bytes(one, 28) for one in _set(members.get(14, []))),
        reference_inputs=_inputs(members.get(18, [])),
        network_id=_amount(members[15]) if 15 in members else None,
        donation=_amount(members.get(22, 0)),
        has_scripts=11 in members or bool(members.get(13)),
    )


def _output(item: Any) -> Output:
    if type(item) is dict:
        unknown = item.keys() - {0, 1, 2, 3}
        if unknown or not {0, 1} <= item.keys():
            raise ValueError("an output has an address, a value, and at most a datum and a script")
        address, value, has_datum, has_script = item[0], item[1], 2 in item, 3 in item
    else:
        parts = _list(item)
        if len(parts) not in (2, 3):
            raise ValueError("an output has an address, a value, and at most the hash of a datum")
        address, value, has_datum, has_script = parts[0], parts[1], len(parts) == 3, False
    coins = value
    tokens: tuple[Token, ...] = ()
    if type(value) is list:
        if len(value) != 2:
            raise ValueError("a value is coins, or coins with tokens")
        coins, tokens = value[0], _tokens(value[1], signed=False)
    raw = _bytes(address)
    return Output(
        address=raw,
        text=address_text(raw),
        lovelace=_amount(coins),
        tokens=tokens,
        has_datum=has_datum,
        has_script=has_script,
    )


def _tokens(item: Any, *, signed: bool) -> tuple[Token, ...]:
    found = []
    for policy, names in _map(item):
        policy_id = _bytes(policy, 28)
        for name, amount in _map(names):
            if type(amount) is not int or not (-(2**63) if signed else 0) <= amount <= (2**63 - 1 if signed else _MAX):
                raise ValueError("an amount of a token is out of range")
            if len(_bytes(name)) > 32:
                raise ValueError("the name of a token has at most 32 bytes")
            found.append(Token(policy_id, name, amount))
    return tuple(found)


def _inputs(item: Any) -> tuple[Input, ...]:
    found = []
    for one in _set(item):
        parts = _list(one)
        if len(parts) != 2 or _amount(parts[1]) > 0xFFFF:
            raise ValueError("an input is a transaction and the place of its output")
        found.append(Input(_bytes(parts[0], 32), parts[1]))
    if len(set(found)) != len(found):
        raise ValueError("an input is named twice")
    return tuple(found)


def _certificate(item: Any) -> str:
    parts = _list(item)
    kind = parts[0] if parts else None
    if type(kind) is not int or kind not in CERTIFICATES:
        raise ValueError("a certificate of a kind that is not offered")
    return CERTIFICATES[kind]


def _set(item: Any) -> list[Any]:
    """A list, or a list with the tag of a set."""
    return _list(item.value if isinstance(item, cbor.Tagged) and item.tag == _SET else item)


def _list(item: Any) -> list[Any]:
    if type(item) is not list:
        raise ValueError("expected a list")
    return item


def _map(item: Any) -> list[tuple[Any, Any]]:
    if type(item) is not dict:
        raise ValueError("expected a map")
    return list(item.items())


def _amount(item: Any) -> int:
    if type(item) is not int or not 0 <= item <= _MAX:
        raise ValueError("expected a number that is not negative")
    return item


def _bytes(item: Any, length: int | None = None) -> bytes:
    if type(item) is not bytes or (length is not None and len(item) != length):
        raise ValueError("expected bytes" + ("" if length is None else f", {length} of them"))
    return item
