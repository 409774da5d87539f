"""Proofs about policies: is there any request at all that some policies allow and others do not?

`search` needs z3 (the extra `proofs`), so it is imported where it runs only, `policy.proofs.search`; the types are here.
Pure: no database, no clock.
"""

from lockstep.custody.policy.proofs.types import Answer, Example, Finding, KnownSet, Search

__all__ = ["Answer", "Example", "Finding", "KnownSet", "Search"]
