"""Reads the params of `eth_sendTransaction` and `eth_signTransaction`.

Signing takes all types, with every number given; sending takes what the engine makes by itself: fee caps, and no lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep.chains.evm import (
    Address,
    EnvelopeType,
    MalformedTransaction,
    SignedAuthorization,
    Speed,
    UnsignedTransaction,
    chain_name,
)
from lockstep.custody.view.parsing.authorizations import read_authorization
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import SendTransaction, SignTransaction, TransactionDraft

MAX_DATA_BYTES = 131_072
MAX_LIST = 256
"""Entries of an access list, keys of an entry, authorizations: more than any transaction that pays for itself."""
_AT = "params.transaction"
_BITS = {"chain_id": 64, "nonce": 64, "gas_limit": 63}  # a bigint in the engine's rows
_FEES = ("max_fee_per_gas", "max_priority_fee_per_gas")
_NUMBERS = ("type", "chain_id", "nonce", "value", "gas_limit", "gas_price", *_FEES, "max_fee_per_blob_gas")
_COMMON = frozenset({"type", "chain_id", "to", "value", "data", "from", "nonce", "gas_limit"})
_BLOBS = frozenset({"max_fee_per_blob_gas", "blob_versioned_hashes"})


def parse_send(reader: Reader, params: object, chain_id: int | None, preview_digest: str | None) -> SendTransaction:
    """Read a transaction to be sent; what it leaves open is bound later."""
    given = reader.members(params, "params", required={"transaction"}, optional={"speed", "private"})
    raw = given.get("transaction", {})
    speed = reader.speed(given["speed"], "params.speed") if "speed" in given else Speed.STANDARD
    is_private = given.get("private")
    if "private" in given and not isinstance(is_private, bool):
        reader.add("params.private", "expected true or false")
    priced = isinstance(raw, Mapping) and "gas_price" in raw
    tx = reader.members(raw, _AT, required=set(), optional={*_COMMON, *({"gas_price"} if priced else _FEES)})
    number = _numbers(reader, tx)
    if priced:
        reader.add(f"{_AT}.gas_price", "transactions are sent with max_fee_per_gas, also where it bounds a gas price")
    elif number.get("type", 2) != 2:
        reader.add(f"{_AT}.type", "expected 2; other types are signed (eth_signTransaction), not sent")
    if "nonce" in tx:
        reader.add(f"{_AT}.nonce", "the nonce of a sent transaction is bound when it is signed; leave it out")
    if chain_id is None:
        reader.add("caip2", "is missing; expected the chain to send on")
    _check_chain(reader, number, chain_id)
    to, sender, data = _contents(reader, tx)
    reader.check()
    assert chain_id is not None  # a missing one is a fault above
    fee, tip = number.get("max_fee_per_gas"), number.get("max_priority_fee_per_gas")
    if fee is not None and tip is not None and tip > fee:
        raise MalformedTransaction("max_priority_fee_per_gas must not be above max_fee_per_gas")
    draft = TransactionDraft(
        chain_id=chain_id,
        to=to,
        value=number.get("value", 0),
        data=data,
        gas_limit=number.get("gas_limit"),
        max_fee_per_gas=fee,
        max_priority_fee_per_gas=tip,
    )
    return SendTransaction(
        chain=chain_name(chain_id),
        draft=draft,
        speed=speed,
        is_private=is_private,
        from_address=sender,
        preview_digest=preview_digest,
    )


def parse_sign(reader: Reader, params: object, chain_id: int | None, preview_digest: str | None) -> SignTransaction:
    """Read a transaction to be signed exactly as it is."""
    raw = reader.members(params, "params", required={"transaction"}).get("transaction", {})
    members = frozenset(raw) if isinstance(raw, Mapping) else frozenset()
    kinds, required, optional = _shape(members)
    tx = reader.members(raw, _AT, required={"nonce", "gas_limit", *required}, optional={*_COMMON, *optional})
    number = _numbers(reader, tx)
    kind = kinds[0]
    if "type" in tx:
        found: tuple[EnvelopeType, ...] = tuple(one for one in kinds if one == number["type"])
        if not found:
            reader.add(f"{_AT}.type", f"expected {' or '.join(map(str, kinds))} with these members")
        kind = found[0] if found else kind
    if chain_id is None:
        chain_id = number.get("chain_id")
        if "chain_id" not in tx:
            reader.add(f"{_AT}.chain_id", "is missing; expected it here or as caip2")
    _check_chain(reader, number, chain_id)
    to, sender, data = _contents(reader, tx)
    accessed = _access_list(reader, tx["access_list"]) if "access_list" in tx else ()
    hashes = _blob_hashes(reader, tx["blob_versioned_hashes"]) if "blob_versioned_hashes" in tx else ()
    authorizations = _authorizations(reader, tx["authorization_list"]) if "authorization_list" in tx else ()
    reader.check()
    assert chain_id is not None  # a missing one is a fault above
    transaction = UnsignedTransaction(
        type=kind,
        chain_id=chain_id,
        nonce=number["nonce"],
        to=to,
        value=number.get("value", 0),
        data=data,
        gas_limit=number["gas_limit"],
        max_fee_per_gas=number["gas_price" if kind < 2 else "max_fee_per_gas"],
        max_priority_fee_per_gas=number["gas_price" if kind < 2 else "max_priority_fee_per_gas"],
        access_list=accessed,
        max_fee_per_blob_gas=number.get("max_fee_per_blob_gas", 0),
        blob_hashes=hashes,
        authorizations=authorizations,
    )
    return SignTransaction(
        chain=chain_name(chain_id), transaction=transaction, from_address=sender, preview_digest=preview_digest
    )


def _shape(members: frozenset[str]) -> tuple[tuple[EnvelopeType, ...], set[str], set[str]]:
    """The types that members can stand for, the likeliest first, with those that they require and allow."""
    if members & _BLOBS:
        return (3,), {*_FEES, *_BLOBS}, {"access_list"}
    if "authorization_list" in members:
        return (4,), {*_FEES, "authorization_list"}, {"access_list"}
    if "gas_price" in members:
        return ((1,) if "access_list" in members else (0, 1)), {"gas_price"}, {"access_list"}
    return (2,), {*_FEES}, {"access_list"}


def _numbers(reader: Reader, tx: Mapping[str, Any]) -> dict[str, int]:
    return {name: reader.quantity(tx[name], f"{_AT}.{name}", _BITS.get(name, 256)) for name in _NUMBERS if name in tx}


def _check_chain(reader: Reader, number: Mapping[str, int], chain_id: int | None) -> None:
    if chain_id is not None and number.get("chain_id", chain_id) != chain_id:
        reader.add(f"{_AT}.chain_id", "names another chain than caip2")
    if chain_id == 0:
        reader.add(f"{_AT}.chain_id", "expected a chain id of at least 1")


def _contents(reader: Reader, tx: Mapping[str, Any]) -> tuple[Address | None, Address | None, bytes]:
    """Recipient, sender and data."""
    to = reader.address(tx["to"], f"{_AT}.to") if tx.get("to") is not None else None
    sender = reader.address(tx["from"], f"{_AT}.from") if "from" in tx else None
    data = reader.blob(tx["data"], f"{_AT}.data", MAX_DATA_BYTES) if "data" in tx else b""
    if tx.get("to") is None and not data:
        reader.add(f"{_AT}.to", "is missing; only the creation of a contract has no recipient, and it needs data")
    return to, sender, data


def _access_list(reader: Reader, raw: object) -> tuple[tuple[Address, tuple[bytes, ...]], ...]:
    at = f"{_AT}.access_list"
    entries = []
    for index, entry in enumerate(reader.sequence(raw, at, MAX_LIST, least=0)):
        here = f"{at}[{index}]"
        given = reader.members(entry, here, required={"address", "storage_keys"})
        address = reader.address(given["address"], f"{here}.address") if "address" in given else None
        keys = reader.sequence(given.get("storage_keys", []), f"{here}.storage_keys", MAX_LIST, least=0)
        read = tuple(reader.hash(key, f"{here}.storage_keys[{n}]") for n, key in enumerate(keys))
        if address is not None:
            entries.append((address, read))
    return tuple(entries)


def _blob_hashes(reader: Reader, raw: object) -> tuple[bytes, ...]:
    at = f"{_AT}.blob_versioned_hashes"
    return tuple(reader.hash(one, f"{at}[{index}]") for index, one in enumerate(reader.sequence(raw, at, MAX_LIST)))


def _authorizations(reader: Reader, raw: object) -> tuple[SignedAuthorization, ...]:
    at = f"{_AT}.authorization_list"
    read = [
        read_authorization(reader, one, f"{at}[{index}]")
        for index, one in enumerate(reader.sequence(raw, at, MAX_LIST))
    ]
    return tuple(one for one in read if one is not None)
