"""Reads the body of `POST /v1/wallets/{id}/rpc` into a typed request; every fault with its path, nothing unknown let by.

Envelope `{"method", "caip2"?, "chain_type"?, "params", "preview_digest"?}`. Quantities are 0x hex, decimal strings or JSON
integers up to 2^53-1. Sending may leave nonce, gas and fees open; pure signing may not: there is no default for a
number that is signed. Pure: asks no node and no database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lockstep.chains.evm import (
    Address,
    BadAddress,
    MalformedTransaction,
    Speed,
    UnknownChain,
    UnsignedTransaction,
    chain_name,
    parse_address,
    parse_chain,
    read_typed_data,
)
from lockstep.custody.view.errors import MethodNotOffered, RpcInvalid
from lockstep.custody.view.types import (
    Fault,
    Method,
    PersonalSign,
    RpcRequest,
    SendTransaction,
    SignTransaction,
    SignTypedData,
    TransactionDraft,
)

MAX_DATA_BYTES = 131_072
MAX_MESSAGE_BYTES = 131_072
MAX_JSON_INTEGER = 2**53 - 1
_MAX_DEPTH = 40
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")
_HEX_NUMBER = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_HEX_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")
_DIGEST = re.compile(r"0x[0-9a-f]{64}")
_BITS = {"chain_id": 64, "nonce": 64, "gas_limit": 63}  # a bigint in the engine's rows
_FEES = ("max_fee_per_gas", "max_priority_fee_per_gas")
_LATER = {"authorization_list": "EIP-7702 authorizations", "access_list": "access lists", "sponsor": "sponsorship"}


def parse_rpc(body: object) -> RpcRequest:
    """The typed request that a JSON body stands for.

    Raises:
        MethodNotOffered: another method.
        RpcInvalid: unknown or missing members, wrong types, numbers out of range; all faults together.
        MalformedTransaction: numbers that do not hold together, for example a tip above the fee.
        MalformedTypedData: an EIP-712 document that does not hold or carries what would not be signed.
    """
    reader = _Reader()
    envelope = reader.members(
        body, "body", required={"method", "params"}, optional={"caip2", "chain_type", "preview_digest"}
    )
    method = envelope.get("method")
    if "method" in envelope and method not in set(Method):
        raise MethodNotOffered(
            f"expected one of {', '.join(Method)}, was {method[:64]!r}"
            if isinstance(method, str)
            else "method must be text"
        )
    if envelope.get("chain_type", "ethereum") != "ethereum":
        reader.add("chain_type", 'expected "ethereum"')
    preview_digest = envelope.get("preview_digest")
    if preview_digest is not None and not (isinstance(preview_digest, str) and _DIGEST.fullmatch(preview_digest)):
        reader.add("preview_digest", "expected 0x and 64 lower-case hex digits")
    chain_id = reader.caip2(envelope["caip2"]) if "caip2" in envelope else None
    reader.check()
    params = envelope["params"]
    if method in (Method.SEND_TRANSACTION, Method.SIGN_TRANSACTION):
        return _transaction(reader, Method(method), params, chain_id, preview_digest)
    if "caip2" in envelope:
        reader.add("caip2", f"not part of {method}")
    if method == Method.PERSONAL_SIGN:
        return _personal_sign(reader, params, preview_digest)
    return _typed_data(reader, params, preview_digest)


def _transaction(
    reader: _Reader, method: Method, params: object, chain_id: int | None, preview_digest: str | None
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


def _personal_sign(reader: _Reader, params: object, preview_digest: str | None) -> PersonalSign:
    given = reader.members(params, "params", required={"message"}, optional={"encoding"})
    message, encoding = given.get("message"), given.get("encoding")
    content = b""
    if "encoding" in given and encoding not in ("utf-8", "hex"):
        reader.add("params.encoding", 'expected "utf-8" or "hex"')
    elif "message" in given and not isinstance(message, str):
        reader.add("params.message", "expected text")
    elif isinstance(message, str) and encoding == "hex":
        content = reader.blob(message, "params.message", MAX_MESSAGE_BYTES)
    elif isinstance(message, str):
        if encoding is None and len(message) > 2 and _HEX_BYTES.fullmatch(message):
            reader.add("params.encoding", 'is missing; the message looks like hex, say "hex" or "utf-8"')
        try:
            content = message.encode()
        except UnicodeEncodeError:
            reader.add("params.message", "text that is not valid Unicode")
        if len(content) > MAX_MESSAGE_BYTES:
            reader.add("params.message", f"expected at most {MAX_MESSAGE_BYTES} bytes, was {len(content)}")
    reader.check()
    return PersonalSign(content=content, preview_digest=preview_digest)


def _typed_data(reader: _Reader, params: object, preview_digest: str | None) -> SignTypedData:
    at = "params.typed_data"
    raw = reader.members(params, "params", required={"typed_data"}).get("typed_data", {})
    primary_name = "primaryType" if isinstance(raw, Mapping) and "primaryType" in raw else "primary_type"
    given = reader.members(raw, at, required={"types", primary_name, "domain", "message"})
    reader.exact_numbers(given.get("domain"), f"{at}.domain", 0)
    reader.exact_numbers(given.get("message"), f"{at}.message", 0)
    reader.check()
    document = {
        "types": given["types"],
        "primaryType": given[primary_name],
        "domain": given["domain"],
        "message": given["message"],
    }
    return SignTypedData(document=document, data=read_typed_data(document), preview_digest=preview_digest)


class _Reader:
    """Reads members of a JSON document and collects what is wrong with them."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, path: str, message: str) -> None:
        self._faults.append(Fault(path, message))

    def check(self) -> None:
        if self._faults:
            raise RpcInvalid(self._faults)

    def members(
        self, value: object, path: str, required: set[str], optional: set[str] | None = None
    ) -> Mapping[str, Any]:
        """The members of an object; a missing or unknown one is a fault."""
        if not isinstance(value, Mapping):
            self.add(path, "expected an object")
            return {}
        prefix = "" if path == "body" else f"{path}."
        known = required | (optional or set())
        for name in value:
            if name not in known:
                shown = str(name)[:64]
                later = _LATER.get(shown)
                self.add(prefix + shown, f"{later} are not offered" if later else "is not known here")
        for name in sorted(required - value.keys()):
            self.add(prefix + name, "is missing")
        return {name: value[name] for name in value if name in known}

    def quantity(self, value: object, path: str, bits: int) -> int:
        number = -1
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value <= MAX_JSON_INTEGER:
                number = value
            else:
                self.add(path, "JSON integers go from 0 to 2^53-1; write larger ones as text")
                return 0
        elif isinstance(value, str) and _DECIMAL.fullmatch(value):
            number = int(value)
        elif isinstance(value, str) and _HEX_NUMBER.fullmatch(value):
            number = int(value, 16)
        if number < 0:
            self.add(path, "expected 0x hex, a decimal string or a JSON integer, without sign or leading zero")
            return 0
        if number >> bits:
            self.add(path, f"expected at most 2^{bits}-1")
        return number

    def address(self, value: object, path: str) -> Address | None:
        try:
            return parse_address(value)  # type: ignore[arg-type]  # it refuses what is not text
        except BadAddress as error:
            self.add(path, error.detail)
            return None

    def blob(self, value: object, path: str, limit: int) -> bytes:
        if not isinstance(value, str):
            self.add(path, "expected bytes as 0x hex")
            return b""
        if len(value) > 2 * limit + 2:
            self.add(path, f"expected at most {limit} bytes")
            return b""
        if not _HEX_BYTES.fullmatch(value):
            self.add(path, "expected bytes as 0x hex, two digits each")
            return b""
        return bytes.fromhex(value[2:])

    def speed(self, value: object, path: str) -> Speed:
        if not isinstance(value, str) or value not in set(Speed):
            self.add(path, f"expected one of {', '.join(Speed)}")
            return Speed.STANDARD
        return Speed(value)

    def caip2(self, value: object) -> int | None:
        try:
            return parse_chain(value)  # type: ignore[arg-type]  # checked by the next lines
        except UnknownChain as error:
            self.add("caip2", error.detail)
        except TypeError:
            self.add("caip2", 'expected text like "eip155:1"')
        return None

    def exact_numbers(self, value: object, path: str, depth: int) -> None:
        """A JSON number above 2^53-1 or with a fraction may have lost digits on its way here: refuse it."""
        if depth > _MAX_DEPTH:
            self.add(path, f"nested deeper than {_MAX_DEPTH} levels")
        elif isinstance(value, float):
            self.add(path, "expected a whole number; write it as text")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_JSON_INTEGER:
            self.add(path, "JSON integers go to 2^53-1; write larger ones as text")
        elif isinstance(value, Mapping):
            for name, part in value.items():
                self.exact_numbers(part, f"{path}.{str(name)[:64]}", depth + 1)
        elif isinstance(value, list | tuple):
            for index, part in enumerate(value):
                self.exact_numbers(part, f"{path}[{index}]", depth + 1)
