"""Reads the params of `cardano_signTransaction` and `cardano_signData`."""

from __future__ import annotations

from lockstep.chains.cardano import read_body
from lockstep.custody.view.parsing.messages import read_message
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import SignCardano, SignCardanoData

MAX_BODY_BYTES = 16_384


def parse_cardano_transaction(reader: Reader, params: object, preview_digest: str | None) -> SignCardano:
    """Read a transaction body: `{"body": CBOR as 0x hex}`.

    Raises:
        RpcInvalid: all faults together. MalformedBody: it cannot be understood as a whole.
    """
    given = reader.members(params, "params", required={"body"})
    raw = reader.blob(given["body"], "params.body", MAX_BODY_BYTES) if "body" in given else b""
    reader.check()
    return SignCardano(body=read_body(raw), preview_digest=preview_digest)


def parse_cardano_data(reader: Reader, params: object, preview_digest: str | None) -> SignCardanoData:
    """Read a message: `{"message", "encoding"}` as for `personal_sign`."""
    return SignCardanoData(content=read_message(reader, params), preview_digest=preview_digest)
