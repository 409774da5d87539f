"""House rules that no linter knows, on the syntax tree of src/lockstep. Prints one line per violation; exit 1 if any.

float-near-money    no float, float literal or true division where amounts and prices are computed
direct-clock        business time comes from the injected clock; only kit/clock.py and kit/ids.py read the host's
foreign-commit      only kit/database.py begins, commits or rolls back
tenant-query        a query on a tenant's table names app_id, or says in the SQL why it may not: /* all tenants: … */
secret-in-text      no secret in a log event or in the text of an error
secret-in-repr      a field that holds a secret is left out of the repr of its class
secret-import       key material is importable inside custody/execution only
private-room        other modules import a module by its public surface (`__init__`), never one of its files
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "lockstep"
MIGRATIONS = ROOT / "migrations" / "versions"

_MONEY = re.compile(
    r"(kit/money|.*/rules|.*/rules/.*|.*/types|.*/price.*|.*/amounts|chains/evm/(rlp|abi|transactions|typed_data|fees)|assets/.*)\.py"
)
_CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time"), ("time", "time_ns")}
_TRANSACTION = re.compile(r"\s*(begin|commit|rollback|start transaction)\b", re.IGNORECASE)
_SECRET = re.compile(r"(^|_)(secret|password|private_key|mnemonic|seed|share|preimage)$")
_PLAIN = re.compile(r"\b(str|bytes|Bytes\w*)\b")
"""Annotations of values that show themselves."""
_KEY_MATERIAL = (
    "lockstep.custody.execution.keys",
    "lockstep.custody.execution.shamir",
    "lockstep.custody.execution.core",
)
_ALL_TENANTS_WORDS = re.compile(r"All tenants: \S")
_MODULES = frozenset({"assets", "auctions", "chains", "client", "custody", "settlement", "transactions"})
"""Modules with a public surface; kit is imported file by file, and app is nobody's to import."""
_ALL_TENANTS = re.compile(r"/\* all tenants: \S.*?\*/", re.DOTALL)


class Violation(NamedTuple):
    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


def tenant_tables(migrations: Path = MIGRATIONS) -> frozenset[str]:
    """Tables that the migrations protect by tenant; the envelope tables of kit carry other modules' tenants."""
    text = "\n".join(path.read_text() for path in sorted(migrations.glob("*.sql")))
    return frozenset(re.findall(r"lockstep_protect\('(\w+)'", text)) - {"processes", "process_steps"}


def check_source(relative: str, source: str, tables: frozenset[str]) -> Iterator[Violation]:
    """Every violation in one file; `relative` is its path below src/lockstep, with slashes."""
    tree, lines = ast.parse(source), source.splitlines()
    exempt = _serves_all_tenants(tree)
    pieces = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in pieces and isinstance(node, ast.Constant):
            continue  # judged with the whole f-string
        for rule, text in _faults(relative, node, tables):
            number = getattr(node, "lineno", 1)
            if f"# house: {rule}, because " in lines[number - 1] or (rule == "tenant-query" and id(node) in exempt):
                continue
            yield Violation(relative, number, rule, text)


def _serves_all_tenants(tree: ast.Module) -> set[int]:
    """Every node inside a module or function whose docstring gives a reason to look at all tenants."""
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        id(inner)
        for scope in scopes
        if _ALL_TENANTS_WORDS.search(ast.get_docstring(scope) or "")
        for inner in ast.walk(scope)
    }


def _faults(relative: str, node: ast.AST, tables: frozenset[str]) -> Iterator[tuple[str, str]]:
    if _MONEY.fullmatch(relative):
        yield from _float_faults(node)
    if relative not in ("kit/clock.py", "kit/ids.py"):
        yield from _clock_faults(node)
    if relative != "kit/database.py":
        yield from _commit_faults(node)
    if "store" in relative and not relative.startswith("kit/"):
        yield from _tenant_faults(node, tables)
    yield from _secret_faults(node)
    yield from _repr_faults(node)
    if not relative.startswith("custody/execution/"):
        yield from _import_faults(node)
    yield from _room_faults(relative, node)


def _float_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield "float-near-money", f"float literal {node.value}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        yield "float-near-money", "float(…)"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield "float-near-money", "true division; use // and name the rounding"


def _clock_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
        if (name, node.func.attr) in _CLOCKS:
            yield "direct-clock", f"{name}.{node.func.attr}()"


def _commit_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr in ("commit", "rollback"):
        yield "foreign-commit", f".{node.func.attr}()"
    if node.func.attr == "execute" and node.args and _TRANSACTION.match(_text_of(node.args[0])):
        yield "foreign-commit", _text_of(node.args[0])[:40]


def _tenant_faults(node: ast.AST, tables: frozenset[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.Constant | ast.JoinedStr):
        return
    text = _text_of(node)
    if not re.search(r"\b(select|insert|update|delete)\b", text) or "app_id" in text or _ALL_TENANTS.search(text):
        return
    for table in re.findall(r"\b(?:from|into|update|join)\s+(\w+)", text):
        if table in tables:
            yield "tenant-query", f"{table} without app_id"


def _secret_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Raise):
        shown: list[ast.AST] = [node]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id in ("log", "logger", "logging")):
            return
        shown = [*node.args, *(keyword.value for keyword in node.keywords)]
    else:
        return
    for part in shown:
        for inner in ast.walk(part):
            value = inner.value if isinstance(inner, ast.FormattedValue) else None
            name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
            if name and _SECRET.search(name):
                yield "secret-in-text", f"{{{name}}}"


def _repr_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.ClassDef):
        return
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if not _SECRET.search(field.target.id) or not _PLAIN.search(ast.unparse(field.annotation)):
            continue
        options = field.value.keywords if isinstance(field.value, ast.Call) else []
        if not any(option.arg == "repr" and ast.unparse(option.value) == "False" for option in options):
            yield "secret-in-repr", f"{node.name}.{field.target.id}"


def _import_faults(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        return
    for name in names:
        if name in _KEY_MATERIAL:
            yield "secret-import", name


def _room_faults(relative: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ImportFrom) and node.module:
        name = node.module
    elif isinstance(node, ast.Import):
        name = node.names[0].name
    else:
        return
    parts = name.split(".")
    if len(parts) < 3 or parts[0] != "lockstep" or parts[1] not in _MODULES or relative.startswith(f"{parts[1]}/"):
        return
    if SOURCE.joinpath(*parts[1:]).with_suffix(".py").is_file():
        yield "private-room", f"{name}; import it from the package that holds it"


def _text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text_of(part) if isinstance(part, ast.Constant) else "?" for part in node.values)
    return ""


def main() -> int:
    tables = tenant_tables()
    found = [
        violation
        for path in sorted(SOURCE.rglob("*.py"))
        for violation in check_source(path.relative_to(SOURCE).as_posix(), path.read_text(), tables)
    ]
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
