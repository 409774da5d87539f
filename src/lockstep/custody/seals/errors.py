"""Faults of seals."""

from __future__ import annotations

from lockstep.kit.errors import Stop


class AuthorityTampered(Stop):
    """What this request rests on was changed past the service, or is older than it was; nothing is signed."""

    code = "authority_tampered"
