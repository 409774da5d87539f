"""`make setup` without a network: what is installed is used, and what is missing is said in one sentence."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EVM = Path("contracts/evm")
INPUTS = ("Makefile", "pyproject.toml", "uv.lock", EVM / "package.json", EVM / "package-lock.json")
STAMPS = (Path(".venv/.ready"), EVM / "node_modules/.ready")
SYSTEM = ("bash", "cat", "chmod", "cut", "env", "head", "ln", "make", "mkdir", "sort", "touch")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the set-up reads, on a machine where `uv`, `npm` and `pip` reach nobody, and without Node."""
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in SYSTEM:
        found = shutil.which(name)
        assert found is not None, name
        (programs / name).symlink_to(found)
    put(programs / "uv", '[ "$1" = --version ] && { echo "uv 99.0.0"; exit; }; echo "error: no network" >&2; exit 2')
    return tmp_path


def put(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def set_up(checkout: Path) -> tuple[int, list[str]]:
    """Exit code, and what was said to the person who waits."""
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout), "LC_ALL": "C"}
    done = subprocess.run(["make", "setup"], cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith(("make: ", "·"))]


def install(checkout: Path, *stamps: Path) -> None:
    """As a set-up leaves it."""
    for stamp in stamps:
        (checkout / stamp).parent.mkdir(parents=True, exist_ok=True)
        (checkout / stamp).touch()


def test_setup__second_time__asks_nobody(checkout: Path) -> None:
    install(checkout, *STAMPS)
    assert set_up(checkout) == (0, [])


def test_setup__first_time__says_that_packages_are_missing(checkout: Path) -> None:
    code, said = set_up(checkout)
    assert code == 2
    assert said[-2].startswith("make: the Python packages could not be installed; check the network")


def test_setup__no_node__says_so_and_what_to_do(checkout: Path) -> None:
    install(checkout, STAMPS[0])
    code, said = set_up(checkout)
    assert code == 2
    assert said[-2].startswith("make: Node could not be fetched; check the network")
    assert "install Node with npm yourself" in said[-2]


def test_setup__node_there_but_its_packages_are_not__says_so(checkout: Path) -> None:
    install(checkout, STAMPS[0])
    put(checkout / "bin" / "node", "exit 0")
    put(checkout / "bin" / "npm", 'echo "npm error network" >&2; exit 1')
    code, said = set_up(checkout)
    assert code == 2
    assert said[-2].startswith("make: the contract toolchain could not be installed; check the network")


def test_setup__no_uv_and_none_to_be_had__says_so(checkout: Path) -> None:
    (checkout / "bin" / "uv").unlink()
    put(
        checkout / "bin" / "python3",
        '[ "$1" = -c ] && exit 0; [ "$2" = pip ] && [ "$3" = --version ] && exit 0; exit 1',
    )
    code, said = set_up(checkout)
    assert code == 2
    assert said[-2].startswith("make: uv could not be fetched; check the network")
