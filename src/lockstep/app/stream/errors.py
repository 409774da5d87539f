"""Why the stream refuses a frame or ends a connection.

Refuse
├── BadRequest 400      FrameInvalid, FilterInvalid
├── NotFound 404        TopicUnknown, SubscriptionUnknown
├── Conflict 409        SubscriptionExists
└── TooMany 429         TooManySubscriptions, TooManyFrames

Close codes: 4000 FRAME, 4001 CREDENTIALS, 4008 TOO_SLOW, 4029 TOO_MANY, 1012 the server restarts.
"""

from typing import Final

from lockstep.kit.errors import BadRequest, Conflict, NotFound, TooMany

CLOSE_FRAME: Final = 4000
"""What was sent is not a frame of this protocol."""
CLOSE_CREDENTIALS: Final = 4001
"""The credentials have ended."""
CLOSE_TOO_SLOW: Final = 4008
"""The client did not read fast enough; it resumes by sequence when it is back."""
CLOSE_TOO_MANY: Final = 4029
"""The client sends too many frames."""
CLOSE_RESTART: Final = 1012


class FrameInvalid(BadRequest):
    """The frame is not one of this protocol."""

    code = "frame_invalid"


class FilterInvalid(BadRequest):
    """The filter names something that this topic cannot be filtered by."""

    code = "filter_invalid"


class TopicUnknown(NotFound):
    """There is no such topic."""

    code = "topic_unknown"


class SubscriptionUnknown(NotFound):
    """There is no subscription with this id on this connection."""

    code = "subscription_unknown"


class SubscriptionExists(Conflict):
    """A subscription with this id exists on this connection."""

    code = "subscription_exists"


class TooManySubscriptions(TooMany):
    """The connection holds as many subscriptions as are allowed."""

    code = "too_many_subscriptions"


class TooManyFrames(TooMany):
    """The connection sends too many frames."""

    code = "too_many_frames"
