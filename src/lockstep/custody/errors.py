"""Why custody refuses.

Refuse
├── Unauthorized 401
│   ├── CredentialsMissing, AppCredentialsInvalid, AdminCredentialInvalid
│   ├── TokenInvalid, TokenExpired            the user's JWT
│   ├── SessionTokenInvalid                   session signer or wallet login
│   ├── LoginInvalid                          message or signature of a wallet login
│   └── PasswordWrong, RefreshTokenInvalid    accounts
├── Forbidden 403
│   ├── CallerHasNoApp, CallerNotAllowed, AddressNotAllowed, OwnerRequired, AccountsOff, RegistrationClosed
│   └── SigningDenied                         recorded as a denied decision
│       ├── PolicyDenied
│       ├── WalletFrozen, WalletArchived, UserDisabled
│       └── SessionExpired, SessionRevoked, SessionMethodDenied, SessionValueDenied, SessionLimitReached
├── NotFound 404    AppNotFound, SecretNotFound, WalletNotFound, PolicyNotFound, SessionSignerNotFound, UserNotFound, AccountNotFound
├── BadRequest 400  IdempotencyKeyMissing, IdempotencyKeyMalformed, SessionAmbiguous
├── Conflict 409    IdempotencyInProgress, PreviewOutdated, BatchNotSupported, LoginReplayed, LastSecret,
    │                   DecisionMismatch, FeeAboveCeiling, ExternalIdTaken, AccountNameTaken
└── Unprocessable 422
    └── IdempotencyKeyReused, IssuerInvalid, SecretExpiryInvalid, AccountNameInvalid, PasswordTooWeak, RequestInvalid, ChainMismatch, FamilyMismatch, SessionInvalid, TooManyPolicies
TooMany 429         TooManyLogins
Retry 503           IssuerUnavailable, LoginsBusy, DecisionLapsed, SigningStopped   (the latter recorded as a denied decision)
Stop 500            SignatureMismatch, AuditChainBroken, DecisionUnknown, StoredAnswerUnreadable
"""

from lockstep.custody.authority.errors import AuthorizationInsufficient
from lockstep.kit.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Retry,
    Stop,
    TooMany,
    Unauthorized,
    Unprocessable,
)


class CredentialsMissing(Unauthorized):
    """Credentials are needed."""

    code = "credentials_missing"


class AppCredentialsInvalid(Unauthorized):
    """The app id and secret do not belong to an active app."""

    code = "app_credentials_invalid"


class AdminCredentialInvalid(Unauthorized):
    """The administrator's credential is not valid."""

    code = "admin_credential_invalid"


class TokenInvalid(Unauthorized):
    """The user's token is not valid for this app."""

    code = "token_invalid"


class TokenExpired(Unauthorized):
    """The token has expired."""

    code = "token_expired"


class SessionTokenInvalid(Unauthorized):
    """The session token is not valid."""

    code = "session_token_invalid"


class LoginInvalid(Unauthorized):
    """The login message or its signature is not valid."""

    code = "login_invalid"


class PasswordWrong(Unauthorized):
    """The name or the password is not right."""

    code = "password_wrong"


class RefreshTokenInvalid(Unauthorized):
    """The refresh token is not valid, or its login has ended; sign in again."""

    code = "refresh_token_invalid"


class AccountsOff(Forbidden):
    """This app has no accounts with passwords."""

    code = "accounts_off"


class RegistrationClosed(Forbidden):
    """This app makes its accounts itself."""

    code = "registration_closed"


class CallerHasNoApp(Forbidden):
    """Only callers that belong to an app may do this."""

    code = "caller_has_no_app"


class CallerNotAllowed(Forbidden):
    """This kind of caller may not do this."""

    code = "caller_not_allowed"


class AddressNotAllowed(Forbidden):
    """The app's secrets may not be used from this network address."""

    code = "address_not_allowed"


class OwnerRequired(Forbidden):
    """Only the owner may do this."""

    code = "owner_required"


class SigningDenied(Forbidden):
    """The signature was denied."""

    code = "signing_denied"


class PolicyDenied(SigningDenied):
    """No rule of the policies allows this, or one denies it."""

    code = "policy_denied"


class DecisionLapsed(Retry):
    """The signature took too long after its decision, and what it held of a limit was given back; ask again."""

    code = "decision_lapsed"


class SigningStopped(Retry):
    """Signing is stopped for now by a kill switch; nothing was signed."""

    code = "signing_stopped"


class AppSuspended(SigningDenied):
    """The app is suspended and signs nothing."""

    code = "app_suspended"


class PolicyMissing(SigningDenied):
    """An attached policy does not exist, so nothing is allowed."""

    code = "policy_missing"


class WalletFrozen(SigningDenied):
    """The wallet is frozen and signs nothing."""

    code = "wallet_frozen"


class UserDisabled(SigningDenied):
    """The user was disabled in its app."""

    code = "user_disabled"


class WalletArchived(SigningDenied):
    """The wallet is archived and signs nothing until it is restored."""

    code = "wallet_archived"


class SessionExpired(SigningDenied):
    """The session signer has expired."""

    code = "session_expired"


class SessionRevoked(SigningDenied):
    """The session signer was revoked."""

    code = "session_revoked"


class SessionLimitReached(SigningDenied):
    """The session signer has used what it may use in all, or within its window."""

    code = "session_limit_reached"


class SessionMethodDenied(SigningDenied):
    """The session signer may not call this method."""

    code = "session_method_denied"


class SessionValueDenied(SigningDenied):
    """The value is above the limit of the session signer."""

    code = "session_value_denied"


SIGNING_REFUSALS = (
    AuthorizationInsufficient,
    PolicyDenied,
    PolicyMissing,
    SigningStopped,
    AppSuspended,
    WalletFrozen,
    WalletArchived,
    UserDisabled,
    OwnerRequired,
    SessionExpired,
    SessionRevoked,
    SessionMethodDenied,
    SessionValueDenied,
    SessionLimitReached,
    DecisionLapsed,
)
"""Why something is not signed for a caller."""


class AppNotFound(NotFound):
    """There is no such app."""

    code = "app_not_found"


class SecretNotFound(NotFound):
    """There is no such app secret."""

    code = "secret_not_found"


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"


class AccountNotFound(NotFound):
    """The user has no account with a password here."""

    code = "account_not_found"


class WalletNotFound(NotFound):
    """There is no such wallet."""

    code = "wallet_not_found"


class PolicyNotFound(NotFound):
    """There is no such policy."""

    code = "policy_not_found"


class SessionSignerNotFound(NotFound):
    """There is no such session signer."""

    code = "session_signer_not_found"


class IdempotencyKeyMissing(BadRequest):
    """This request needs an Idempotency-Key header."""

    code = "idempotency_key_missing"


class IdempotencyKeyMalformed(BadRequest):
    """The Idempotency-Key must be 1 to 256 visible ASCII characters."""

    code = "idempotency_key_malformed"


class IdempotencyInProgress(Conflict):
    """The first request with this idempotency key is still running."""

    code = "idempotency_in_progress"
    retry_after_seconds = 1


class IdempotencyKeyReused(Unprocessable):
    """The idempotency key was used for a different request."""

    code = "idempotency_key_reused"


class PreviewOutdated(Conflict):
    """Something that the preview showed has changed; show a new one."""

    code = "preview_outdated"


class BatchNotSupported(Conflict):
    """The account runs no code that makes several calls at once; delegate it to such a contract, or send them one by one."""

    code = "batch_not_supported"


class LoginReplayed(Conflict):
    """This login message was used before."""

    code = "login_replayed"


class LastSecret(Conflict):
    """An app keeps at least one active secret; make the next one first."""

    code = "last_secret"


class AccountNameTaken(Conflict):
    """An account of the app has this name."""

    code = "account_name_taken"


class ExternalIdTaken(Conflict):
    """A wallet of the app has this external id; it is never given twice."""

    code = "external_id_taken"


class DecisionMismatch(Conflict):
    """The transaction is not the one that was decided on."""

    code = "decision_mismatch"


class FeeAboveCeiling(Conflict):
    """Gas or fees are above the ceilings that were decided on."""

    code = "fee_above_ceiling"


class IssuerInvalid(Unprocessable):
    """The issuer of user tokens is not configured well."""

    code = "issuer_invalid"


class AccountNameInvalid(Unprocessable):
    """An account's name has 3 to 254 visible characters, without spaces."""

    code = "account_name_invalid"


class PasswordTooWeak(Unprocessable):
    """The password would be guessed."""

    code = "password_too_weak"


class SecretExpiryInvalid(Unprocessable):
    """A secret expires after it was made."""

    code = "secret_expiry_invalid"


class RequestInvalid(Unprocessable):
    """The request cannot be signed as it stands."""

    code = "request_invalid"


class ChainMismatch(Unprocessable):
    """The chain of the request and the chain id of the transaction differ."""

    code = "chain_mismatch"


class TooManyPolicies(Unprocessable):
    """More policies are attached than one wallet or session signer may have."""

    code = "too_many_policies"


class SessionAmbiguous(BadRequest):
    """The keys of several session signers signed this; name one of them in X-Authorization-Key-Id."""

    code = "session_signer_ambiguous"


class FamilyMismatch(Unprocessable):
    """The wallet's key is of another family of chains than the request."""

    code = "family_mismatch"


class SessionInvalid(Unprocessable):
    """The session signer cannot be granted as asked."""

    code = "session_invalid"


class TooManyLogins(TooMany):
    """Signing in failed too often; wait before the next attempt."""

    code = "too_many_logins"


class LoginsBusy(Retry):
    """Too many passwords are being looked at; try again in a moment."""

    code = "logins_busy"


class IssuerUnavailable(Retry):
    """The public keys of the token issuer cannot be read at the moment."""

    code = "issuer_unavailable"


class SignatureMismatch(Stop):
    """The signer's signature is not by the wallet's key; nothing was released."""

    code = "signature_mismatch"


class AuditChainBroken(Stop):
    """The audit log does not verify."""

    code = "audit_chain_broken"


class DecisionUnknown(Stop):
    """There is no allowed decision for this signature."""

    code = "decision_unknown"


class StoredAnswerUnreadable(Stop):
    """A stored answer does not open: another key is configured, or the row was edited."""

    code = "stored_answer_unreadable"
