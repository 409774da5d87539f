"""The nouns of kill switches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockstep.kit.ids import AppId


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """A stop that is in force."""

    id: str
    app_id: AppId | None
    """The app that signs nothing; None: nobody in the deployment does."""
    reason: str
    engaged_by: str
    """Label of the caller: ``admin:<id>`` or ``app:<id>``."""
    engaged_at: datetime
