"""What can be wrong with bytes of Cardano.

LockstepError
└── Refuse
    ├── MalformedBody       422  a transaction body or message that cannot be read, or could be read in two ways
    └── BadCardanoAddress   422  text or bytes that are no address
"""

from lockstep.kit.errors import Unprocessable


class MalformedBody(Unprocessable):
    """The Cardano transaction or message does not hold."""

    code = "malformed_cardano_body"


class BadCardanoAddress(Unprocessable):
    """This is not a Cardano address."""

    code = "bad_cardano_address"
