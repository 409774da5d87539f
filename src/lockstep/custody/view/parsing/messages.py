"""Reads the params of `personal_sign` and `eth_signTypedData_v4`."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.chains.evm import read_typed_data
from lockstep.custody.view.parsing.reader import HEX_BYTES, Reader
from lockstep.custody.view.types import PersonalSign, SignTypedData

MAX_MESSAGE_BYTES = 131_072


def parse_personal_sign(reader: Reader, params: object, preview_digest: str | None) -> PersonalSign:
    """Read a message to be signed under EIP-191."""
    return PersonalSign(content=read_message(reader, params), preview_digest=preview_digest)


def read_message(reader: Reader, params: object) -> bytes:
    """The bytes of `{"message", "encoding"?}`; text that looks like hex says which of both it is.

    Raises:
        RpcInvalid: all faults together.
    """
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
        if encoding is None and len(message) > 2 and HEX_BYTES.fullmatch(message):
            reader.add("params.encoding", 'is missing; the message looks like hex, say "hex" or "utf-8"')
        try:
            content = message.encode()
        except UnicodeEncodeError:
            reader.add("params.message", "text that is not valid Unicode")
        if len(content) > MAX_MESSAGE_BYTES:
            reader.add("params.message", f"expected at most {MAX_MESSAGE_BYTES} bytes, was {len(content)}")
    reader.check()
    return content


def parse_typed_data(reader: Reader, params: object, preview_digest: str | None) -> SignTypedData:
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
