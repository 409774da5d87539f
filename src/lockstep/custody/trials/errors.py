"""Why a trial is refused.

Refuse
└── ProofsUnavailable  501  the solver is not installed
Retry
└── ProofsBusy         503  this process proves as much as it may at once
"""

from __future__ import annotations

from lockstep.kit.errors import Refuse, Retry


class ProofsUnavailable(Refuse):
    """Proofs need the solver, which is not installed here; install lockstep with its extra "proofs"."""

    code, http_status = "proofs_unavailable", 501


class ProofsBusy(Retry):
    """Other proofs are under way; try again in a moment."""

    code = "proofs_busy"
    retry_after_seconds = 5
