"""Kill switches: an app's, and the deployment's. While one is engaged nothing of value is signed under it.

They are looked at in the transaction of every decision and of every signature (`custody.signing`), so they take effect
at once in every process, also for what is queued and not yet signed. What is stopped waits; nothing is dropped. A single
wallet is stopped by freezing it.
"""

from lockstep.custody.switches.service import SwitchService
from lockstep.custody.switches.store import list_engaged
from lockstep.custody.switches.types import KillSwitch

__all__ = ["KillSwitch", "SwitchService", "list_engaged"]
