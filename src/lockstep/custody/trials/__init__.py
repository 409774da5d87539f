"""Trials of policies: what another document would have decided about the requests of the past (shadow mode), and what no
request can ever do (proofs).

Signs, stores and sends nothing.
"""

from lockstep.custody.trials.api import trial_router
from lockstep.custody.trials.service import TrialService
from lockstep.custody.trials.types import Difference, Said, Shadow

__all__ = ["Difference", "Said", "Shadow", "TrialService", "trial_router"]
