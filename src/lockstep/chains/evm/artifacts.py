"""The compiled contracts that ship with the package: ABI and creation bytecode by contract name."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from lockstep.chains.evm.errors import UnknownArtifact

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract."""

    name: str
    abi: list[dict[str, Any]] = field(repr=False)
    bytecode: bytes = field(repr=False)
    """Creation code, without constructor arguments; empty for an interface."""
    runtime: bytes = field(repr=False)
    """The code that the creation leaves, with zeros where a constructor fills in its arguments."""


@cache
def load_artifact(name: str) -> Artifact:
    """The artefact of a contract of ours.

    Raises:
        UnknownArtifact: none of this name is shipped.
    """
    if not _NAME.fullmatch(name):
        raise UnknownArtifact(f"{name!r} is not the name of a contract")
    source = resources.files("lockstep.chains.evm").joinpath("artifacts", f"{name}.json")
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnknownArtifact(f"the artefact of {name} is not shipped; build the contracts first") from error
    bytecode, runtime = (
        bytes.fromhex(content[member].removeprefix("0x")) for member in ("bytecode", "deployedBytecode")
    )
    return Artifact(name=name, abi=content["abi"], bytecode=bytecode, runtime=runtime)


@cache
def artifact_names() -> tuple[str, ...]:
    """Names of the contracts that ship with the package."""
    folder = resources.files("lockstep.chains.evm").joinpath("artifacts")
    return tuple(sorted(each.name.removesuffix(".json") for each in folder.iterdir() if each.name.endswith(".json")))
