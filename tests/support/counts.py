"""How often long tests repeat: reduced counts in `make test`, full ones in `make prove` (LOCKSTEP_PROVE=1)."""

import os

IS_PROVING = bool(os.environ.get("LOCKSTEP_PROVE"))
FULL = 20
"""Full counts are so many times the reduced ones."""


def examples(reduced: int, full: int | None = None) -> int:
    """Examples of a property test.

    Args:
        full: how many there are in full, where more is asked than usual.
    """
    return (full or reduced * FULL) if IS_PROVING else reduced
