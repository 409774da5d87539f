"""Reads what is signed blindly: the params of `secp256k1_sign`, and the body of `raw_sign`.

Bytes that a method of its own can show are refused here with its name. That helps who took the wrong way; it defends
nothing, because a hash can stand for the same bytes.
"""

from __future__ import annotations

from contextlib import suppress

from lockstep.chains.evm import HashFunction, MalformedTransaction, decode_authorization, decode_unsigned
from lockstep.custody.view.parsing.reader import HEX_BYTES, Reader
from lockstep.custody.view.types import BlindSign

MAX_BYTES = 131_072
_FUNCTIONS: dict[str, HashFunction] = {"keccak256": "keccak256", "sha256": "sha256"}


def parse_hash(reader: Reader, params: object, preview_digest: str | None) -> BlindSign:
    """Read the params of `secp256k1_sign`: a hash of 32 bytes."""
    given = reader.members(params, "params", required={"hash"})
    content = reader.hash(given["hash"], "params.hash") if "hash" in given else b""
    reader.check()
    return BlindSign(content=content, preview_digest=preview_digest)


def parse_raw_sign(body: object) -> BlindSign:
    """The request that the body of `raw_sign` stands for: `{"params": {"hash"}}`, or
    `{"params": {"bytes", "encoding", "hash_function"}}` with encoding "hex" or "utf-8" and keccak256 or sha256.

    Raises:
        RpcInvalid: all faults together.
    """
    reader = Reader()
    envelope = reader.members(body, "body", required={"params"}, optional={"preview_digest"})
    shown = reader.preview_digest(envelope.get("preview_digest"))
    reader.check()
    params = envelope["params"]
    if isinstance(params, dict) and "bytes" in params:
        return _bytes(reader, params, shown)
    parsed = parse_hash(reader, params, shown)
    return BlindSign(content=parsed.content, preview_digest=shown, asked_as="raw_sign")


def _bytes(reader: Reader, params: dict[str, object], shown: str | None) -> BlindSign:
    names = {"bytes", "encoding", "hash_function"}
    given = reader.members(params, "params", required=names)
    function = _FUNCTIONS.get(str(given.get("hash_function")))
    if "hash_function" in given and function is None:
        reader.add("params.hash_function", f"expected one of {', '.join(_FUNCTIONS)}")
    encoding, text = given.get("encoding"), given.get("bytes")
    content = b""
    if "encoding" in given and encoding not in ("hex", "utf-8"):
        reader.add("params.encoding", 'expected "hex" or "utf-8"')
    elif encoding == "hex":
        content = reader.blob(text, "params.bytes", MAX_BYTES)
    elif encoding == "utf-8":
        content = _text(reader, text)
    method = _method_of(content) if function == "keccak256" else None
    if method is not None:
        reader.add("params.bytes", f"these bytes are what {method} signs; ask it, and its rules see what they do")
    reader.check()
    assert function is not None  # a missing one is a fault above
    return BlindSign(content=content, function=function, preview_digest=shown, asked_as="raw_sign")


def _text(reader: Reader, text: object) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        reader.add("params.bytes", f"expected text of at most {MAX_BYTES} characters")
        return b""
    if len(text) > 2 and HEX_BYTES.fullmatch(text):
        reader.add("params.encoding", 'the text looks like hex; say "hex" if it is meant so')
    try:
        return text.encode()
    except UnicodeEncodeError:
        reader.add("params.bytes", "text that is not valid Unicode")
        return b""


def _method_of(content: bytes) -> str | None:
    """The method that signs exactly these bytes."""
    if content[:2] == b"\x19\x01" and len(content) == 66:
        return "eth_signTypedData_v4"
    if content.startswith(b"\x19Ethereum Signed Message:\n"):
        return "personal_sign"
    with suppress(MalformedTransaction):
        decode_unsigned(content)
        return "eth_signTransaction"
    with suppress(MalformedTransaction):
        decode_authorization(content)
        return "eth_sign7702Authorization"
    return None
