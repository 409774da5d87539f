"""Follows the event stream: subscribes, resumes by sequence when the connection is lost, and notices what was missed.

Every durable event is given once and in order per subscription. What cannot be told again is said: `Gap`, then a
`Snapshot` to begin from. Keeps the position of each subscription; a caller may store `Event.seq` and resume from it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from lockstep.client.credentials import Credentials
from lockstep.client.errors import ProblemError, UnexpectedAnswer

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
CLOSE_CREDENTIALS = 4001
MAX_FRAME_BYTES = 16 << 20
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What to follow."""

    topic: str
    id: str | None = None
    """Name of the subscription in its messages; default: the topic."""
    filter: Mapping[str, Any] | None = None
    """Members of the objects → value or values; all must match."""
    types: Sequence[str] | None = None
    """Message types; default: all durable ones. Ephemeral types like `price_update` are only told when named."""
    resume_from: int | None = None
    """Sequence that was seen last; default: begin with a snapshot."""
    snapshot: bool = True

    @property
    def name(self) -> str:
        return self.id or self.topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The objects as they stand when a subscription begins, or begins anew."""

    sub: str
    topic: str
    seq: int
    items: tuple[Mapping[str, Any], ...]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `data` is the object after it. Ephemeral ones have no sequence."""

    sub: str
    topic: str
    type: str
    id: str
    data: Mapping[str, Any]
    seq: int | None
    version: int | None
    time: datetime | None
    """When it happened; of an ephemeral one, the moment that it holds for."""
    app_id: str | None
    correlation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Events after this sequence are lost for this reader; a snapshot follows."""

    sub: str
    topic: str
    after: int
    reason: str


Message = Snapshot | Event | Gap


class _Lost(Exception):
    """The connection is of no use any more; begin another one."""


@dataclass(slots=True)
class _Position:
    """Where a subscription is."""

    subscription: Subscription
    seq: int | None
    """Everything up to here is known; None: nothing yet."""
    told: int | None = None
    """What the server says was the event before the next one, on this connection."""


@dataclass(slots=True)
class Stream:
    """An async context and iterator of messages."""

    url: str
    credentials: Credentials | None
    subscriptions: Sequence[Subscription]
    resume_from: InitVar[str | None] = None
    reconnects: int = field(init=False, default=0)
    """How often the connection was lost."""
    _positions: dict[str, _Position] = field(init=False, repr=False)
    _messages: AsyncGenerator[Message, None] | None = field(init=False, default=None, repr=False)
    _heartbeat: float = field(init=False, default=15.0, repr=False)
    _failures: int = field(init=False, default=0, repr=False)
    """Connections in a row that told nothing."""

    def __post_init__(self, resume_from: str | None) -> None:
        known = json.loads(resume_from) if resume_from else {}
        self._positions = {
            each.name: _Position(each, known.get(each.name, each.resume_from)) for each in self.subscriptions
        }
        if not self.subscriptions or len(self._positions) != len(self.subscriptions):
            raise ValueError("expected at least one subscription, each under a name of its own")

    @property
    def cursor(self) -> str:
        """Where the stream is, as a text to keep; a later stream with the same subscriptions goes on from it."""
        return json.dumps({name: each.seq for name, each in self._positions.items() if each.seq is not None})

    async def __aenter__(self) -> Self:
        self._messages = self._follow()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._messages is not None:
            await self._messages.aclose()
            self._messages = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message.

        Raises:
            ProblemError: the credentials or a subscription are refused.
        """
        if self._messages is None:
            raise RuntimeError("a stream is used as a context: async with client.stream(…) as stream")
        return await anext(self._messages)

    # --- connections --------------------------------------------------------------------------------------------------

    async def _follow(self) -> AsyncGenerator[Message, None]:
        while True:
            try:
                async with self._connect() as connection:
                    await self._subscribe(connection)
                    while True:
                        message = await self._receive(connection)
                        if message is not None:
                            yield message
            except InvalidStatus as error:
                problem = _problem_of(error)
                if not problem.is_retryable and problem.status < 500:
                    raise problem from error
            except ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code == CLOSE_CREDENTIALS:
                    raise ProblemError(
                        error.rcvd.reason or "unauthorized", 401, "the credentials have ended"
                    ) from error
            except (_Lost, OSError, TimeoutError, InvalidHandshake):
                pass
            self.reconnects += 1
            limit = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10), LONGEST_PAUSE_SECONDS)
            self._failures += 1
            await asyncio.sleep(_random.uniform(limit / 2, limit))

    def _connect(self) -> connect:
        address = "ws" + self.url.removeprefix("http") + "/v1/stream"
        headers = self.credentials.headers() if self.credentials is not None else {}
        return connect(address, additional_headers=headers, max_size=MAX_FRAME_BYTES, open_timeout=10, close_timeout=2)

    async def _subscribe(self, connection: ClientConnection) -> None:
        for name, position in self._positions.items():
            wanted = position.subscription
            frame: dict[str, Any] = {"op": "subscribe", "id": name, "topic": wanted.topic, "snapshot": wanted.snapshot}
            if wanted.filter is not None:
                frame["filter"] = dict(wanted.filter)
            if wanted.types is not None:
                frame["types"] = list(wanted.types)
            if position.seq is not None:
                frame["resume_from"] = position.seq
            await connection.send(json.dumps(frame))

    async def _receive(self, connection: ClientConnection) -> Message | None:
        """What the next frame means to the reader; None when nothing."""
        # A server that is silent for several heartbeats is gone, whatever TCP believes.
        text = await asyncio.wait_for(connection.recv(), self._heartbeat * 2.5)
        try:
            return self._take(json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnexpectedAnswer(f"a frame that is not one of the stream: {str(text)[:80]}") from error

    # --- frames -------------------------------------------------------------------------------------------------------

    def _take(self, frame: dict[str, Any]) -> Message | None:
        """What a frame means to the reader; None when nothing."""
        kind = frame.get("type")
        if "topic" in frame and "data" in frame:
            return self._event(frame)
        if kind == "subscribed":
            return self._subscribed(frame)
        if kind == "gap":
            self._positions[frame["sub"]].seq = None
            return Gap(sub=frame["sub"], topic=frame["topic"], after=frame["after"], reason=frame["reason"])
        if kind == "heartbeat":
            self._heard(frame)
        elif kind == "hello":
            self._heartbeat = float(frame.get("heartbeat_seconds", self._heartbeat))
        elif kind == "error":
            problem = ProblemError.from_document(500, frame.get("problem"))
            if problem.is_retryable:
                raise _Lost
            raise problem
        return None

    def _subscribed(self, frame: dict[str, Any]) -> Snapshot | None:
        position = self._positions[frame["sub"]]
        self._failures = 0
        position.seq = position.told = frame["as_of_seq"]
        if frame["resumed"]:
            return None
        return Snapshot(
            sub=frame["sub"],
            topic=frame["topic"],
            seq=frame["as_of_seq"],
            items=tuple(frame.get("snapshot", ())),
            is_complete=bool(frame.get("snapshot_complete", False)),
        )

    def _event(self, frame: dict[str, Any]) -> Event | None:
        position = self._positions[frame["sub"]]
        seq = frame.get("seq")
        if seq is not None:
            if position.seq is not None and seq <= position.seq:
                return None
            if frame.get("prev_seq") != position.told:
                raise _Lost  # something on the way is missing: resume from what is known
            position.seq = position.told = seq
        moment = frame.get("time") or frame.get("as_of")
        return Event(
            sub=frame["sub"],
            topic=frame["topic"],
            type=frame["type"],
            id=frame["id"],
            data=frame["data"],
            seq=seq,
            version=frame.get("version"),
            time=None if moment is None else datetime.fromisoformat(moment),
            app_id=frame.get("app_id"),
            correlation_id=frame.get("correlation_id"),
        )

    def _heard(self, frame: dict[str, Any]) -> None:
        """A heartbeat says up to where a subscription is, even if nothing in between was for it."""
        for name, seq in frame.get("seqs", {}).items():
            position = self._positions.get(name)
            if position is not None and position.seq is not None:
                position.seq = max(position.seq, seq)


def _problem_of(error: InvalidStatus) -> ProblemError:
    response = error.response
    try:
        document: object = json.loads(response.body)
    except ValueError:
        document = None
    return ProblemError.from_document(response.status_code, document)
