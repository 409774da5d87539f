"""The devnet as a whole: one folder, made once, gone on with, begun anew where nothing fits any more."""

import json
import os
import shlex
import signal
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from lockstep.app.devnet import AlreadyRunning, Devnet, DevnetConfig, PortTaken
from lockstep.app.devnet.anvil import anvil_program
from lockstep.app.devnet.devnet import Role
from lockstep.app.devnet.errors import ProgramsMissing
from lockstep.app.devnet.keys import socket_path
from lockstep.app.devnet.machine import processes_in
from lockstep.app.settings import PREFIX, CommonSettings, MigrateSettings, Settings, SignerSettings
from lockstep.chains.evm import Address
from lockstep.kit.settings import load_settings

SOMEBODY = Address("0x" + "5a" * 20)


@pytest.fixture(autouse=True)
def needs_anvil() -> None:
    try:
        anvil_program()
    except ProgramsMissing as error:
        pytest.skip(error.detail)


def _running(folder: Path) -> list[int]:
    servers = processes_in(folder / "postgres" / "cluster", "postgres")
    return servers + [pid for chain in (folder / "chains").glob("*") for pid in processes_in(chain, "anvil")]


async def test_start__cold_then_warm__goes_on_with_chains_database_and_addresses(tmp_path: Path) -> None:
    steps: list[str] = []
    config = DevnetConfig(folder=tmp_path / "devnet")
    async with Devnet(config, progress=steps.append) as devnet:
        first = devnet.deployments
        assert first[0].factory != first[1].factory  # nothing stands at one address on two chains by accident
        await devnet.mint("eip155:31337", SOMEBODY, 5)
        await devnet.fund("eip155:31338", SOMEBODY, 7)
        with psycopg.connect(devnet.database_url("migrate"), autocommit=True) as owner:
            owner.execute("create table kept as select 1 as n")
        ports = [devnet.postgres.port, *(anvil.port for anvil in devnet.chains), devnet.http_port]
    assert steps[:2] == ["keys", "PostgreSQL and two chains"]
    assert _running(devnet.folder) == []

    async with Devnet(config, progress=steps.append) as devnet:
        assert devnet.deployments == first
        assert [devnet.postgres.port, *(anvil.port for anvil in devnet.chains), devnet.http_port] == ports
        assert await devnet.chain("eip155:31338").call("eth_getBalance", SOMEBODY, "latest") == "0x7"
        with psycopg.connect(devnet.database_url("migrate")) as owner:
            assert owner.execute("select n from kept").fetchall() == [(1,)]
    assert not any(step.startswith("begin anew") for step in steps)


async def test_start__chain_was_killed__begins_anew_and_says_why(tmp_path: Path) -> None:
    steps: list[str] = []
    config = DevnetConfig(folder=tmp_path / "devnet")
    async with Devnet(config) as devnet:
        with psycopg.connect(devnet.database_url("migrate"), autocommit=True) as owner:
            owner.execute("create table lost as select 1 as n")
        key = devnet.keys.auth_shares.read_text()
        pid = devnet.chains[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    async with Devnet(config, progress=steps.append) as devnet:
        assert steps[0] == "begin anew, because the chains were killed before they could be saved"
        assert devnet.keys.auth_shares.read_text() == key
        with psycopg.connect(devnet.database_url("migrate")) as owner:
            assert owner.execute("select to_regclass('lost')").fetchone() == (None,)


async def test_start__contracts_were_compiled_anew__begins_anew(tmp_path: Path) -> None:
    config = DevnetConfig(folder=tmp_path / "devnet")
    async with Devnet(config):
        pass
    deployed = config.folder / "deployed.json"
    state = json.loads(deployed.read_text())
    state["made_by"]["contracts"] = "0" * 16
    deployed.write_text(json.dumps(state))
    steps: list[str] = []
    async with Devnet(config, progress=steps.append):
        assert steps[0] == "begin anew, because contracts or migrations have changed"


async def test_start__second_one__is_refused_and_the_first_lives_on(tmp_path: Path) -> None:
    config = DevnetConfig(folder=tmp_path / "devnet")
    async with Devnet(config) as devnet:
        with pytest.raises(AlreadyRunning):
            await Devnet(config).start()
        assert await devnet.chains[0].call("eth_chainId") == hex(31337)


async def test_start__a_part_fails__leaves_nothing_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = DevnetConfig(folder=tmp_path / "devnet", postgres_port=other.getsockname()[1])
        with pytest.raises(PortTaken):
            await Devnet(config).start()
    assert _running(config.folder) == []


@pytest.mark.parametrize(
    ("role", "settings_class"), [("service", Settings), ("signer", SignerSettings), ("migrate", MigrateSettings)]
)
async def test_environment__of_each_role__loads_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role, settings_class: type[CommonSettings]
) -> None:
    async with Devnet(DevnetConfig(folder=tmp_path / "devnet")) as devnet:
        lines = (devnet.folder / "environment" / role).read_text().splitlines()
        environment = {name: shlex.split(value)[0] for name, value in (line.split("=", 1) for line in lines)}
        assert environment == devnet.environment(role)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = load_settings(settings_class, PREFIX)
        assert settings.profile == "development"
        secrets = [path.read_text().strip() for path in devnet.keys.folder.iterdir()]
        assert not any(secret in "\n".join(lines) for secret in secrets)
        if isinstance(settings, Settings):
            assert [chain.config().chain_id for chain in settings.chains] == [31337, 31338]
            assert len(settings.chain_pairs) == 2
        open_files = [p for p in devnet.keys.folder.iterdir() if stat.S_IMODE(p.stat().st_mode) != 0o600]
        assert open_files == []


def test_socket_path__deep_folder__stays_short_enough(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    path = socket_path(deep)
    try:
        assert len(bytes(path)) <= 100
        assert path == socket_path(deep)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        path.parent.rmdir()
