"""The settings of each role, read once from ``LOCKSTEP_*`` variables, frozen, with all faults reported together.

One class per role, so that a process reads only what it may know: the signer never sees the key of the auth shares, and
`serve` and `work` never see that of the exec shares. Nested values join their names with two underscores
(``LOCKSTEP_HTTP__PORT``). Every top-level value may stand in a file instead, named by ``…_FILE``, written the
same way (lists of things are JSON). Load with ``load_settings(Settings, PREFIX)`` of `lockstep.kit.settings`. Opens no connection.
"""

from lockstep.app.settings.chains import ChainPairSettings, ChainSettings, TokenSettings
from lockstep.app.settings.roles import CommonSettings, MigrateSettings, Settings, SignerSettings
from lockstep.app.settings.sections import CoordinatorSettings, IssuerSettings
from lockstep.app.settings.sources import PREFIX

__all__ = [
    "PREFIX",
    "ChainPairSettings",
    "ChainSettings",
    "CommonSettings",
    "CoordinatorSettings",
    "IssuerSettings",
    "MigrateSettings",
    "Settings",
    "SignerSettings",
    "TokenSettings",
]
