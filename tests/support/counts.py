"""How often long tests repeat: reduced counts in `make test`, full ones in `make prove` (LOCKSTEP_PROVE=1)."""

import os

IS_PROVING = bool(os.environ.get("LOCKSTEP_PROVE"))
FULL = 20
"""Full counts are so many times the reduced ones."""


def examples(reduced: int) -> int:
    """Examples of a property test."""
    return reduced * FULL if IS_PROVING else reduced
