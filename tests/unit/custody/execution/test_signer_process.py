"""The signer as a process of its own, on a real database: who may read its shares, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from signing_side import Signing, payment

from lockstep.chains.evm import recover_address
from lockstep.custody.execution import (
    AuthorizationKey,
    AuthShares,
    KeyFileInvalid,
    LocalKms,
    NewKey,
    SealBroken,
    Signature,
    SignerAlreadyRunning,
    SignerClient,
    SignerClientConfig,
    SignerConfig,
    SignerRestarted,
    SignerUnavailable,
    SigningRefused,
    WalletKeyExists,
    create_key_file,
    create_recovery_key,
    read_key_file,
    serve_signer,
)
from lockstep.custody.execution.store import PostgresShareStore
from lockstep.kit.database import Database
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId, new_id

MAIN = """
import sys
from pathlib import Path
from lockstep.custody.execution import SignerConfig, run_signer
folder, database_url = Path(sys.argv[1]), sys.argv[2]
run_signer(SignerConfig(
    socket_path=folder / "signer.sock", database_url=database_url, exec_key_file=folder / "exec.key",
    authorization_key_file=folder / "authorization.key", transport_seed_file=folder / "transport.seed",
    recovery_public_key_file=folder / "recovery.pub",
))
"""


@dataclass
class SignerProcess:
    """A signer that can be killed and started again on the same keys and database."""

    folder: Path
    database_url: str
    clients: list[SignerClient] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def config(self) -> SignerConfig:
        return SignerConfig(
            socket_path=self.folder / "signer.sock",
            database_url=self.database_url,
            exec_key_file=self.folder / "exec.key",
            authorization_key_file=self.folder / "authorization.key",
            transport_seed_file=self.folder / "transport.seed",
            recovery_public_key_file=self.folder / "recovery.pub",
        )

    def side(self) -> Signing:
        """A policy side of its own, with a fresh client."""
        key = AuthorizationKey(read_key_file(self.folder / "authorization.key"))
        auth = AuthShares(LocalKms.from_file(self.folder / "auth.key", key_id="auth"))
        config = SignerClientConfig(socket_path=self.folder / "signer.sock")
        self.clients.append(SignerClient(config, authorization_key=key, auth_shares=auth))
        return Signing.with_system_clock(self.clients[-1], key)

    async def start(self) -> Signing:
        arguments = [sys.executable, "-c", MAIN, str(self.folder), self.database_url]
        self.process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        side = self.side()
        async with asyncio.timeout(30):
            while True:
                assert self.process.poll() is None, "the signer ended by itself"
                with suppress(SignerUnavailable):
                    await side.executor.identity()
                    return side
                await asyncio.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@pytest.fixture
async def signer(short_path: Path, signer_dsn: str) -> AsyncIterator[SignerProcess]:
    for name in ("exec.key", "auth.key", "authorization.key", "transport.seed"):
        create_key_file(short_path / name)
    create_recovery_key(short_path / "recovery.key", short_path / "recovery.pub")
    signer = SignerProcess(short_path, signer_dsn)
    yield signer
    for client in signer.clients:
        await client.close()
    if signer.process is not None and signer.process.poll() is None:
        signer.kill()


async def test_signer_process__many_keys_at_once__are_each_stored_once(signer: SignerProcess, admin_dsn: str) -> None:
    side = await signer.start()
    app, wallets = AppId(new_id()), [WalletId(new_id()) for _ in range(100)]
    signer_id = await side.executor.identity()
    grants = [(wallet, side.issuer.issue_generation(signer_id, app, wallet, "decision")) for wallet in wallets]

    made = await side.executor.generate_keys(app, grants)

    addresses = {key.address for key in made if isinstance(key, NewKey)}
    with psycopg.connect(admin_dsn) as admin:
        stored = {row[0] for row in admin.execute("select address from signer.exec_shares where app_id = %s", (app,))}
    assert (len(addresses), stored) == (100, addresses)
    again = [side.issuer.issue_generation(signer_id, app, wallets[0], "again") for _ in range(2)]
    refused = await side.executor.generate_keys(app, [(wallets[0], again[0]), (WalletId(new_id()), again[1])])
    assert [type(one) for one in refused] == [WalletKeyExists, SigningRefused]


async def test_signer_process__killed_and_started_again__signs_with_the_stored_shares(signer: SignerProcess) -> None:
    side = await signer.start()
    key, made = await side.new_key()
    first = await side.executor.sign(await side.request(key, made, payment()))
    before = await side.request(key, made, payment())
    public = await side.executor.transport_public_key("audit_checkpoint")

    in_flight = asyncio.create_task(
        side.executor.sign_many([await side.request(key, made, payment(nonce)) for nonce in range(200)])
    )
    await asyncio.sleep(0)
    signer.kill()
    for answer in await in_flight:
        assert isinstance(answer, Signature | SignerUnavailable)

    side = await signer.start()
    with pytest.raises(SignerRestarted):
        await side.executor.sign(before)
    again = await side.executor.sign(await side.request(key, made, payment()))
    assert again == first
    assert recover_address(payment().digest(), again.content) == key.address
    assert await side.executor.transport_public_key("audit_checkpoint") == public


async def test_signer_process__told_to_stop__ends_with_zero_and_takes_its_socket_away(signer: SignerProcess) -> None:
    side = await signer.start()
    await side.new_key()
    assert signer.kill(signal.SIGTERM) == 0
    assert not (signer.folder / "signer.sock").exists()


async def test_signer_process__running__has_no_dumps_and_a_private_socket(signer: SignerProcess) -> None:
    await signer.start()
    assert signer.process is not None
    limits = Path(f"/proc/{signer.process.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    # The kernel gives the files of a process without dumps to root, whoever runs it.
    assert Path(f"/proc/{signer.process.pid}/mem").stat().st_uid == 0
    assert (signer.folder / "signer.sock").stat().st_mode & 0o777 == 0o600


async def test_signer_process__second_on_one_socket__does_not_start(signer: SignerProcess) -> None:
    side = await signer.start()
    with pytest.raises(SignerAlreadyRunning):
        await serve_signer(signer.config(), asyncio.Event())
    assert await side.executor.health()


async def test_signer_process__equal_or_open_key_files__does_not_start(signer: SignerProcess) -> None:
    seed = signer.folder / "transport.seed"
    seed.write_text((signer.folder / "exec.key").read_text())
    with pytest.raises(KeyFileInvalid, match="three different"):
        await serve_signer(signer.config(), asyncio.Event())
    seed.chmod(0o644)
    with pytest.raises(KeyFileInvalid, match="0600"):
        await serve_signer(signer.config(), asyncio.Event())


async def test_exec_shares__read_by_anyone_but_the_signer__is_forbidden(
    signer: SignerProcess, database: Database, owner_dsn: str, signer_dsn: str
) -> None:
    side = await signer.start()
    key, _ = await side.new_key()
    for role in ("lockstep_tenant", "lockstep_system"):
        unit = database.tenant(key.app_id) if role == "lockstep_tenant" else database.system("test")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with unit as uow:
                await uow.fetch("select * from signer.exec_shares where app_id = %s", (key.app_id,))
    with psycopg.connect(database.dsn, autocommit=True) as service:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute("set role lockstep_signer")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute("select * from signer.exec_shares")
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        assert owner.execute("select count(*) from signer.exec_shares").fetchone() == (0,)
    with psycopg.connect(signer_dsn, autocommit=True) as itself:
        itself.execute("set role lockstep_signer")
        assert itself.execute("select count(*) from signer.exec_shares").fetchone() == (1,)
        for change in ("update signer.exec_shares set app_id = ''", "delete from signer.exec_shares"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                itself.execute(change)


async def test_exec_shares__row_edited_in_the_database__yields_no_signature(
    signer: SignerProcess, admin_dsn: str
) -> None:
    side = await signer.start()
    one, one_made = await side.new_key()
    other, other_made = await side.new_key(one.app_id)
    signer.kill()
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        swap = "update signer.exec_shares set sealed = %s where wallet_id = %s"
        sealed = dict(admin.execute("select wallet_id, sealed from signer.exec_shares").fetchall())
        admin.execute(swap, (sealed[other.wallet_id], one.wallet_id))
        edited = bytearray(sealed[other.wallet_id])
        edited[-1] ^= 1
        admin.execute(swap, (bytes(edited), other.wallet_id))
    side = await signer.start()
    for key, made in ((one, one_made), (other, other_made)):
        with pytest.raises(SealBroken):
            await side.executor.sign(await side.request(key, made, payment()))


async def test_signer_process__database_gone__says_unavailable_and_recovers(
    signer: SignerProcess, admin_dsn: str
) -> None:
    side = await signer.start()
    key, made = await side.new_key()
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockstep signer'"
        )
    await side.executor.sign(await side.request(key, made, payment()))  # in memory: needs no database
    made_again = None
    async with asyncio.timeout(20):
        while made_again is None:
            with suppress(SignerUnavailable):
                made_again = await side.new_key()
    assert made_again[0].address != key.address


async def test_store__login_that_is_not_the_signer__cannot_open(dsn: str) -> None:
    store = PostgresShareStore(dsn, open_seconds=1)
    with pytest.raises(LockstepError):
        await store.open()
