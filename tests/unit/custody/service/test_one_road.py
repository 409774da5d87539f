"""Nothing reaches a wallet's key but by the one road: decision, authorization, signer, verification."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[4] / "src" / "lockstep"
ROAD = "custody/signing/execute.py"


def _files() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if not name.startswith("custody/execution/"):
            yield name, ast.parse(path.read_text())


def _calls(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            target = node.func
            names.add(target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", ""))
    return names


def test_signer__asked_for_a_value_signature__in_one_place_only() -> None:
    callers = {name for name, tree in _files() if "sign_many" in _calls(tree)}
    assert callers == {ROAD}


def test_signing_requests__are_made__in_one_place_only() -> None:
    makers = {name for name, tree in _files() if "SigningRequest" in _calls(tree)}
    assert makers == {ROAD}


def test_execution_authorizations__for_signatures__are_issued_in_one_place_only() -> None:
    issuers = {name for name, tree in _files() if "issue" in _calls(tree)}
    assert issuers <= {ROAD, "app/devnet/issuer.py"}  # the devnet's issuer issues user tokens, with a key of its own


def test_the_executor__asked_to_sign_one_thing__by_nobody() -> None:
    for name, tree in _files():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sign":
                target = node.func.value
                holder = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                assert holder not in {"_executor", "executor", "signer", "_signer"}, f"{name} asks the signer itself"
