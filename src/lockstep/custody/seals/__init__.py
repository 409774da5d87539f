"""Seals: who can write to the database, and has no key of ours, gets nothing signed by editing what carries authority.

Each such row has a keyed code over what matters in it and a revision; the newest revisions are noted outside the database,
so that an older sealed row does not come back either. What a seal is over is said in `contents.py`, for all kinds.
"""

from lockstep.custody.seals import contents
from lockstep.custody.seals.anchors import Anchors
from lockstep.custody.seals.errors import AuthorityTampered
from lockstep.custody.seals.rules import Content, Kind, Sealed
from lockstep.custody.seals.service import Seals

__all__ = ["Anchors", "AuthorityTampered", "Content", "Kind", "Sealed", "Seals", "contents"]
