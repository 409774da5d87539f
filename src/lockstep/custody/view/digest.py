"""The digest of a preview: it stands for everything that a person was shown, so that execution can name it.

Pure. Who executes builds the view again, computes the digest again and refuses with 409 when they differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from lockstep.custody.view.types import RequestView
from lockstep.kit.canonical import canonical_json

_DOMAIN = b"lockstep preview v1\n"


def preview_digest(
    view: RequestView,
    policies: Iterable[tuple[str, int]],
    *,
    decision: str,
    sentence: str,
    quote: Mapping[str, int | str | bool | None] | None = None,
) -> str:
    """SHA-256 over the canonical JSON (RFC 8785) of what a preview stands for, as 0x hex.

    Args:
        policies: (policy id, revision) of every attached policy; the order does not matter.
        decision: "allow" or "deny".
        sentence: the words that were shown.
        quote: ceilings and outcomes that were shown and must still hold, such as gas limit, highest fee and whether
            the call would revert. What moves with every block (the current base fee) does not belong here.
    """
    document: dict[str, Any] = {
        "request": _request(view),
        "policies": sorted([policy_id, str(revision)] for policy_id, revision in policies),
        "decision": decision,
        "sentence": sentence,
        "quote": {name: _plain(value) for name, value in (quote or {}).items()},
    }
    return "0x" + hashlib.sha256(_DOMAIN + canonical_json(document)).hexdigest()


def _request(view: RequestView) -> dict[str, Any]:
    content: dict[str, Any] = {
        "method": str(view.method),
        "from": view.from_address,
        "payload": None if view.payload is None else "0x" + view.payload.hex(),
    }
    if view.payload is None:  # open numbers are not part of what was shown; every fact that is there is
        tx = view.transaction
        content["facts"] = {name: _plain(value) for name, value in view.fields.items()}
        content["open"] = list(view.open_fields)
        if tx is not None and "max_priority_fee_per_gas" not in view.open_fields:
            content["max_priority_fee_per_gas"] = str(tx.max_priority_fee_per_gas)
    return content


def _plain(value: object) -> str | bool | None:
    if value is None or isinstance(value, bool | str):
        return value
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
