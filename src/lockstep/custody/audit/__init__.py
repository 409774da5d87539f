"""The audit log: hash chains in the database, signed checkpoints outside it, and a verifier that needs neither service
nor signer."""

from lockstep.custody.audit.checkpoint_file import CheckpointFile
from lockstep.custody.audit.checkpoints import CheckpointWriter
from lockstep.custody.audit.guard import RestoreGuard, compare_with_mark
from lockstep.custody.audit.log import AuditLog
from lockstep.custody.audit.rules import verify
from lockstep.custody.audit.types import AuditEvent, Checkpoint, Entry, Finding, Head, Report
from lockstep.custody.audit.verifier import AuditVerifier, export_entries

__all__ = [
    "AuditEvent",
    "AuditLog",
    "AuditVerifier",
    "Checkpoint",
    "CheckpointFile",
    "CheckpointWriter",
    "Entry",
    "Finding",
    "Head",
    "Report",
    "RestoreGuard",
    "compare_with_mark",
    "export_entries",
    "verify",
]
