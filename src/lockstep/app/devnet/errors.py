"""What can go wrong while the devnet starts; each says in one sentence what is wrong and what to do.

LockstepError
├── Refuse
│   ├── AlreadyRunning      the folder is in use by a living supervisor
│   └── DevnetNotRunning    a visitor finds nobody at home
└── Stop
    └── DevnetFailed        a part did not come up
        ├── ProgramsMissing     PostgreSQL or anvil is not installed, or cannot run here
        ├── PortTaken           the asked port belongs to somebody else
        ├── DiskFull            no room for the data folder
        ├── FolderNotOurs       not writable, or made by another user or version
        └── ContractsMissing    the compiled contracts are not in the package
"""

from lockstep.kit.errors import Refuse, Stop


class AlreadyRunning(Refuse):
    """Another process serves this folder already."""

    code, http_status = "devnet_already_running", 409


class DevnetNotRunning(Refuse):
    """There is no running devnet in this folder."""

    code, http_status = "devnet_not_running", 409


class DevnetFailed(Stop):
    """A part of the devnet did not start."""

    code = "devnet_failed"


class ProgramsMissing(DevnetFailed):
    """A program that the devnet needs is not installed."""

    code = "devnet_programs_missing"


class PortTaken(DevnetFailed):
    """The port is in use by another program."""

    code = "devnet_port_taken"


class DiskFull(DevnetFailed):
    """The disk has no room for the devnet."""

    code = "devnet_disk_full"


class FolderNotOurs(DevnetFailed):
    """The data folder cannot be used by this user."""

    code = "devnet_folder_not_ours"


class ContractsMissing(DevnetFailed):
    """The compiled contracts are missing."""

    code = "devnet_contracts_missing"
