"""The event stream over WebSocket: snapshot, then changes by sequence, resume, bounded queues. Decides no business question."""

from lockstep.app.stream.endpoint import MAX_FRAME_BYTES, PATHS, StreamEndpoint
from lockstep.app.stream.hub import Hub
from lockstep.app.stream.tailer import HEARTBEAT_SECONDS, Tailer, run_heartbeat
from lockstep.app.stream.topics import Filter, Snapshot, Topic, Topics, matches

__all__ = [
    "HEARTBEAT_SECONDS",
    "MAX_FRAME_BYTES",
    "PATHS",
    "Filter",
    "Hub",
    "Snapshot",
    "StreamEndpoint",
    "Tailer",
    "Topic",
    "Topics",
    "matches",
    "run_heartbeat",
]
