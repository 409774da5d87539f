"""Identifiers: UUIDv7 as bare text, so that rows sort by creation and read the same on the wire, in SQL and in logs.

Does not know any business object; modules declare their own ``NewType`` over ``str``.
"""

import os
import re
import threading
import time
from typing import NewType

AppId = NewType("AppId", str)
UserId = NewType("UserId", str)
WalletId = NewType("WalletId", str)
CorrelationId = NewType("CorrelationId", str)

_UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_lock = threading.Lock()
_last_ms = 0
_sequence = 0


def new_id() -> str:
    """Return a fresh UUIDv7 (RFC 9562 section 5.7) as lower-case text, monotonic within this process.

    The 12 bits after the version are a counter within one millisecond, so ids made by one process sort by creation.
    """
    global _last_ms, _sequence
    with _lock:
        now_ms = time.time_ns() // 1_000_000  # identity, not business time: ids must never repeat under a test clock
        if now_ms > _last_ms:
            _last_ms, _sequence = now_ms, int.from_bytes(os.urandom(1), "big")
        else:
            _sequence += 1
            if _sequence > 0xFFF:
                _last_ms, _sequence = _last_ms + 1, 0
        ms, sequence = _last_ms, _sequence
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    text = f"{ms:012x}7{sequence:03x}{tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether the text has the shape of an id (any UUID, lower case)."""
    return _UUID_TEXT.fullmatch(text) is not None
