"""Hashes, trees and the verification of an audit log: pure, so that an auditor can run it on an export.

    entry_hash = SHA-256("lockstep audit v1" ‖ prev_hash ‖ record)        record: RFC 8785
    mac        = HMAC-SHA256(key, entry_hash)                             key: outside the database
    leaf       = SHA-256(0x00 ‖ {app_id, entry_hash, seq, shard} as RFC 8785), node = SHA-256(0x01 ‖ left ‖ right)

The keyed code stops somebody who can only write to the database from computing a chain of their own. A signed
checkpoint stops somebody who also has that key: nothing before it can be changed or cut. Entries behind the last
checkpoint can be cut unseen by who holds the key, so the distance between checkpoints is how much that can be.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from lockstep.custody.audit.types import Checkpoint, Entry, Finding, Head, Report
from lockstep.kit.canonical import canonical

SHARDS: Final = 4
"""Chains per app. A wallet always writes to the same one; more of them let more transactions commit at once."""
ZERO: Final = bytes(32)
MAX_FINDINGS: Final = 100
_DOMAIN: Final = b"lockstep audit v1"
_CHECKPOINT_DOMAIN: Final = "lockstep audit checkpoint v1"

Chain = tuple[str, int]
VerifySignature = Callable[[bytes, bytes], bool]
"""(payload, signature) -> whether it is the audit key's."""


def shard_of(subject: str) -> int:
    """The chain of an app to which a subject writes."""
    return hashlib.sha256(subject.encode()).digest()[0] % SHARDS


def entry_hash(prev_hash: bytes, record: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + prev_hash + record).digest()


def entry_mac(key: bytes, digest: bytes) -> bytes:
    return hmac.digest(key, digest, "sha256")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of a tree as in RFC 6962 section 2.1; the empty tree has the hash of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def head_leaf(head: Head) -> bytes:
    return canonical({"app_id": head.app_id, "entry_hash": head.entry_hash.hex(), "seq": head.seq, "shard": head.shard})


def root_of(heads: Iterable[Head]) -> bytes:
    """Merkle root over heads in the order of (app, shard)."""
    return merkle_root([head_leaf(head) for head in sorted(heads, key=lambda head: (head.app_id, head.shard))])


def checkpoint_payload(checkpoint: Checkpoint) -> bytes:
    """The bytes that the audit key signs."""
    return canonical(
        {
            "type": _CHECKPOINT_DOMAIN,
            "number": checkpoint.number,
            "time": checkpoint.time,
            "previous": checkpoint.previous.hex(),
            "root": checkpoint.root.hex(),
            "heads": len(checkpoint.heads),
        }
    )


def checkpoint_hash(checkpoint: Checkpoint) -> bytes:
    """By which the next checkpoint names this one."""
    return hashlib.sha256(checkpoint_payload(checkpoint)).digest()


def verify(
    entries: Iterable[Entry],
    checkpoints: Sequence[Checkpoint],
    verify_signature: VerifySignature,
    *,
    mac_key: bytes | None = None,
    heads: Iterable[Head] | None = None,
    app_id: str | None = None,
) -> Report:
    """Check a whole log: every link, every keyed code, and that every checkpoint is a prefix of the chains.

    Args:
        entries: of all chains, in the order of (app_id, shard, seq).
        checkpoints: in the order in which they were written.
        verify_signature: checks a signature by the audit key's public half.
        mac_key: key of the codes; None leaves them unchecked, as an outside auditor does.
        heads: the heads that the database shows; None when there is only an export.
        app_id: the entries are those of this app only; None: of all.
    Returns:
        What was looked at and the first findings, at most `MAX_FINDINGS`.
    """
    verification = Verification(checkpoints, verify_signature, mac_key=mac_key, app_id=app_id)
    for entry in entries:
        verification.add(entry)
    return verification.finish(heads)


class Verification:
    """`verify` one entry at a time, so that a log of any length can be streamed through."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        verify_signature: VerifySignature,
        *,
        mac_key: bytes | None = None,
        app_id: str | None = None,
    ) -> None:
        """See `verify`."""
        self._mac_key = mac_key
        self._findings: list[Finding] = []
        self._last: dict[Chain, Head] = {}
        self._chain: Chain | None = None
        self._entries = 0
        self._checkpoints = len(checkpoints)
        promised = _check_checkpoints(checkpoints, verify_signature, self._found)
        self._promised = {chain: numbers for chain, numbers in promised.items() if app_id is None or chain[0] == app_id}

    def add(self, entry: Entry) -> None:
        """Check the next entry, in the order of (app_id, shard, seq)."""
        self._entries += 1
        chain = (entry.app_id, entry.shard)
        if chain != self._chain:
            self._chain = chain
            if chain in self._last:
                self._found("entry_out_of_order", _where(entry), "the chain appears a second time")
        _check_entry(entry, self._last.get(chain), self._mac_key, self._found)
        promise = self._promised.get(chain, {}).get(entry.seq)
        if promise is not None and promise[1] != entry.entry_hash:
            self._found("chain_rewritten", _where(entry), f"checkpoint {promise[0]} names another hash for this entry")
        self._last[chain] = Head(app_id=entry.app_id, shard=entry.shard, seq=entry.seq, entry_hash=entry.entry_hash)

    def finish(self, heads: Iterable[Head] | None = None) -> Report:
        """The report, after the last entry; `heads` as in `verify`."""
        _check_ends(self._last, self._promised, self._found)
        if heads is not None:
            _check_heads(self._last, heads, self._found)
        return Report(
            entries=self._entries,
            chains=len(self._last),
            checkpoints=self._checkpoints,
            findings=tuple(self._findings),
        )

    def _found(self, code: str, where: str, detail: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(code=code, where=where, detail=detail))


_Found = Callable[[str, str, str], None]
_Promises = dict[Chain, dict[int, tuple[int, bytes]]]


def _where(entry: Entry) -> str:
    return f"{entry.app_id}/{entry.shard}#{entry.seq}"


def _check_entry(entry: Entry, before: Head | None, mac_key: bytes | None, found: _Found) -> None:
    expected_seq = before.seq + 1 if before else 1
    expected_prev = before.entry_hash if before else ZERO
    if entry.seq > expected_seq:
        found("entry_missing", _where(entry), f"expected entry {expected_seq} before it")
    elif entry.seq < expected_seq:
        found("entry_out_of_order", _where(entry), f"expected entry {expected_seq}")
    elif entry.prev_hash != expected_prev:
        found("link_broken", _where(entry), "it does not follow from the entry before it")
    if entry_hash(entry.prev_hash, entry.record.encode("utf-8", "surrogatepass")) != entry.entry_hash:
        found("entry_changed", _where(entry), "its hash is not that of its record")
    elif mac_key is not None and not hmac.compare_digest(entry_mac(mac_key, entry.entry_hash), entry.mac):
        found("mac_wrong", _where(entry), "its code was not made with the audit key")
    if not _names_itself(entry):
        found("entry_changed", _where(entry), "its record belongs to another place")


def _names_itself(entry: Entry) -> bool:
    try:
        record = json.loads(entry.record)
    except ValueError:
        return False
    return isinstance(record, Mapping) and (record.get("app_id"), record.get("shard"), record.get("seq")) == (
        entry.app_id,
        entry.shard,
        entry.seq,
    )


def _check_checkpoints(
    checkpoints: Sequence[Checkpoint], verify_signature: VerifySignature, found: _Found
) -> _Promises:
    """Check the statements among themselves; returns the hash that each promises for (chain, seq)."""
    promised: _Promises = {}
    before: Checkpoint | None = None
    for checkpoint in checkpoints:
        where = f"checkpoint {checkpoint.number}"
        expected = before.number + 1 if before else 1
        if checkpoint.number != expected:
            found("checkpoint_missing", where, f"expected checkpoint {expected}")
        elif checkpoint.previous != (checkpoint_hash(before) if before else ZERO):
            found("checkpoint_changed", where, "it does not follow from the checkpoint before it")
        before = checkpoint
        if not verify_signature(checkpoint_payload(checkpoint), checkpoint.signature):
            found("checkpoint_signature_wrong", where, "its signature is not by the audit key")
        elif root_of(checkpoint.heads) != checkpoint.root:
            found("checkpoint_changed", where, "its heads do not have its root")
        for head in checkpoint.heads:
            if head.seq > 0:
                numbers = promised.setdefault((head.app_id, head.shard), {})
                numbers.setdefault(head.seq, (checkpoint.number, head.entry_hash))
    return promised


def _check_ends(last: Mapping[Chain, Head], promised: _Promises, found: _Found) -> None:
    for chain, numbers in promised.items():
        seq = max(numbers)
        end = last[chain].seq if chain in last else 0
        if end < seq:
            found(
                "chain_cut",
                f"{chain[0]}/{chain[1]}#{end}",
                f"it ends at {end}, but checkpoint {numbers[seq][0]} names entry {seq}",
            )


def _check_heads(last: Mapping[Chain, Head], heads: Iterable[Head], found: _Found) -> None:
    shown = {(head.app_id, head.shard): head for head in heads if head.seq > 0}
    for chain in last.keys() | shown.keys():
        if last.get(chain) != shown.get(chain):
            found("head_wrong", f"{chain[0]}/{chain[1]}", "the head is not the newest entry")
