"""What a node's words mean: outcome of a send, and revert data in an error. Pure; nodes differ, so texts are matched.

Source: error texts of geth, Nethermind, Erigon, Besu, reth and anvil as they are sent for eth_sendRawTransaction; each has
its test, with the file it was read from (tests/support/stub_node/dialects.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class SendOutcome(StrEnum):
    """What became of a raw transaction that was handed to a node."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    """The pool has these very bytes: as good as accepted."""
    NONCE_TOO_LOW = "nonce_too_low"
    """The nonce is mined: ask for the receipts of all its hashes."""
    UNDERPRICED = "underpriced"
    """Another transaction with this nonce pays too much to be replaced, or the tip is below the pool's minimum."""
    NONCE_GAP = "nonce_gap"
    """An earlier nonce is missing."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    FEE_TOO_LOW = "fee_too_low"
    """The fee is below the base fee: wait or raise."""
    INVALID = "invalid"
    """No node will ever take it."""
    UNKNOWN = "unknown"
    """It may or may not be in a pool: send the same bytes again."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """Outcome of one send, with the node's own words (never the bytes)."""

    outcome: SendOutcome
    message: str | None = None

    @property
    def is_in_pool(self) -> bool:
        return self.outcome in (SendOutcome.ACCEPTED, SendOutcome.ALREADY_KNOWN)


_BEST_FIRST = (
    SendOutcome.ACCEPTED,
    SendOutcome.ALREADY_KNOWN,
    SendOutcome.NONCE_TOO_LOW,
    SendOutcome.UNDERPRICED,
    SendOutcome.FEE_TOO_LOW,
    SendOutcome.NONCE_GAP,
    SendOutcome.INSUFFICIENT_FUNDS,
    SendOutcome.UNKNOWN,
    SendOutcome.INVALID,
)
"""Nodes may differ. One pool that has the bytes is enough, a nonce that one node has seen mined is mined, and a dearer form
or a wait does no harm where another node is silent. Only `INVALID` gives a nonce away, so all nodes must say it."""


def best_send(results: Sequence[SendResult]) -> SendResult:
    """What the answers of several nodes to the same bytes mean together."""
    return min(results, key=lambda result: _BEST_FIRST.index(result.outcome))


_SEND_TEXTS: tuple[tuple[SendOutcome, tuple[str, ...]], ...] = (
    # The order matters: "replacement transaction underpriced" before "underpriced", and so on.
    (SendOutcome.UNDERPRICED, ("replacement transaction underpriced", "replacement fee too low", "replacement not allowed", "replacementnotallowed", "could not replace existing tx", "to replace existing transaction", "gas price too low to replace")),
    (SendOutcome.ALREADY_KNOWN, ("already known", "already imported", "alreadyknown", "same hash was already imported", "with same hash", "known transaction", "transaction already in pool", "already exists")),
    (SendOutcome.NONCE_TOO_LOW, ("nonce too low", "nonce is too low", "oldnonce", "old nonce", "nonce has already been used")),
    (SendOutcome.NONCE_GAP, ("nonce too high", "nonce is too high", "too far in the future", "too far in future", "noncetoofarinfuture", "too distant from current sender nonce", "exceeds next nonce", "nonce gap", "noncegap", "gapped-nonce", "future transaction")),
    (SendOutcome.INSUFFICIENT_FUNDS, ("insufficient funds", "insufficient balance", "not enough funds", "upfront cost exceeds account balance", "insufficientfunds")),
    (SendOutcome.FEE_TOO_LOW, ("less than block base fee", "fee cap less than", "max fee per gas less", "feetoolow", "fee too low")),
    (SendOutcome.UNDERPRICED, ("underpriced", "tip below minimum", "priority fee below minimum", "tip cap below", "gas tip cap", "gas price too low", "gas price below")),
    (SendOutcome.INVALID, ("intrinsic gas too low", "intrinsic gas too high", "intrinsicgas", "exceeds block gas limit", "exceeds max transaction gas limit", "greater than the block gas limit", "gas limit reached", "gaslimitexceeded", "gas limit too high", "gas limit exceeds", "gas limit is too high", "exceeds the configured cap", "gas uint64 overflow", "gasuintoverflow", "int256overflow", "cost overflow", "negative value", "oversized data", "rlptoolong", "maxtxsizeexceeded", "max initcode size", "initcode too large", "nonce has max value", "transaction invalid", "invalid sender", "failed to recover sender", "failedtoresolvesender", "invalid chain id", "wrong chain", "invalid signature", "invalid transaction signature", "only replay-protected", "floor data gas", "tip higher than fee cap", "max priority fee per gas higher", "rlp:", "failed to decode", "sender is not an eoa", "sender not an eoa", "transaction type not supported", "transaction type is not activated", "notsupportedtxtype")),
)  # fmt: skip
_UNKNOWN_TEXTS = ("unknown transaction",)
_WHOLE_TEXTS = {"invalid": SendOutcome.INVALID}
"""Words too common to look for inside others; Nethermind said no more than this, or details behind a comma."""
_REVERT_TEXTS = ("revert", "evm error", "vm execution error", "vm exception", "invalid opcode", "out of gas", "stack underflow", "stack overflow", "bad instruction", "invalid jump")  # fmt: skip
_BUSY_TEXTS = ("rate limit", "too many requests", "limit exceeded", "429", "timeout", "timed out", "txpool is full", "temporarily unavailable", "header not found", "missing trie node")  # fmt: skip
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2}){4,}")


_BEHIND_TEXTS = ("beyond current head", "beyond head", "invalid block range", "blockoutofrange", "unknown block")
"""Of a node that does not have the end of a range yet."""
_TOO_MANY_BLOCKS = ("block range", "range is too", "range too", "range limit", "maximum range", "max range", "limited to a", "blocks range", "too many blocks", "up to a", "exceed maximum block")  # fmt: skip
_TOO_MANY_LOGS = ("query returned more than", "too many results", "too many logs", "exceeds max results", "max results", "response size", "response is too", "query timeout", "logs matched by query exceeds")  # fmt: skip


def too_wide(code: int, message: str) -> Literal["blocks", "logs"] | None:
    """Whether an error of eth_getLogs means that less must be asked for: fewer blocks whatever they hold, or fewer logs.

    Source: texts of geth, Erigon, Nethermind, Besu and reth, and of Alchemy, Infura, QuickNode, Ankr and Chainstack.
    """
    text = message.lower()
    if code == 3 or "revert" in text or any(part in text for part in _BEHIND_TEXTS):
        return None
    if any(part in text for part in _TOO_MANY_LOGS):
        return "logs"
    return "blocks" if any(part in text for part in _TOO_MANY_BLOCKS) else None


def classify_send(message: str) -> SendOutcome:
    """Outcome that the text of an error of eth_sendRawTransaction stands for; `UNKNOWN` when the text is not known."""
    text = message.lower()
    if any(part in text for part in _UNKNOWN_TEXTS):
        return SendOutcome.UNKNOWN
    if (whole := _WHOLE_TEXTS.get(text.partition(",")[0])) is not None:
        return whole
    for outcome, parts in _SEND_TEXTS:
        if any(part in text for part in parts):
            return outcome
    return SendOutcome.UNKNOWN


def revert_data(code: int, message: str, data: object) -> bytes | None:
    """Revert data in the error of a call; None when the error is not about the call's execution.

    Some nodes put the bytes into `data`, some into an object inside it, some into the message.
    """
    text = message.lower()
    is_revert = code == 3 or any(part in text for part in _REVERT_TEXTS)
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, str) and value.startswith("0x")), None)
    if isinstance(data, str):
        found = _HEX.search(data)
        if found is not None or data == "0x":
            return bytes.fromhex(found.group(0)[2:]) if found else b""
    if not is_revert:
        return None
    found = _HEX.search(message)
    return bytes.fromhex(found.group(0)[2:]) if found else b""


def printable(text: str) -> str:
    """Text of a node or a contract with escapes for what no column stores or no eye sees: NUL, controls, surrogates.

    A contract chooses the words with which it refuses, and whoever stores them as they are fails at its will.
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def is_busy(code: int, message: str) -> bool:
    """Whether another node, or the same one later, may answer what this error refused.

    What is said about an execution or about a transaction is an answer, whatever words stand in it: a contract that
    refuses with "timeout" must not look like a node that is away, or it takes its whole batch along.
    """
    text = message.lower()
    if code == 3 or any(part in text for part in _REVERT_TEXTS) or classify_send(message) is not SendOutcome.UNKNOWN:
        return False
    if too_wide(code, message) is not None:
        return False  # every node may say so, and none of them is away
    return code == 429 or any(part in text for part in (*_BUSY_TEXTS, *_BEHIND_TEXTS))
