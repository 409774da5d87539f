"""Places at which a test may kill the process, to prove that another one finishes the work.

Each durable step passes three points: ``before_effect``, ``after_effect`` and ``after_commit``. With
``LOCKSTEP_CRASH_FOLDER`` set, the first process of the deployment that passes a point dies there by SIGKILL and leaves a
file named after the point, so that every point is visited once and a test can list which ones were. Unset (always,
outside tests) a point costs one comparison.
"""

import os
import signal
from pathlib import Path
from typing import Literal

Moment = Literal["before_effect", "after_effect", "after_commit"]
MOMENTS: tuple[Moment, ...] = ("before_effect", "after_effect", "after_commit")

_folder = os.environ.get("LOCKSTEP_CRASH_FOLDER", "")
_only = tuple(os.environ.get("LOCKSTEP_CRASH_STEPS", "").split(","))
"""Beginnings of the points that crash, for example `swap.` or `transaction.broadcast.after_effect`; empty means all."""


def point(step: str, moment: Moment) -> None:
    """Die here if a test asked for it and nobody died here before."""
    if not _folder or not (name := f"{step}.{moment}").startswith(_only):
        return
    try:
        os.close(os.open(Path(_folder) / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
