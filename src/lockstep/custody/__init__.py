"""Custody: apps, users and other callers; wallets, policies and session signers; previews and signatures; the audit log.

Everything that a wallet's key signs passes `CustodyService`. Sends nothing itself: that is a port (`Sender`), which the
transaction engine implements. Key material is importable inside `custody.execution` only.
"""

from lockstep.custody.access import (
    LOGIN_PURPOSE,
    AccessService,
    App,
    Authenticator,
    Issuer,
    NewSecret,
    WalletLogin,
    bootstrap_admin,
    login_message,
)
from lockstep.custody.access.api import access_router
from lockstep.custody.access.tokens import TokenVerifier
from lockstep.custody.accounts import AccountService, PasswordHashing
from lockstep.custody.accounts.api import account_router
from lockstep.custody.api import router
from lockstep.custody.approvals.api import approval_router
from lockstep.custody.approvals.service import ApprovalService
from lockstep.custody.apps import AppService
from lockstep.custody.apps.api import app_router
from lockstep.custody.audit import (
    AuditEvent,
    AuditLog,
    AuditVerifier,
    CheckpointFile,
    CheckpointWriter,
    Finding,
    Report,
    RestoreGuard,
    compare_with_mark,
    export_entries,
)
from lockstep.custody.authority import errors as authority_errors
from lockstep.custody.authority.api import authority_router
from lockstep.custody.authority.errors import AuthorizationInsufficient, RequestReplayed
from lockstep.custody.authority.requests import NO_BODY, RequestSignatures
from lockstep.custody.authority.service import AuthorityService
from lockstep.custody.condition_sets import ConditionSetService
from lockstep.custody.condition_sets.api import condition_set_router
from lockstep.custody.errors import (
    SIGNING_REFUSALS,
    AdminCredentialInvalid,
    AppCredentialsInvalid,
    AuditChainBroken,
    CallerHasNoApp,
    CallerNotAllowed,
    CredentialsMissing,
    DecisionMismatch,
    DecisionUnknown,
    FeeAboveCeiling,
    IdempotencyInProgress,
    IdempotencyKeyMalformed,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    IssuerUnavailable,
    OwnerRequired,
    PolicyDenied,
    PreviewOutdated,
    SessionTokenInvalid,
    SigningDenied,
    SigningStopped,
    TokenExpired,
    TokenInvalid,
    UserDisabled,
    WalletNotFound,
)
from lockstep.custody.execution import (
    AuthorizationIssuer,
    AuthorizationKey,
    AuthShares,
    Executor,
    LocalExecutor,
    LocalKms,
    SecretVault,
    SignerClient,
    SignerClientConfig,
    SignerConfig,
    SignerUnavailable,
    create_key_file,
    create_recovery_key,
    derive_key,
    open_recovery_share,
    read_key_file,
    run_signer,
    serve_signer,
    verify_transport,
)
from lockstep.custody.idempotency import Claim, IdempotencyStore, Outcome, ResponseBox, claim_for
from lockstep.custody.limits import AggregationService
from lockstep.custody.limits.api import aggregation_router
from lockstep.custody.policy import PolicyInvalid
from lockstep.custody.ports import NonceLedger, Sender
from lockstep.custody.registry import NewWallet, WalletFilter
from lockstep.custody.responses import answer
from lockstep.custody.seals import Anchors, AuthorityTampered, Seals
from lockstep.custody.service import CustodyService
from lockstep.custody.sessions import SessionTerms
from lockstep.custody.signing.preview import Preview
from lockstep.custody.signing.request_box import RequestBox
from lockstep.custody.switches import KillSwitch, SwitchService
from lockstep.custody.switches import list_engaged as list_engaged_switches
from lockstep.custody.switches.api import switch_router
from lockstep.custody.trials import TrialService, trial_router
from lockstep.custody.types import (
    Decision,
    Policy,
    Principal,
    QueuedTransaction,
    Quote,
    SessionSigner,
    SignedTransaction,
    TransactionIntent,
    Wallet,
)
from lockstep.custody.users import User, UserService
from lockstep.custody.users.api import user_router
from lockstep.custody.view import BATCH_MODE, ChainFact, Method, TokenFact, WordFacts, format_units

REQUEST_REFUSALS = (
    authority_errors.SignatureMalformed,
    authority_errors.RequestExpiryMissing,
    authority_errors.RequestExpiryInvalid,
    authority_errors.RequestNotSignable,
    authority_errors.RequestExpired,
)
"""Why a request that carries owners' signatures is not looked at."""

__all__ = [
    "BATCH_MODE",
    "LOGIN_PURPOSE",
    "NO_BODY",
    "REQUEST_REFUSALS",
    "SIGNING_REFUSALS",
    "AccessService",
    "AccountService",
    "AdminCredentialInvalid",
    "AggregationService",
    "Anchors",
    "App",
    "AppCredentialsInvalid",
    "AppService",
    "ApprovalService",
    "AuditChainBroken",
    "AuditEvent",
    "AuditLog",
    "AuditVerifier",
    "AuthShares",
    "Authenticator",
    "AuthorityService",
    "AuthorityTampered",
    "AuthorizationInsufficient",
    "AuthorizationIssuer",
    "AuthorizationKey",
    "CallerHasNoApp",
    "CallerNotAllowed",
    "ChainFact",
    "CheckpointFile",
    "CheckpointWriter",
    "Claim",
    "ConditionSetService",
    "CredentialsMissing",
    "CustodyService",
    "Decision",
    "DecisionMismatch",
    "DecisionUnknown",
    "Executor",
    "FeeAboveCeiling",
    "Finding",
    "IdempotencyInProgress",
    "IdempotencyKeyMalformed",
    "IdempotencyKeyMissing",
    "IdempotencyKeyReused",
    "IdempotencyStore",
    "Issuer",
    "IssuerUnavailable",
    "KillSwitch",
    "LocalExecutor",
    "LocalKms",
    "Method",
    "NewSecret",
    "NewWallet",
    "NonceLedger",
    "Outcome",
    "OwnerRequired",
    "PasswordHashing",
    "Policy",
    "PolicyDenied",
    "PolicyInvalid",
    "Preview",
    "PreviewOutdated",
    "Principal",
    "QueuedTransaction",
    "Quote",
    "Report",
    "RequestBox",
    "RequestReplayed",
    "RequestSignatures",
    "ResponseBox",
    "RestoreGuard",
    "Seals",
    "SecretVault",
    "Sender",
    "SessionSigner",
    "SessionTerms",
    "SessionTokenInvalid",
    "SignedTransaction",
    "SignerClient",
    "SignerClientConfig",
    "SignerConfig",
    "SignerUnavailable",
    "SigningDenied",
    "SigningStopped",
    "SwitchService",
    "TokenExpired",
    "TokenFact",
    "TokenInvalid",
    "TokenVerifier",
    "TransactionIntent",
    "TrialService",
    "User",
    "UserDisabled",
    "UserService",
    "Wallet",
    "WalletFilter",
    "WalletLogin",
    "WalletNotFound",
    "WordFacts",
    "access_router",
    "account_router",
    "aggregation_router",
    "answer",
    "app_router",
    "approval_router",
    "authority_router",
    "bootstrap_admin",
    "claim_for",
    "compare_with_mark",
    "condition_set_router",
    "create_key_file",
    "create_recovery_key",
    "derive_key",
    "export_entries",
    "format_units",
    "list_engaged_switches",
    "login_message",
    "open_recovery_share",
    "read_key_file",
    "router",
    "run_signer",
    "serve_signer",
    "switch_router",
    "trial_router",
    "user_router",
    "verify_transport",
]
