"""The devnet as a whole: PostgreSQL, two EVM chains with our contracts, development keys and an issuer, in one folder.

Responsible for starting these in order, for going on where a stopped devnet was, and for the settings under which the
roles of Lockstep run against it. Starts no role of Lockstep itself. Deleting the folder deletes everything.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from lockstep.app.devnet import contracts
from lockstep.app.devnet.anvil import Anvil, anvil_program, end_chains
from lockstep.app.devnet.contracts import TOKEN_A, TOKEN_B, DeployedToken, Deployment
from lockstep.app.devnet.issuer import AUDIENCE, TestIssuer
from lockstep.app.devnet.keys import DevnetKeys, socket_path
from lockstep.app.devnet.machine import FolderLock, free_port, prepare_folder, write_private
from lockstep.app.devnet.postgres import Postgres
from lockstep.app.devnet.programs import installed_programs
from lockstep.app.migrate import migrate, migration_fingerprints
from lockstep.chains.evm import Address

DEFAULT_FOLDER = Path(".lockstep") / "devnet"
DATABASE = "lockstep"
OWNER, SERVICE, SIGNER = "lockstep_owner", "lockstep_service", "lockstep_signing"
Role = Literal["service", "signer", "migrate"]
ROLES: tuple[Role, ...] = ("service", "signer", "migrate")

Progress = Callable[[str], None]
"""Called with each step as it begins, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetConfig:
    """What can be chosen about a devnet."""

    folder: Path = DEFAULT_FOLDER
    chain_ids: tuple[int, int] = (31337, 31338)
    block_seconds: int = 1
    finality_blocks: int = 2
    """A block is final when it lies this deep; small, so that stories end soon."""
    http_port: int | None = None
    """Port for `serve`; None takes that of the last start, or 8080, if it is free, else any."""
    postgres_port: int | None = None


class Devnet:
    """A devnet in one folder. ``start`` is repeatable over time: what is there is used, what is missing is made."""

    def __init__(self, config: DevnetConfig | None = None, *, progress: Progress = lambda _: None) -> None:
        self.config = config or DevnetConfig()
        self.folder = self.config.folder
        self._progress = progress
        self._lock: FolderLock | None = None
        self._supervision: tuple[asyncio.Event, asyncio.Task[None]] | None = None
        self.postgres: Postgres
        self.chains: tuple[Anvil, Anvil]
        self.deployments: tuple[Deployment, Deployment]
        self.keys: DevnetKeys
        self.issuer: TestIssuer
        self.http_port = 0

    async def start(self) -> None:
        """Start everything, in about a second when it was started before.

        Raises:
            AlreadyRunning: the folder is in use.
            DevnetFailed: or one of its kinds, each with the way out; nothing is left running.
        """
        if self._lock is not None:
            return
        anvil_program()
        installed_programs()
        program = {"contracts": contracts.contracts_fingerprint(), **migration_fingerprints()}
        self.folder = prepare_folder(self.config.folder, mode=0o711)
        lock = FolderLock(self.folder / "lock")
        lock.acquire()
        self._lock = lock
        try:
            await self._begin_anew_if_lost(program)
            self._progress("keys")
            self.keys = DevnetKeys.create(self.folder / "keys")
            self.issuer = TestIssuer(self.folder / "issuer")
            self._build()
            self._progress("PostgreSQL and two chains")
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_database())
                for anvil in self.chains:
                    group.create_task(self._start_chain(anvil))
            self._progress("contracts")
            await self._deploy(program)
            self._write_files()
        except BaseException as error:
            await asyncio.shield(self.stop())
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from error
            raise
        stop = asyncio.Event()
        self._supervision = stop, asyncio.create_task(self.postgres.supervise(stop))

    async def stop(self) -> None:
        """Stop everything in order: the chains are saved, the database is shut down. Repeatable."""
        if self._supervision is not None:
            stop, task = self._supervision
            self._supervision = None
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
        if hasattr(self, "chains"):
            await asyncio.gather(*(anvil.stop() for anvil in self.chains), self.postgres.stop())
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def __aenter__(self) -> Devnet:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- what others use ----------------------------------------------------------------------------------------------

    def chain(self, caip2: str) -> Anvil:
        """The chain of this name.

        Raises:
            KeyError: there is none.
        """
        return {anvil.chain: anvil for anvil in self.chains}[caip2]

    def deployment(self, caip2: str) -> Deployment:
        """What stands on the chain of this name."""
        return {deployment.chain: deployment for deployment in self.deployments}[caip2]

    async def fund(self, caip2: str, account: Address, amount_wei: int) -> None:
        """Give native coins to an account."""
        await contracts.fund(self.chain(caip2), account, amount_wei)

    async def mint(self, caip2: str, account: Address, amount: int) -> None:
        """Give demo tokens to an account, in the token's smallest unit."""
        await contracts.mint(self.chain(caip2), self.deployment(caip2).token.address, account, amount)

    def database_url(self, role: Role) -> str:
        """The address with password under which a role of Lockstep uses the database."""
        user = {"service": SERVICE, "signer": SIGNER, "migrate": OWNER}[role]
        return self.postgres.url(DATABASE, user, self.keys.password(user))

    def environment(self, role: Role) -> dict[str, str]:
        """The ``LOCKSTEP_*`` variables of a role: `service` for serve and work. No value is a secret: those are in files."""
        folder, keys = self.folder, self.keys
        common = {"PROFILE": "development", "DATA_DIR": str(folder), "LOG_FORMAT": "console"}
        urls = {name: str(keys.folder / f"{name}.url") for name in ROLES}
        service = {
            "DATABASE_URL_FILE": urls["service"],
            "CHAINS_FILE": str(folder / "chains.json"),
            "CHAIN_PAIRS_FILE": str(folder / "chain-pairs.json"),
            "ISSUERS_FILE": str(folder / "issuers.json"),
            "SIGNER__SOCKET_PATH": str(socket_path(folder)),
            "KEYS__AUTH_SHARES_FILE": str(keys.auth_shares),
            "KEYS__AUTHORIZATION_FILE": str(keys.authorization),
            "KEYS__AUDIT_FILE": str(keys.audit),
            "AUDIT__CHECKPOINTS_FILE": str(folder / "audit" / "checkpoints.jsonl"),
            "HTTP__PORT": str(self.http_port),
            "HTTP__PUBLIC_URL": f"http://127.0.0.1:{self.http_port}",
        }
        signer = {
            "SIGNER_DATABASE_URL_FILE": urls["signer"],
            "SIGNER_SOCKET_PATH": str(socket_path(folder)),
            "SIGNER_KEYS__EXEC_SHARES_FILE": str(keys.exec_shares),
            "SIGNER_KEYS__AUTHORIZATION_FILE": str(keys.authorization),
            "SIGNER_KEYS__TRANSPORT_SEED_FILE": str(keys.transport_seed),
            "SIGNER_KEYS__RECOVERY_PUBLIC_FILE": str(keys.recovery_public),
        }
        owner = {
            "OWNER_DATABASE_URL_FILE": urls["migrate"],
            "DATABASE_URL_FILE": urls["service"],
            "SIGNER_DATABASE_URL_FILE": urls["signer"],
        }
        chosen = {"service": service, "signer": signer, "migrate": owner}[role]
        return {f"LOCKSTEP_{name}": value for name, value in {**common, **chosen}.items()}

    def summary(self) -> dict[str, Any]:
        """What runs where, without secrets; also written to ``summary.json``."""
        return {
            "folder": str(self.folder),
            "database": {"port": self.postgres.port, "name": DATABASE, "pid": self.postgres.pid},
            "chains": [
                {
                    "chain": anvil.chain,
                    "rpc_url": anvil.url,
                    "pid": anvil.pid,
                    "escrow_factory": deployment.factory,
                    "token": asdict(deployment.token),
                }
                for anvil, deployment in zip(self.chains, self.deployments, strict=True)
            ],
            "issuer": {"issuer": self.issuer.issuer, "audience": AUDIENCE, "jwks_file": str(self.issuer.jwks_file)},
            "http_port": self.http_port,
            "environment": {role: str(self.folder / "environment" / role) for role in ROLES},
        }

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _begin_anew_if_lost(self, program: dict[str, str]) -> None:
        """A chain lives in memory and is saved when it is stopped. If it was killed, or what stands on it or in the
        database was made by other code, chains and database no longer fit together: both are made anew, and it is said.
        Keys stay."""
        for chain_id in self.config.chain_ids:
            await end_chains(self._chain_folder(chain_id))  # perhaps just saving
        state = self._read_state()
        reason = None
        if not state:
            return
        if not all(_is_saved(self._chain_folder(chain_id) / "state.json") for chain_id in self.config.chain_ids):
            reason = "the chains were killed before they could be saved"
        elif not (self.folder / "postgres" / "cluster").exists():
            reason = "the database is gone"
        elif any(program.get(name) != fingerprint for name, fingerprint in state["made_by"].items()):
            reason = "contracts or migrations have changed"
        if reason is not None:
            self._progress(f"begin anew, because {reason}")
            for name in ("chains", "audit"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._drop_marker.touch()
            self._state_file.unlink()

    def _build(self) -> None:
        ports = self._read_ports()
        config = self.config
        self.postgres = Postgres(self.folder / "postgres", port=config.postgres_port)
        first, second = (
            Anvil(
                self._chain_folder(chain_id),
                chain_id=chain_id,
                preferred_port=ports.get(str(chain_id)),
                block_seconds=config.block_seconds,
                mnemonic=self.keys.mnemonic(chain_id),
                is_saved=True,
            )
            for chain_id in config.chain_ids
        )
        self.chains = first, second
        self.http_port = config.http_port or free_port(ports.get("http", 8080))

    async def _start_database(self) -> None:
        await self.postgres.start()
        await asyncio.to_thread(self._prepare_database)

    def _prepare_database(self) -> None:
        """Owner, database, schema and logins."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as admin:
            if self._drop_marker.exists():
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(DATABASE)))
                self._drop_marker.unlink()
            if admin.execute("select from pg_roles where rolname = %s", (OWNER,)).fetchone() is None:
                admin.execute(
                    sql.SQL("create role {} login createrole password {}").format(
                        sql.Identifier(OWNER), sql.Literal(self.keys.password(OWNER))
                    )
                )
            if admin.execute("select from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
                admin.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
                )
        migrate(
            self.database_url("migrate"),
            service_url=self.database_url("service"),
            signer_url=self.database_url("signer"),
            progress=self._progress,
        )

    async def _start_chain(self, anvil: Anvil) -> None:
        await anvil.start()
        # From now on the file would be old: it comes back when the chain is stopped, and only then.
        with suppress(FileNotFoundError):
            anvil.state_file.replace(anvil.state_file.with_suffix(".old"))

    async def _deploy(self, program: dict[str, str]) -> None:
        """The contracts of the last start if they stand where they were, else new ones."""
        known = [
            Deployment(**{**stored, "token": DeployedToken(**stored["token"])})
            for stored in self._read_state().get("deployments", [])
        ]
        pairs = zip(self.chains, known, strict=False)
        if known and all([await contracts.is_deployed(anvil, deployment) for anvil, deployment in pairs]):
            first, second = known
        else:
            first, second = await asyncio.gather(
                contracts.deploy_contracts(self.chains[0], TOKEN_A), contracts.deploy_contracts(self.chains[1], TOKEN_B)
            )
        self.deployments = first, second
        _write_json(self._state_file, {"made_by": program, "deployments": [asdict(first), asdict(second)]})

    def _write_files(self) -> None:
        for role in ROLES:
            self.keys.write_url(role, self.database_url(role))
        _write_json(self.folder / "chains.json", [self._chain_settings(i) for i in range(2)])
        _write_json(self.folder / "chain-pairs.json", self._pair_settings())
        issuer = {"issuer": self.issuer.issuer, "audience": AUDIENCE, "jwks_file": str(self.issuer.jwks_file)}
        _write_json(self.folder / "issuers.json", [issuer])
        ports = {str(anvil.chain_id): anvil.port for anvil in self.chains}
        _write_json(self.folder / "ports.json", {**ports, "http": self.http_port})
        prepare_folder(self.folder / "environment")
        for role in ROLES:
            lines = [f"{name}={shlex.quote(value)}" for name, value in self.environment(role).items()]
            write_private(self.folder / "environment" / role, "\n".join(lines) + "\n")
        _write_json(self.folder / "summary.json", self.summary())

    def _chain_settings(self, index: int) -> dict[str, Any]:
        anvil, deployment = self.chains[index], self.deployments[index]
        return {
            "chain": anvil.chain,
            "name": f"Devnet {index + 1}",
            "rpc_urls": [anvil.url],
            "ws_url": anvil.url.replace("http", "ws", 1),
            "finality_blocks": self.config.finality_blocks,
            "block_seconds": self.config.block_seconds,
            "max_fee_per_gas": 200 * 10**9,
            "contracts": {"EscrowFactory": deployment.factory},
            "first_block": deployment.first_block,
            "tokens": [asdict(deployment.token)],
        }

    def _pair_settings(self) -> list[dict[str, Any]]:
        block, final = self.config.block_seconds, (self.config.finality_blocks + 1) * self.config.block_seconds
        times = {"source_finality": final, "destination_finality": final, "public_duty": 2 * block}
        times |= {"source_inclusion": 2 * block, "destination_inclusion": 2 * block, "clock_skew": 2 * block}
        first, second = (anvil.chain for anvil in self.chains)
        return [
            {"source": source, "destination": destination, **times}
            for source, destination in ((first, second), (second, first))
        ]

    @property
    def _state_file(self) -> Path:
        return self.folder / "deployed.json"

    @property
    def _drop_marker(self) -> Path:
        """The database is to be dropped at the next start."""
        return self.folder / "drop-database"

    def _chain_folder(self, chain_id: int) -> Path:
        return self.folder / "chains" / str(chain_id)

    def _read_state(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            state: dict[str, Any] = json.loads(self._state_file.read_text())
            return state
        return {}

    def _read_ports(self) -> dict[str, int]:
        with suppress(OSError, ValueError):
            ports: dict[str, int] = json.loads((self.folder / "ports.json").read_text())
            return ports
        return {}


def _is_saved(path: Path) -> bool:
    """Whether a chain was saved whole."""
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _write_json(path: Path, content: object) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n")
