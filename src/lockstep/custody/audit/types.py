"""What an audit log is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lockstep.kit.ids import AppId


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Something that happened and must be provable later. Holds digests and ids, never a secret or a signature."""

    app_id: AppId
    subject: str
    """Id by which the chain is chosen: the wallet, or the object itself where there is none."""
    actor: str
    """Kind and id of the caller."""
    action: str
    """What happened, ``<noun>.<past tense>``: wallet.created, signature.denied."""
    resource: str
    """Kind and id of the object: ``wallet:<id>``."""
    result: str = "done"
    """done, denied or failed."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """More members of the record: strings, whole numbers, booleans and nestings of these."""
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest entry of a chain."""

    app_id: str
    shard: int
    seq: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link of a chain as it is stored."""

    app_id: str
    shard: int
    seq: int
    prev_hash: bytes
    entry_hash: bytes
    mac: bytes
    record: str
    """Canonical JSON, exactly the text that was hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement over the heads of all chains at one moment."""

    number: int
    """1, 2, 3 and so on."""
    time: str
    """RFC 3339."""
    previous: bytes
    """SHA-256 of the statement before; zeros for the first."""
    root: bytes
    """Merkle root over the heads."""
    heads: tuple[Head, ...]
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place at which the log does not hold."""

    code: str
    """entry_changed, entry_missing, entry_out_of_order, link_broken, mac_wrong, chain_cut, chain_rewritten, head_wrong,
    checkpoint_signature_wrong, checkpoint_missing, checkpoint_changed."""
    where: str
    """Chain and number, or number of the checkpoint."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification looked at and what it found."""

    entries: int
    chains: int
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def is_intact(self) -> bool:
        return not self.findings
