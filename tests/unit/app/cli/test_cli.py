"""The command line from outside: help at once, exit codes, data on standard output only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lockstep import __version__
from lockstep.app.cli.main import main
from lockstep.app.devnet.machine import free_port
from lockstep.custody import create_key_file

COMMANDS = (
    "serve",
    "work",
    "signer",
    "migrate",
    "doctor",
    "devnet",
    "up",
    "demo",
    "openapi",
    "audit",
    "audit verify",
    "audit key",
    "devnet token",
    "devnet fund",
)
HEAVY = (
    "web3",
    "fastapi",
    "uvicorn",
    "aiohttp",
    "psycopg",
    "sqlalchemy",
    "alembic",
    "pydantic_settings",
    "procrastinate",
    "eth_account",
    "cryptography",
    "lockstep.app.settings",
    "lockstep.custody",
)
"""What a command that only prints help must not load: each costs a part of the 300 ms."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
    return subprocess.run(
        [sys.executable, "-m", "lockstep.app.cli", *arguments],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        timeout=120,
        check=False,
    )


def test_help__every_command__words_and_nothing_heavy_loaded() -> None:
    script = f"""
import contextlib, io, json, sys
from lockstep.app.cli.main import main
seen = {{}}
for command in {[[], *(command.split() for command in COMMANDS)]!r}:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = main([*command, "--help"])
        except SystemExit as end:
            code = end.code
    seen[" ".join(command)] = [code or 0, "Usage" in out.getvalue()]
print(json.dumps([seen, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    seen, heavy = json.loads(done.stdout)
    assert seen == {"": [0, True], **{command: [0, True] for command in COMMANDS}}
    assert heavy == []


def test_version__printed__that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    assert run("--version").stdout.strip() == __version__ == project["version"]


def test_serve__no_settings__all_faults_at_once_and_exit_2() -> None:
    done = run("serve")
    assert done.returncode == 2
    assert done.stdout == ""
    for name in ("LOCKSTEP_DATABASE_URL", "LOCKSTEP_SIGNER", "LOCKSTEP_KEYS", "LOCKSTEP_AUDIT", "LOCKSTEP_CHAINS"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_serve__wrong_secret_setting__never_repeated() -> None:
    done = run("serve", LOCKSTEP_DATABASE_URL="postgresql://me:tulip@db/x", LOCKSTEP_CHAINS="[tulip")
    assert done.returncode == 2
    assert "tulip" not in done.stderr


def test_unknown_command__exit_2_on_standard_error() -> None:
    done = run("serv")
    assert (done.returncode, done.stdout) == (2, "")


def test_refusal__exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = tmp_path / "log"
    export.touch()
    code = main(["audit", "verify", str(export), "--checkpoints", str(export), "--public-key", "zz"])
    assert code == 3
    assert "public_key_invalid" in capsys.readouterr().err


def test_migrate__database_not_there__exit_4_and_no_password() -> None:
    url = "postgresql://owner:tulip@127.0.0.1:1/none"
    done = run("migrate", LOCKSTEP_OWNER_DATABASE_URL=url, LOCKSTEP_DATABASE_URL=url)
    assert done.returncode == 4, done.stderr
    assert "database_unavailable" in done.stderr
    assert "tulip" not in done.stderr


def test_bug__exit_1_and_a_report_file(tmp_path: Path) -> None:
    script = """
import sys, typer
from lockstep.app.cli import main as module
from lockstep.app.cli.main import app, main
@app.command()
def break_down() -> None:
    raise ZeroDivisionError
sys.exit(main(["break-down"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=60,
        check=False,
    )
    (report,) = tmp_path.glob("lockstep-crash-*.txt")
    assert done.returncode == 1
    assert str(report) in done.stderr
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in report.read_text()


def test_openapi__printed__every_route_declares_its_refusals() -> None:
    done = run("openapi")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert {"/v1/wallets", "/v1/orders", "/v1/swaps", "/v1/transactions", "/health/ready"} <= set(document["paths"])
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            problems = [
                status
                for status, answer in operation["responses"].items()
                if "application/problem+json" in answer.get("content", {})
            ]
            assert "500" in problems, (method, path)
            if path.startswith("/v1"):
                assert "429" in problems, (method, path)
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= set(problems), (method, path)


# --- what stands in the way of a start --------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of `serve` and `work` that hold, though nothing is there."""
    for name in ("auth", "authorization", "audit"):
        create_key_file(tmp_path / name)
    chain = {"chain": "eip155:31337", "name": "One", "rpc_urls": ["http://127.0.0.1:1"]}
    bounds = {"finality_blocks": 2, "block_seconds": 1, "max_fee_per_gas": 10**11}
    return {
        "LOCKSTEP_PROFILE": "development",
        "LOCKSTEP_DATABASE_URL": "postgresql://service:tulip@127.0.0.1:1/none",
        "LOCKSTEP_SIGNER__SOCKET_PATH": str(tmp_path / "signer.sock"),
        "LOCKSTEP_KEYS__AUTH_SHARES_FILE": str(tmp_path / "auth"),
        "LOCKSTEP_KEYS__AUTHORIZATION_FILE": str(tmp_path / "authorization"),
        "LOCKSTEP_KEYS__AUDIT_FILE": str(tmp_path / "audit"),
        "LOCKSTEP_AUDIT__CHECKPOINTS_FILE": str(tmp_path / "checkpoints.jsonl"),
        "LOCKSTEP_CHAINS": json.dumps([{**chain, **bounds}]),
    }


@pytest.mark.parametrize(("role", "variable"), [("serve", "LOCKSTEP_HTTP__PORT"), ("work", "LOCKSTEP_METRICS_PORT")])
def test_role__port_taken__says_which_variable_chooses_another(
    environment: dict[str, str], role: str, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(role, **environment, **{variable: str(port)})
    assert done.returncode == 5, done.stderr
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert f"choose another one with {variable}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve__database_not_there__exit_4_and_no_traceback(environment: dict[str, str], workers: str) -> None:
    done = run("serve", "--workers", workers, **environment, LOCKSTEP_HTTP__PORT=str(free_port()))
    assert done.returncode == 4, done.stderr
    assert "database_unavailable" in done.stderr
    assert "Traceback" not in done.stderr
    assert "tulip" not in done.stderr
