"""Reads the params of `eth_sendTransaction` and `eth_signTransaction`."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.chains.evm import MalformedTransaction, Speed, UnsignedTransaction, chain_name
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import Method, SendTransaction, SignTransaction, TransactionDraft

MAX_DATA_BYTES = 131_072
_BITS = {"chain_id": 64, "nonce": 64, "gas_limit": 63}  # a bigint in the engine's rows
_FEES = ("max_fee_per_gas", "max_priority_fee_per_gas")


def parse_transaction(
    reader: Reader, method: Method, params: object, chain_id: int | None, preview_digest: str | None
) -> SendTransaction | SignTransaction:
    pure = method == Method.SIGN_TRANSACTION
    given = reader.members(params, "params", required={"transaction"}, optional=set() if pure else {"speed", "private"})
    raw = given.get("transaction", {})
    speed = reader.speed(given["speed"], "params.speed") if "speed" in given else Speed.STANDARD
    is_private = given.get("private")
    if "private" in given and not isinstance(is_private, bool):
        reader.add("params.private", "expected true or false")
    at = "params.transaction"
    legacy = isinstance(raw, Mapping) and "gas_price" in raw
    fees = {"gas_price"} if legacy else set(_FEES)
    tx = reader.members(
        raw,
        at,
        required={"nonce", "gas_limit", *fees} if pure else set(),
        optional={"type", "chain_id", "to", "value", "data", "from", "nonce", "gas_limit", *fees},
    )
    number = {
        name: reader.quantity(tx[name], f"{at}.{name}", _BITS.get(name, 256))
        for name in ("type", "chain_id", "nonce", "value", "gas_limit", "gas_price", *_FEES)
        if name in tx
    }
    kind = number.get("type", 0 if legacy else 2)
    if kind not in (0, 2) or (kind == 0) != legacy:
        reader.add(f"{at}.type", "expected 2 with max_fee_per_gas, or 0 with gas_price; other types are not offered")
    if not pure and legacy:
        reader.add(f"{at}.gas_price", "transactions are sent with max_fee_per_gas, also where it bounds a gas price")
    if not pure and "nonce" in tx:
        reader.add(f"{at}.nonce", "the nonce of a sent transaction is bound when it is signed; leave it out")
    if chain_id is None:
        chain_id = number.get("chain_id")
        if not pure:
            reader.add("caip2", "is missing; expected the chain to send on")
        elif "chain_id" not in tx:
            reader.add(f"{at}.chain_id", "is missing; expected it here or as caip2")
    elif number.get("chain_id", chain_id) != chain_id:
        reader.add(f"{at}.chain_id", "names another chain than caip2")
    if chain_id == 0:
        reader.add(f"{at}.chain_id", "expected a chain id of at least 1")
    to = reader.address(tx["to"], f"{at}.to") if tx.get("to") is not None else None
    sender = reader.address(tx["from"], f"{at}.from") if "from" in tx else None
    data = reader.blob(tx["data"], f"{at}.data", MAX_DATA_BYTES) if "data" in tx else b""
    if tx.get("to") is None and not data:
        reader.add(f"{at}.to", "is missing; only the creation of a contract has no recipient, and it needs data")
    reader.check()
    assert chain_id is not None  # a missing one is a fault above
    chain = chain_name(chain_id)
    fee, tip = number.get("max_fee_per_gas"), number.get("max_priority_fee_per_gas")
    if not pure:
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
            chain=chain,
            draft=draft,
            speed=speed,
            is_private=is_private,
            from_address=sender,
            preview_digest=preview_digest,
        )
    transaction = UnsignedTransaction(
        type=0 if legacy else 2,
        chain_id=chain_id,
        nonce=number["nonce"],
        to=to,
        value=number.get("value", 0),
        data=data,
        gas_limit=number["gas_limit"],
        max_fee_per_gas=number["gas_price" if legacy else "max_fee_per_gas"],
        max_priority_fee_per_gas=number["gas_price" if legacy else "max_priority_fee_per_gas"],
    )
    return SignTransaction(chain=chain, transaction=transaction, from_address=sender, preview_digest=preview_digest)
