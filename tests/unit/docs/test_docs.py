"""What the documentation names exists: commands, routes, variables, files; its snippets parse; its tables are fresh."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from lockstep.app.cli.main import app
from lockstep.app.roles import openapi_document
from lockstep.custody.policy import parse_policy

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
STREAM = "/v1/stream"
OF_THE_CLIENT = {"LOCKSTEP_URL", "LOCKSTEP_APP_ID", "LOCKSTEP_APP_SECRET", "LOCKSTEP_TOKEN"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in _FENCE.findall(page.read_text()) if name == language]


def code(page: Path) -> str:
    """Everything on a page that is set as code, one piece per line or more."""
    text = page.read_text()
    fenced = [content for _, content in _FENCE.findall(text)]
    rest = _FENCE.sub("", text)
    indented = [line[4:] for line in rest.splitlines() if line.startswith("    ")]
    return "\n".join([*fenced, *indented, *re.findall(r"`([^`\n]+)`", rest)])


@cache
def paths() -> tuple[str, ...]:
    return (*openapi_document()["paths"], STREAM, "/openapi.json")


def _policies(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict) and "rules" in document and "chain_type" in document:
        yield document


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets__of_every_page__parse(page: Path) -> None:
    documents = [json.loads(block) for block in blocks(page, "json")]
    documents += [json.loads(found) for found in re.findall(r"<<'JSON'\n(.*?)\nJSON\n", page.read_text(), re.DOTALL)]
    for document in documents:
        for policy in _policies(document):
            parse_policy(policy)
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands__named_on_a_page__exist_with_their_options(page: Path) -> None:
    for line in re.findall(r"(?<![\w./-])lockstep ((?:-{0,2}[\w-]+ ?)+)", code(page)):
        command: Any = typer.main.get_command(app)  # typer brings its own click: nothing to check its kind against
        for word in line.split():
            if word.startswith("-"):
                options = {name for each in command.params for name in each.opts}
                assert word in options | {"--help", "-h"}, f"{page.name}: lockstep {line}"
            elif hasattr(command, "commands"):
                assert word in command.commands, f"{page.name}: lockstep {line}"
                command = command.commands[word]
            else:
                break


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_routes__named_on_a_page__are_in_the_schema(page: Path) -> None:
    for found in re.findall(r"/v1/[\w{}$/.-]+|/health/\w+|/metrics\b|/openapi\.json", code(page)):
        assert any(_fits(found.rstrip("./"), path) for path in paths()), f"{page.name}: {found}"


def _fits(named: str, path: str) -> bool:
    """A template, or a path in which something stands where the template has a parameter."""
    parts, wanted = named.split("/"), path.split("/")
    return len(parts) == len(wanted) and all(
        part == want or (want.startswith("{") and part != "") for part, want in zip(parts, wanted, strict=True)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links__of_every_page__lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[\w-]*)?\)", page.read_text()):
        if target and "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_settings__named_on_a_page__exist() -> None:
    known = set(re.findall(r"`(LOCKSTEP_\w+)`", tool("list_reference").settings())) | OF_THE_CLIENT
    for page in PAGES:
        for name in re.findall(r"\bLOCKSTEP_\w*[A-Z]\b", page.read_text()):
            assert name in known or name.removesuffix("_FILE") in known, f"{page.name}: {name}"


def test_errors_page__compared_with_the_classes__is_fresh() -> None:
    errors = tool("list_errors")
    assert errors.PAGE.read_text() == errors.render(), "run: python tools/list_errors.py"


def test_codes__of_all_errors__have_one_status_each() -> None:
    for name, classes in tool("list_errors").by_code().items():
        assert len({error.http_status for error in classes}) == 1, name


def test_tables__of_routes_settings_and_metrics__are_fresh() -> None:
    reference = tool("list_reference")
    for (page, name), make in reference.PARTS.items():
        text = (reference.GUIDE / page).read_text()
        assert reference.fill(text, name, make()) == text, f"{name} in {page}; run: python tools/list_reference.py"


def test_examples__every_one__parses() -> None:
    found = list((ROOT / "docs" / "examples").glob("*.py"))
    assert found
    for path in found:
        ast.parse(path.read_text())
