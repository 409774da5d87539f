"""Strict binary fields: what frames and authorizations are made of. Every value has one encoding; leftovers are refused."""

from __future__ import annotations

from lockstep.custody.execution.errors import ProtocolViolation


class Writer:
    """Collects fields; lengths are checked when written, so that an encoder cannot cut a value off."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []

    def number(self, value: int, size: int) -> Writer:
        """An unsigned integer of `size` bytes, big-endian."""
        self._parts.append(value.to_bytes(size, "big"))
        return self

    def fixed(self, content: bytes | bytearray, size: int) -> Writer:
        """Exactly `size` bytes."""
        if len(content) != size:
            raise ValueError(f"expected {size} bytes, was {len(content)}")
        self._parts.append(content)
        return self

    def text(self, value: str) -> Writer:
        """At most 255 bytes of UTF-8."""
        return self.blob(value.encode(), 1)

    def blob(self, content: bytes | bytearray, length_size: int) -> Writer:
        """Bytes behind a length of `length_size` bytes."""
        if len(content) >= 1 << 8 * length_size:
            raise ValueError(f"expected less than {1 << 8 * length_size} bytes, was {len(content)}")
        self._parts.append(len(content).to_bytes(length_size, "big"))
        self._parts.append(content)
        return self

    def done(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """Reads the fields of one message.

    Raises:
        ProtocolViolation: from every method when the message is too short or a text is not UTF-8.
    """

    __slots__ = ("_at", "_content")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def fixed(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise ProtocolViolation("a message is shorter than its fields")
        return self._content[start : self._at]

    def number(self, size: int) -> int:
        if size == 1 and self._at < len(self._content):  # most numbers are one byte
            self._at += 1
            return self._content[self._at - 1]
        return int.from_bytes(self.fixed(size), "big")

    def blob(self, length_size: int) -> bytes:
        return self.fixed(self.number(length_size))

    def text(self) -> str:
        try:
            return self.blob(1).decode()
        except UnicodeDecodeError as error:
            raise ProtocolViolation("a text is not UTF-8") from error

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            ProtocolViolation: something is.
        """
        if self._at != len(self._content):
            raise ProtocolViolation("a message is longer than its fields")
