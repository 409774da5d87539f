"""The one road to a chain: nonces, fees, signatures through custody, broadcast, replacement, confirmation.

Knows no business reason for a transaction, holds no key, and decides nothing about permission.
"""

from lockstep.transactions.api import router
from lockstep.transactions.balances import TokenBalances
from lockstep.transactions.engine import TransactionEngine
from lockstep.transactions.errors import (
    DoubleSignPrevented,
    FeeCeilingTooLow,
    IdempotencyKeyReused,
    NonceTaken,
    NoPrivateNode,
    NotCancellable,
    NotReplaceable,
    TransactionNotFound,
)
from lockstep.transactions.evm.family import evm_families
from lockstep.transactions.evm.measure import SENDS_SINCE
from lockstep.transactions.evm.nonces import list_next_nonces
from lockstep.transactions.sender import TransactionSender
from lockstep.transactions.service import TransactionsService
from lockstep.transactions.store.accounts import list_senders
from lockstep.transactions.types import (
    ENGINE_STEPS,
    REPAIR_STEPS,
    REPLACEMENT_STEPS,
    TERMINAL,
    EngineSettings,
    State,
    StateObserver,
    Step,
    Transaction,
    TransactionAuthority,
    TransactionSigner,
)
from lockstep.transactions.views import public

__all__ = [
    "ENGINE_STEPS",
    "REPAIR_STEPS",
    "REPLACEMENT_STEPS",
    "SENDS_SINCE",
    "TERMINAL",
    "DoubleSignPrevented",
    "EngineSettings",
    "FeeCeilingTooLow",
    "IdempotencyKeyReused",
    "NoPrivateNode",
    "NonceTaken",
    "NotCancellable",
    "NotReplaceable",
    "State",
    "StateObserver",
    "Step",
    "TokenBalances",
    "Transaction",
    "TransactionAuthority",
    "TransactionEngine",
    "TransactionNotFound",
    "TransactionSender",
    "TransactionSigner",
    "TransactionsService",
    "evm_families",
    "list_next_nonces",
    "list_senders",
    "public",
    "router",
]
