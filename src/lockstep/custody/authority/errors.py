"""Why authority refuses.

Refuse
├── BadRequest 400      SignatureMalformed, RequestExpiryMissing, RequestExpiryInvalid, RequestNotSignable
├── Unauthorized 401    RequestExpired, AuthorizationInsufficient
├── NotFound 404        AuthorizationKeyNotFound, KeyQuorumNotFound, OwnerNotFound
├── Conflict 409        RequestReplayed, PublicKeyTaken, KeyNeeded, QuorumInUse
└── Unprocessable 422   PublicKeyInvalid, QuorumInvalid, OwnerInvalid

What is missing to a signature is 401, so that an answer is never kept under an idempotency key: the same request may
come again with the signatures that it lacked.
"""

from lockstep.kit.errors import BadRequest, Conflict, NotFound, Unauthorized, Unprocessable


class SignatureMalformed(BadRequest):
    """X-Authorization-Signature, or a header that is signed with it, cannot be read."""

    code = "authorization_signature_malformed"


class RequestExpiryMissing(BadRequest):
    """A signed request needs the header X-Request-Expiry, in Unix milliseconds."""

    code = "request_expiry_missing"


class RequestExpiryInvalid(BadRequest):
    """X-Request-Expiry is not a time in Unix milliseconds that may be asked for."""

    code = "request_expiry_invalid"


class RequestNotSignable(BadRequest):
    """The body has no canonical form that every reader understands the same way."""

    code = "request_not_signable"


class RequestExpired(Unauthorized):
    """The signed request has expired; sign it again."""

    code = "request_expired"


class AuthorizationInsufficient(Unauthorized):
    """The signatures that this needs are missing, or not enough of them are good."""

    code = "authorization_insufficient"


class AuthorizationKeyNotFound(NotFound):
    """There is no such authorization key."""

    code = "authorization_key_not_found"


class KeyQuorumNotFound(NotFound):
    """There is no such key quorum."""

    code = "key_quorum_not_found"


class OwnerNotFound(NotFound):
    """There is no authorization key and no key quorum with the id of this owner."""

    code = "owner_not_found"


class RequestReplayed(Conflict):
    """This signed request was carried out before; sign it again to repeat it."""

    code = "request_replayed"


class PublicKeyTaken(Conflict):
    """This public key is, or was, registered in this app."""

    code = "public_key_taken"


class KeyNeeded(Conflict):
    """Without this key an owner could never authorise anything again."""

    code = "authorization_key_needed"


class QuorumInUse(Conflict):
    """Something still belongs to this quorum."""

    code = "key_quorum_in_use"


class PublicKeyInvalid(Unprocessable):
    """This is not a public key on the curve P-256."""

    code = "authorization_key_invalid"


class QuorumInvalid(Unprocessable):
    """The quorum cannot be made as asked."""

    code = "key_quorum_invalid"


class OwnerInvalid(Unprocessable):
    """This cannot be the owner."""

    code = "owner_invalid"
