"""uvicorn's WebSocket protocol with one addition: a client that does not read can be cut.

ASGI can only ask to close, which waits until the client has read everything; one that never reads would hold its memory
for as long as TCP lets it.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from lockstep.app.stream.endpoint import CUT

LINGER_SECONDS: Final = 5.0
"""How long a client that was cut may still read why."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """Adds the extension `CUT` to the scope of each connection."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][CUT] = self.cut

    def cut(self, code: int, reason: str) -> None:
        """Queue the close frame behind what was sent, and give up the connection when it is not read in time."""
        if not self.close_sent and not self.transport.is_closing():
            try:
                self.conn.send_close(code, reason)
                self.transport.write(b"".join(self.conn.data_to_send()))
            except InvalidState:
                self.transport.abort()
                return
            self.close_sent = True
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """A peer that does not answer pings is gone; waiting for it to read would keep its memory."""
        super().keepalive_timeout()
        self.transport.abort()
