"""Keys: made, split, sealed and used in one place, the signer process; this package is its client side too.

The policy side gets an `Executor` (`SignerClient`, or `LocalExecutor` in tests), authorizes each signature with an
`AuthorizationIssuer`, and keeps the sealed auth shares. Whole keys exist in the signer's memory for the time of one
signature. `shamir` and `keys` are imported by this package only. Decides nothing about who may sign what.
"""

from lockstep.custody.execution.authorization import (
    AuthorizationIssuer,
    AuthorizationKey,
    ExecutionAuthorization,
    generation_digest,
)
from lockstep.custody.execution.client import SignerClient, SignerClientConfig
from lockstep.custody.execution.errors import (
    AuthorizationExpired,
    DeadlinePassed,
    KeyFileInvalid,
    PayloadRefused,
    ProtocolViolation,
    SameKeyForBothShares,
    SealBroken,
    ShareMismatch,
    SignatureFault,
    SignerAlreadyRunning,
    SignerBusy,
    SignerNotTrusted,
    SignerRestarted,
    SignerUnavailable,
    SigningRefused,
    WalletKeyExists,
    WalletKeyMissing,
)
from lockstep.custody.execution.fingerprints import fingerprint, is_signed_by
from lockstep.custody.execution.kms import LocalKms, create_key_file, derive_key, read_key_file
from lockstep.custody.execution.local import LocalExecutor
from lockstep.custody.execution.recovery import create_recovery_key, open_recovery_share
from lockstep.custody.execution.shares import AuthShares
from lockstep.custody.execution.signer import SignerConfig, run_signer, serve_signer
from lockstep.custody.execution.transport import verify_transport
from lockstep.custody.execution.types import (
    ED25519_OPS,
    TRANSPORT_PURPOSES,
    AuthorizationPayload,
    BlindPayload,
    CardanoMessagePayload,
    CardanoTransactionPayload,
    Curve,
    Executor,
    NewKey,
    Op,
    Payload,
    PersonalMessagePayload,
    Signature,
    SignerIdentity,
    SigningRequest,
    TransactionPayload,
    TransportPurpose,
    TypedDataPayload,
    UserOperationPayload,
    WalletKey,
    signed_content,
)
from lockstep.custody.execution.vault import SecretVault

__all__ = [
    "ED25519_OPS",
    "TRANSPORT_PURPOSES",
    "AuthShares",
    "AuthorizationExpired",
    "AuthorizationIssuer",
    "AuthorizationKey",
    "AuthorizationPayload",
    "BlindPayload",
    "CardanoMessagePayload",
    "CardanoTransactionPayload",
    "Curve",
    "DeadlinePassed",
    "ExecutionAuthorization",
    "Executor",
    "KeyFileInvalid",
    "LocalExecutor",
    "LocalKms",
    "NewKey",
    "Op",
    "Payload",
    "PayloadRefused",
    "PersonalMessagePayload",
    "ProtocolViolation",
    "SameKeyForBothShares",
    "SealBroken",
    "SecretVault",
    "ShareMismatch",
    "Signature",
    "SignatureFault",
    "SignerAlreadyRunning",
    "SignerBusy",
    "SignerClient",
    "SignerClientConfig",
    "SignerConfig",
    "SignerIdentity",
    "SignerNotTrusted",
    "SignerRestarted",
    "SignerUnavailable",
    "SigningRefused",
    "SigningRequest",
    "TransactionPayload",
    "TransportPurpose",
    "TypedDataPayload",
    "UserOperationPayload",
    "WalletKey",
    "WalletKeyExists",
    "WalletKeyMissing",
    "create_key_file",
    "create_recovery_key",
    "derive_key",
    "fingerprint",
    "generation_digest",
    "is_signed_by",
    "open_recovery_share",
    "read_key_file",
    "run_signer",
    "serve_signer",
    "signed_content",
    "verify_transport",
]
