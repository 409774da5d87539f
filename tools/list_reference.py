"""Writes the generated tables of the guide: routes from OpenAPI, settings and metrics from the code.

python tools/list_reference.py            writes them between their markers
python tools/list_reference.py --check    exit code 1 if one is not fresh
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from prometheus_client import REGISTRY
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import lockstep
from lockstep.app import settings as module
from lockstep.app.roles import openapi_document
from lockstep.app.settings import PREFIX, MigrateSettings, Settings, SignerSettings
from lockstep.chains.evm import PROFILES

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
ROLES = ((Settings, "serve, work"), (SignerSettings, "signer"), (MigrateSettings, "migrate"))
GROUPS = ("access", "custody", "authority", "transactions", "orders", "swaps", "health")


def routes() -> str:
    """One table per group of routes: method and path, what it does."""
    found: dict[str, list[str]] = {}
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            words = operation.get("description") or operation["summary"]
            (group,) = operation["tags"]
            needs_key = any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
            key = " · key" if needs_key else ""
            found.setdefault(group, []).append(f"| `{method.upper()} {path}`{key} | {_sentence(words)} |")
    order = sorted(found, key=lambda group: (GROUPS.index(group) if group in GROUPS else len(GROUPS), group))
    return "\n\n".join(
        f"**{group}**\n\n| route | what it does |\n|---|---|\n" + "\n".join(found[group]) for group in order
    )


def settings() -> str:
    """One table of variables, and one of members for each setting that is written as JSON."""
    rows: dict[str, tuple[list[str], str, str]] = {}
    lists = {name.upper(): inner for name, field in Settings.model_fields.items() if (inner := _items(field))}
    for kind, roles in ROLES:
        for name, default, owner in _variables(kind, ""):
            words = _doc(owner, name.rpartition("__")[2].lower())
            rows.setdefault(name, ([], default, words))[0].append(roles)
    parts = ["| variable | role | default | meaning |\n|---|---|---|---|"]
    for name, (roles_of, default, words) in rows.items():
        role = "all" if len(roles_of) == len(ROLES) else ", ".join(roles_of)
        parts[0] += f"\n| `{PREFIX}{name}` | {role} | {default} | {words} |"
    for name, model in lists.items():
        table = f"`{PREFIX}{name}` is a JSON list; each entry has:\n\n| member | default | meaning |\n|---|---|---|"
        for member, field in model.model_fields.items():
            table += f"\n| `{member}` | {_default(field)} | {_doc(model, member)} |"
        parts.append(table)
    return "\n\n".join(parts)


def metrics() -> str:
    """All figures by name."""
    for found in pkgutil.walk_packages(lockstep.__path__, "lockstep."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    rows = []
    for metric in sorted(REGISTRY.collect(), key=lambda each: each.name):
        if metric.name.startswith("lockstep_"):
            name = metric.name + ("_total" if metric.type == "counter" else "")
            rows.append(f"| `{name}` | {metric.type} | {metric.documentation} |")
    return "| metric | type | meaning |\n|---|---|---|\n" + "\n".join(rows)


def profiles() -> str:
    """One table: what each kind of chain comes with."""
    rows = [
        "| profile | block, s | final | least tip, wei | fees | a higher fee helps | data fee | most gas |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, profile in PROFILES.items():
        final = f"`{profile.finality_tag}`" if profile.finality_tag else f"{profile.finality_blocks} blocks deep"
        rows.append(
            f"| `{name}` | {profile.block_seconds:g} | {final} | {profile.min_priority_fee_per_gas:,} | {profile.fee_style} |"
            f" {'yes' if profile.has_fee_auction else 'no'} | {profile.data_fee} |"
            f" {'as the block' if profile.transaction_gas_cap is None else f'{profile.transaction_gas_cap:,}'} |"
        )
    return "\n".join(rows)


PARTS = {
    ("api.md", "routes"): routes,
    ("operations.md", "profiles"): profiles,
    ("operations.md", "settings"): settings,
    ("operations.md", "metrics"): metrics,
}


def fill(text: str, name: str, content: str) -> str:
    """The page with a generated part put between its markers.

    Raises:
        ValueError: the page has no such markers, or several.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
    filled, count = pattern.subn(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"expected the markers of {name} once, found them {count} times")
    return filled


def _variables(
    kind: type[BaseModel], prefix: str, *, is_optional: bool = False
) -> Iterator[tuple[str, str, type[BaseModel]]]:
    for name, field in kind.model_fields.items():
        inner = next((each for each in _kinds(field.annotation) if _is_model(each)), None)
        variable = f"{prefix}{name.upper()}"
        if inner is not None and _items(field) is None:
            yield from _variables(inner, f"{variable}__", is_optional=field.default is None)
        else:
            yield variable, "none" if is_optional else _default(field), kind


def _items(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a list holds."""
    arguments = get_args(field.annotation)
    model = next((each for each in arguments if _is_model(each)), None)
    return model if len(arguments) == 2 and arguments[1] is Ellipsis else None


def _kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    yield from get_args(annotation)


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "**required**"
    if default in (None, (), {}) or isinstance(default, SecretStr):
        return "none"
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    return f"`{text.lower() if isinstance(default, bool) else text}`"


def _doc(owner: type[BaseModel], name: str) -> str:
    """The words below a field in the settings' source, also those of a class that it inherits from."""
    for kind in owner.__mro__:
        words = _WORDS.get(kind.__name__, {}).get(name)
        if words is not None:
            return " ".join(words.split()).replace("|", "\\|")
    return ""


def _read_words() -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = {}
    source = "".join(path.read_text() for path in sorted(Path(inspect.getfile(module)).parent.glob("*.py")))
    for node in ast.parse(source.replace("from __future__ import annotations", "")).body:
        if isinstance(node, ast.ClassDef):
            for field, after in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                ):
                    words.setdefault(node.name, {})[field.target.id] = str(after.value.value)
    return words


def _sentence(words: str) -> str:
    return " ".join(words.split("\n\n")[0].split()).replace("|", "\\|")


_WORDS = _read_words()


def main() -> int:
    """Write the parts, or say which one is not fresh."""
    stale = []
    for (page, name), make in PARTS.items():
        path = GUIDE / page
        text = path.read_text()
        filled = fill(text, name, make())
        if filled != text:
            stale.append(f"{name} in {page}")
            if "--check" not in sys.argv[1:]:
                path.write_text(filled)
    if stale and "--check" in sys.argv[1:]:
        print(f"not fresh: {', '.join(stale)}; run: python tools/list_reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
