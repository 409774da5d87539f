"""The seals of a deployment, from its settings."""

from __future__ import annotations

from pathlib import Path

from lockstep.custody import Anchors, Seals, derive_key, read_key_file

ANCHORS = "anchors"


def build_seals(audit_file: Path, checkpoints_file: Path | None) -> Seals:
    """Their key comes from that of the audit log; their anchors lie beside its checkpoints.

    Args:
        checkpoints_file: None where nothing is ever changed, only added.
    """
    key = read_key_file(audit_file)
    path = None if checkpoints_file is None else checkpoints_file.with_name(ANCHORS)
    return Seals(derive_key(key, "seals:v1"), Anchors(derive_key(key, "anchors:v1"), path))
