"""The devnet: everything that Lockstep needs around itself, embedded in one folder, for trials, development and tests.

Not for production: there PostgreSQL, nodes and keys are the operator's.
"""

from lockstep.app.devnet.anvil import Anvil, anvil_program
from lockstep.app.devnet.contracts import (
    DeployedToken,
    Deployment,
    contracts_fingerprint,
    deploy_contracts,
    fund,
    mint,
)
from lockstep.app.devnet.devnet import DEFAULT_FOLDER, Devnet, DevnetConfig
from lockstep.app.devnet.errors import (
    AlreadyRunning,
    ContractsMissing,
    DevnetFailed,
    DiskFull,
    FolderNotOurs,
    PortTaken,
    ProgramsMissing,
)
from lockstep.app.devnet.issuer import TestIssuer
from lockstep.app.devnet.postgres import Postgres

__all__ = [
    "DEFAULT_FOLDER",
    "AlreadyRunning",
    "Anvil",
    "ContractsMissing",
    "DeployedToken",
    "Deployment",
    "Devnet",
    "DevnetConfig",
    "DevnetFailed",
    "DiskFull",
    "FolderNotOurs",
    "PortTaken",
    "Postgres",
    "ProgramsMissing",
    "TestIssuer",
    "anvil_program",
    "contracts_fingerprint",
    "deploy_contracts",
    "fund",
    "mint",
]
