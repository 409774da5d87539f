"""Why settlement refuses.

Refuse
├── NotFound 404      SwapNotFound
├── Forbidden 403     NotAParty
├── Conflict 409      FillTaken, SecretTooEarly, SecretTooLate, SecretNotReleased
└── Unprocessable 422 SecretMismatch, PairUnknown, TimeLocksUnfit
Retry 503             SwapMoved, FollowerBehind
"""

from lockstep.kit.errors import Conflict, Forbidden, NotFound, Retry, Unprocessable


class SwapNotFound(NotFound):
    """There is no such swap for this caller."""

    code = "swap_not_found"


class NotAParty(Forbidden):
    """Only a party of the swap may do this."""

    code = "not_a_party"


class FillTaken(Conflict):
    """Another taker has this fill."""

    code = "fill_taken"


class SecretTooEarly(Conflict):
    """The secret may not be released yet; nothing was stored."""

    code = "secret_too_early"


class SecretTooLate(Conflict):
    """The secret may not be released any more; nothing was stored."""

    code = "secret_too_late"


class SecretNotReleased(Conflict):
    """The secret has not been released yet."""

    code = "secret_not_released"


class SecretMismatch(Unprocessable):
    """The secret does not open the hashlock."""

    code = "secret_mismatch"


class PairUnknown(Unprocessable):
    """There is no profile for this pair of chains."""

    code = "pair_unknown"


class TimeLocksUnfit(Unprocessable):
    """The time locks cannot carry a swap between these chains."""

    code = "time_locks_unfit"


class SwapMoved(Retry):
    """The swap or its source escrow changed at this moment; look again."""

    code = "swap_moved"


class FollowerBehind(Retry):
    """The chain shows an event that the follower has not read yet; look again."""

    code = "follower_behind"
