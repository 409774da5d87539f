"""Why approvals refuse.

Refuse
├── NotFound 404        ApprovalNotFound
├── Conflict 409        ApprovalClosed
└── Unprocessable 422   ApprovalInvalid, ApprovalNotNeeded
"""

from lockstep.kit.errors import Conflict, NotFound, Unprocessable


class ApprovalNotFound(NotFound):
    """There is no such approval."""

    code = "approval_not_found"


class ApprovalClosed(Conflict):
    """The approval is being carried out, or is over."""

    code = "approval_closed"


class ApprovalInvalid(Unprocessable):
    """Nothing that could be approved: the request would not hold."""

    code = "approval_invalid"


class ApprovalNotNeeded(Unprocessable):
    """This belongs to no key and no quorum, so it is asked for directly."""

    code = "approval_not_needed"
