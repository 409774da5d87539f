"""What the demo prints: acts, claims that were checked, a timeline and a balance sheet. Knows nothing of the story."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from lockstep.kit.errors import Stop


class ClaimFailed(Stop):
    """The demo claimed something that does not hold."""

    code = "demo_claim_failed"


@dataclass(slots=True)
class Report:
    """Prints the story as it happens. A claim that does not hold ends it with an error."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    started: float = field(default_factory=time.monotonic)
    claims: int = 0
    timeline: list[tuple[float, str]] = field(default_factory=list)

    def act(self, title: str) -> None:
        """Begin a part of the story."""
        self._print(f"\n{self._bold(title)}")

    def say(self, text: str) -> None:
        """Something that happened, for the reader."""
        self._print(f"  {text}")

    def working(self, text: str) -> None:
        """Something that takes a while has begun."""
        self._print(f"  … {text}")

    def happened(self, text: str) -> None:
        """A fact that also belongs to the timeline at the end."""
        self.timeline.append((time.monotonic() - self.started, text))
        self.say(text)

    def claim(self, text: str, holds: bool, *, seen: object = None) -> None:
        """Print a claim that was just checked; raise if it does not hold.

        Raises:
            ClaimFailed: with what was seen instead.
        """
        if not holds:
            self._print(f"  ✗ {text}")
            raise ClaimFailed(f"claimed: {text}; seen: {seen!r}")
        self.claims += 1
        self._print(f"  ✓ {text}")

    def show_timeline(self) -> None:
        """Everything that was marked as having happened, with seconds since the start."""
        self.act("Timeline")
        for moment, text in self.timeline:
            self._print(f"  {moment:6.1f} s  {text}")

    def show_table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table; the first column left, the rest right aligned."""
        self.act(title)
        table = [list(header), *[list(row) for row in rows]]
        widths = [max(len(row[column]) for row in table) for column in range(len(header))]
        for number, row in enumerate(table):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            self._print("  " + "   ".join(cells))
            if number == 0:
                self._print("  " + "   ".join("─" * width for width in widths))

    def finish(self) -> None:
        """The last line."""
        self._print(
            f"\n{self.claims} claims checked, all hold. {time.monotonic() - self.started:.0f} s. Nothing is left running."
        )

    def _print(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()

    def _bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self.out.isatty() else text
