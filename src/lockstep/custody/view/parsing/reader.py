"""Reads members of a JSON document, collects every fault with its path, and lets nothing unknown by. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lockstep.chains.evm import Address, BadAddress, Speed, UnknownChain, parse_address, parse_chain
from lockstep.custody.view.errors import RpcInvalid
from lockstep.custody.view.types import Fault

MAX_JSON_INTEGER = 2**53 - 1
HEX_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")
_MAX_DEPTH = 40
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")
_HEX_NUMBER = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DIGEST = re.compile(r"0x[0-9a-f]{64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_HEX_WORD = re.compile(r"0x[0-9a-fA-F]{1,64}")
_LATER = {
    "authorization_list": "EIP-7702 authorizations are signed (eth_signTransaction), not sent",
    "access_list": "transactions with access lists are signed (eth_signTransaction), not sent",
    "blob_versioned_hashes": "transactions with blobs are signed (eth_signTransaction), not sent",
    "sponsor": "sponsorship is not offered",
}


class Reader:
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
                self.add(prefix + shown, _LATER.get(shown, "is not known here"))
        for name in sorted(required - value.keys()):
            self.add(prefix + name, "is missing")
        return {name: value[name] for name in value if name in known}

    def preview_digest(self, value: object) -> str | None:
        """The digest of a preview that a request names; None where it names none."""
        if isinstance(value, str) and _DIGEST.fullmatch(value):
            return value
        if value is not None:
            self.add("preview_digest", "expected 0x and 64 lower-case hex digits")
        return None

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

    def word(self, value: object, path: str) -> int:
        """A number of up to 32 bytes as 0x hex, leading zeros allowed: how signatures are written."""
        if not isinstance(value, str) or not _HEX_WORD.fullmatch(value):
            self.add(path, "expected 0x and up to 64 hex digits")
            return 0
        return int(value, 16)

    def hash(self, value: object, path: str) -> bytes:
        """Exactly 32 bytes as 0x hex."""
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            self.add(path, "expected 0x and 64 hex digits")
            return b""
        return bytes.fromhex(value[2:])

    def sequence(self, value: object, path: str, most: int, least: int = 1) -> list[Any]:
        """A list of `least` to `most` items."""
        if not isinstance(value, list) or not least <= len(value) <= most:
            self.add(path, f"expected a list of {least} to {most}")
            return []
        return value

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
        if not HEX_BYTES.fullmatch(value):
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
