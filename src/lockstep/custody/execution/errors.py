"""What can go wrong around keys.

LockstepError
├── Refuse
│   ├── PayloadRefused          422  the signer cannot read what it shall sign
│   ├── WalletKeyExists         409  this wallet has a key already; a key is never overwritten
│   └── KeyFileInvalid          400  a key file that is missing, readable by others, or not 64 hex digits
├── Retry
│   ├── SignerUnavailable       503  no signer answers; nothing may be concluded about requests in flight
│   ├── SignerBusy              503  the signer has more authorizations in memory than it keeps
│   ├── SignerRestarted         503  authorized for another signer or another boot of it: authorize again
│   ├── AuthorizationExpired    503  authorized too long ago: authorize again
│   └── DeadlinePassed          503  the request waited longer than its caller
└── Stop
    ├── SigningRefused          500  forged, used twice, or given for something else than the request
    ├── ShareMismatch           500  the shares do not make the key of this address
    ├── SealBroken              500  an envelope that does not open: moved, edited, cut or sealed by another key
    ├── WalletKeyMissing        500  the signer has no share for this wallet
    ├── SignatureFault          500  the signature that was made is not by the key it was made with
    ├── SameKeyForBothShares    500  one key opens both shares, so that there is no split at all
    ├── SignerNotTrusted        500  the other side of the socket does not know the shared key
    ├── ProtocolViolation       500  bytes on the socket that are no frame of this protocol
    └── SignerAlreadyRunning    500  another signer owns this socket
"""

from lockstep.kit.errors import BadRequest, Conflict, LockstepError, Retry, Stop, Unprocessable


class PayloadRefused(Unprocessable):
    """The signer cannot read what it was asked to sign."""

    code = "payload_refused"


class WalletKeyExists(Conflict):
    """This wallet has a key already."""

    code = "wallet_key_exists"


class KeyFileInvalid(BadRequest):
    """A key file does not hold."""

    code = "key_file_invalid"


class SignerUnavailable(Retry):
    """The signer cannot be reached at the moment."""

    code = "signer_unavailable"


class SignerBusy(Retry):
    """The signer has too much to do at the moment."""

    code = "signer_busy"


class SignerRestarted(Retry):
    """The authorization was given for another signer, or before the signer was restarted."""

    code = "signer_restarted"


class AuthorizationExpired(Retry):
    """The authorization to sign has expired."""

    code = "authorization_expired"


class DeadlinePassed(Retry):
    """The request waited longer than its caller does."""

    code = "signer_deadline_passed"


class SigningRefused(Stop):
    """The signer refused: this signature was not authorized."""

    code = "signing_refused"


class ShareMismatch(Stop):
    """The shares do not make the key of this address."""

    code = "share_mismatch"


class SealBroken(Stop):
    """Sealed bytes do not open."""

    code = "seal_broken"


class WalletKeyMissing(Stop):
    """The signer has no share of this wallet's key."""

    code = "wallet_key_missing"


class SignatureFault(Stop):
    """The signature that was made does not verify; it was not released."""

    code = "signature_fault"


class SameKeyForBothShares(Stop):
    """The same key opens the auth shares and the exec shares."""

    code = "same_key_for_both_shares"


class SignerNotTrusted(Stop):
    """The other side of the signer's socket did not prove that it knows the shared key."""

    code = "signer_not_trusted"


class ProtocolViolation(Stop):
    """The other side of the signer's socket does not speak the protocol."""

    code = "signer_protocol_violation"


class SignerAlreadyRunning(Stop):
    """Another signer owns this socket."""

    code = "signer_already_running"


WIRE_ERRORS: dict[str, type[LockstepError]] = {
    cls.code: cls
    for cls in (
        PayloadRefused,
        WalletKeyExists,
        SignerUnavailable,
        SignerBusy,
        SignerRestarted,
        AuthorizationExpired,
        DeadlinePassed,
        SigningRefused,
        ShareMismatch,
        SealBroken,
        WalletKeyMissing,
        SignatureFault,
        SignerNotTrusted,
        ProtocolViolation,
    )
}
"""What a signer may answer, by code; anything else in an answer is a violation of the protocol."""
