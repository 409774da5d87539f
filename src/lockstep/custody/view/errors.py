"""What can be wrong with a request to sign.

LockstepError
├── Refuse
│   ├── RpcInvalid        422  the body does not hold; carries its faults with their paths
│   ├── MethodNotOffered  422  a method that is not signed here
│   └── WrongSender       422  `from` is not the wallet that is asked
└── Stop
    └── ViewMismatch      500  bytes to sign that decode to something else
"""

from collections.abc import Sequence

from lockstep.custody.view.types import MAX_FAULTS, Fault
from lockstep.kit.errors import Stop, Unprocessable


class RpcInvalid(Unprocessable):
    """The request to sign does not hold."""

    code = "rpc_invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MAX_FAULTS])
        first = self.faults[0]
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"{first.path}: {first.message}{others}",
            faults=[{"path": fault.path, "message": fault.message} for fault in self.faults],
        )


class MethodNotOffered(Unprocessable):
    """This method is not offered."""

    code = "method_not_offered"


class WrongSender(Unprocessable):
    """The sender named in the request is not this wallet."""

    code = "wrong_sender"


class ViewMismatch(Stop):
    """The bytes to be signed decode to something else than what was asked for."""

    code = "view_mismatch"
