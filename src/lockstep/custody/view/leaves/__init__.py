"""Leaves: what a request really moves, with everything unwrapped that only forwards calls or allowances.

Limits count leaves, so that an amount is the same amount however it is wrapped. Pure; reads views and nothing else.
"""

from lockstep.custody.view.leaves.read import leaves_of
from lockstep.custody.view.leaves.types import UNLIMITED, Doubt, Leaf, LeafKind, Leaves

__all__ = ["UNLIMITED", "Doubt", "Leaf", "LeafKind", "Leaves", "leaves_of"]
