"""Deeply nested input must meet Python's limit, not the end of the stack, in every process of the service."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["lockstep.app.web", "lockstep.app.roles", "lockstep.custody.execution"])
def test_service__imported_whole__keeps_the_recursion_limit(module: str) -> None:
    program = f"import sys, {module}; print(sys.getrecursionlimit())"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "1000"
