"""Reads the params of `wallet_sendCalls`: calls that are made in one transaction, all of them or none."""

from __future__ import annotations

from lockstep.chains.evm import ZERO_ADDRESS, Speed, chain_name
from lockstep.custody.view.parsing.reader import Reader
from lockstep.custody.view.types import Call, Method, SendTransaction, TransactionDraft

MAX_CALLS = 50
MAX_DATA_BYTES = 131_072


def parse_calls(reader: Reader, params: object, chain_id: int | None, preview_digest: str | None) -> SendTransaction:
    """Read calls to be sent: `{"calls": [{"to", "value"?, "data"?}], "speed"?, "private"?}`."""
    given = reader.members(params, "params", required={"calls"}, optional={"speed", "private"})
    speed = reader.speed(given["speed"], "params.speed") if "speed" in given else Speed.STANDARD
    is_private = given.get("private")
    if "private" in given and not isinstance(is_private, bool):
        reader.add("params.private", "expected true or false")
    if chain_id is None:
        reader.add("caip2", "is missing; expected the chain to send on")
    listed = reader.sequence(given["calls"], "params.calls", MAX_CALLS) if "calls" in given else []
    calls = tuple(_call(reader, one, f"params.calls[{index}]") for index, one in enumerate(listed))
    if sum(len(call.data) for call in calls) > MAX_DATA_BYTES:
        reader.add("params.calls", f"expected at most {MAX_DATA_BYTES} bytes of data in all")
    reader.check()
    assert chain_id is not None  # a missing one is a fault above
    return SendTransaction(
        method=Method.SEND_CALLS,
        chain=chain_name(chain_id),
        draft=TransactionDraft(chain_id=chain_id, to=None),
        calls=calls,
        speed=speed,
        is_private=is_private,
        preview_digest=preview_digest,
    )


def _call(reader: Reader, raw: object, at: str) -> Call:
    given = reader.members(raw, at, required={"to"}, optional={"value", "data"})
    to = reader.address(given["to"], f"{at}.to") if "to" in given else None
    if to == ZERO_ADDRESS:
        reader.add(
            f"{at}.to", "in a batch the zero address means the account itself; name its address if that is meant"
        )
    value = reader.quantity(given["value"], f"{at}.value", 256) if "value" in given else 0
    data = reader.blob(given["data"], f"{at}.data", MAX_DATA_BYTES) if "data" in given else b""
    return Call(to, value, data)
