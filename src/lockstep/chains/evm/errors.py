"""What can be wrong with bytes for an EVM chain, and with the way to it.

LockstepError
├── Refuse
│   ├── BadAddress            422  not an address, or a checksum that does not match
│   ├── BadSignature          422  not 65 bytes, v outside 27/28, r or s out of range, or malleated
│   ├── MalformedTransaction  422  a transaction that no node would take or that decodes in two ways
│   ├── MalformedTypedData    422  EIP-712 document that does not hold, or carries what would not be signed
│   ├── MalformedCalldata     422  bytes that are not the canonical ABI form
│   ├── UnknownChain          422  a chain that is not configured here
│   └── CallReverted          422  eth_call reverted; carries the decoded reason
├── Retry
│   ├── NodeUnavailable       503  no configured node answered in time
│   ├── NodesDisagree         503  too few nodes gave the same answer to a reading that money depends on
│   └── NodeError             503  the node answered with an error that is not about the call itself
│       └── RangeTooWide      503  more blocks or logs than the node gives at once
└── Stop
    ├── WrongChain            500  the node serves another chain than the one configured
    ├── ReorganisedTooDeep    500  no common block within what the follower remembers
    └── UnknownArtifact       500  a contract whose artefact is not shipped
"""

from typing import ClassVar

from lockstep.kit.errors import Retry, Stop, Unprocessable


class BadAddress(Unprocessable):
    """This is not an EVM address."""

    code = "bad_address"


class BadSignature(Unprocessable):
    """The signature is not valid."""

    code = "bad_signature"


class MalformedTransaction(Unprocessable):
    """The transaction does not hold."""

    code = "malformed_transaction"


class MalformedTypedData(Unprocessable):
    """The typed data does not hold."""

    code = "malformed_typed_data"


class MalformedCalldata(Unprocessable):
    """The bytes are not in canonical ABI form."""

    code = "malformed_calldata"


class UnknownChain(Unprocessable):
    """This chain is not configured here."""

    code = "unknown_chain"


class CallReverted(Unprocessable):
    """The contract refused the call."""

    code = "call_reverted"

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(f"the contract refused the call: {reason}", reason=reason)
        self.reason = reason
        """Decoded reason, for people: a message, a panic code or the name of a custom error."""
        self.data = data
        """The raw revert data, for callers that know more custom errors."""


class NodeUnavailable(Retry):
    """No node of this chain can be reached at the moment."""

    code = "node_unavailable"


class NodesDisagree(Retry):
    """The nodes of this chain do not give the same answer."""

    code = "nodes_disagree"


class NodeError(Retry):
    """The node could not answer."""

    code = "node_error"

    def __init__(self, detail: str, rpc_code: int = 0, data: str | None = None) -> None:
        super().__init__(detail, rpc_code=rpc_code)
        self.rpc_code = rpc_code
        self.data = data


class RangeTooWide(NodeError):
    """The nodes do not give so much at once."""

    code = "range_too_wide"

    def __init__(self, detail: str, *, is_limit: bool) -> None:
        super().__init__(detail)
        self.is_limit = is_limit
        """Whether it was the number of blocks, whatever they hold."""


class WrongChain(Stop):
    """The node serves another chain than the one that is configured."""

    code = "wrong_chain"


class ReorganisedTooDeep(Stop):
    """The chain was reorganised deeper than the follower can unwind."""

    code = "reorganised_too_deep"


class UnknownArtifact(Stop):
    """The artefact of this contract is not shipped."""

    code = "unknown_artifact"
    http_status: ClassVar[int] = 500
