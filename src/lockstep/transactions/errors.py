"""What can be wrong with a transaction.

LockstepError
├── Refuse
│   ├── TransactionNotFound     404  none with this id in this app
│   ├── NoPrivateNode           422  a private transaction on a chain without a private node
│   ├── IdempotencyKeyReused    422  the key belongs to another transaction of this wallet
│   ├── NotCancellable          409  it is mined or has ended
│   ├── NotReplaceable          409  there is nothing to be made dearer
│   ├── FeeCeilingTooLow        409  the ceilings leave no room for what nodes want
│   └── NonceTaken              409  the nonce belongs to something else, or the chain has passed it
└── Stop
    └── DoubleSignPrevented     500  a second, different signature for a nonce was about to be asked for
"""

from lockstep.kit.errors import Conflict, NotFound, Stop, Unprocessable


class TransactionNotFound(NotFound):
    """There is no such transaction."""

    code = "transaction_not_found"


class NoPrivateNode(Unprocessable):
    """This chain has no private node."""

    code = "no_private_node"


class IdempotencyKeyReused(Unprocessable):
    """This idempotency key was used for another transaction."""

    code = "idempotency_key_reused"


class NotCancellable(Conflict):
    """The transaction is mined or has ended."""

    code = "transaction_not_cancellable"


class NotReplaceable(Conflict):
    """There is nothing of this transaction to be made dearer."""

    code = "transaction_not_replaceable"


class FeeCeilingTooLow(Conflict):
    """The fee ceilings leave no room."""

    code = "fee_ceiling_too_low"


class NonceTaken(Conflict):
    """This nonce is taken."""

    code = "nonce_taken"


class DoubleSignPrevented(Stop):
    """A second signature for the same nonce was prevented."""

    code = "double_sign_prevented"
