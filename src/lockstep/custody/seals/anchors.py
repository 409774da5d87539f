"""The newest revision of every sealed row that was ever changed, in a file outside the database.

The file is only ever appended to, a line for each change, each with a code of its own, so that nobody without the key
brings service to a stop by writing to it. It belongs where the database's administrators cannot write; processes of several
machines share it, or each protects what it has seen itself. A change whose process dies between commit and note can be
rolled back unseen until the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from lockstep.custody.seals.rules import Kind

log = structlog.get_logger(__name__)

Subject = tuple[str, str]
"""Kind and id."""
_REMEMBERED = 8


class Anchors:
    """Remembers the newest revisions; without a file only as long as the process lives."""

    def __init__(self, key: bytes, path: Path | None = None) -> None:
        """
        Args:
            key: the 32 bytes under which lines are coded.
        """
        self._key, self._path = key, path
        self._known: dict[Subject, list[tuple[int, int]]] = {}
        """Newest revisions, each with the count of lines at which it became known; the last few of a subject."""
        self._count = 0
        self._read_to = 0

    def find(self, kind: Kind, subject: str, mark: int | None = None) -> int | None:
        """The newest revision that was noted; None: it never changed.

        Args:
            mark: only what was known then; see `mark`.
        """
        known = self._known.get((kind, subject), ())
        return next((revision for count, revision in reversed(known) if mark is None or count <= mark), None)

    def mark(self) -> int:
        """What is known by now. Rows that are read after this are at least as new: what is noted while they are read, by
        somebody who changes them at that moment, says nothing against them.

        Raises:
            OSError: see `refresh`.
        """
        self.refresh()
        return self._count

    def refresh(self) -> None:
        """Read what other processes have noted since the last look; costs next to nothing when they have not.

        Raises:
            OSError: the file cannot be read; what rests on it must wait.
        """
        if self._path is None:
            return
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size == self._read_to:
            return
        if size < self._read_to:
            log.error("anchors_cut_off", had=self._read_to, has=size)
            return
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            text = file.read(size - self._read_to)
        whole = text.rpartition(b"\n")[0]
        for line in whole.splitlines():
            self._take(line.decode("utf-8", "replace"))
        self._read_to += len(whole) + 1 if whole else 0

    async def note(self, revisions: Mapping[Subject, int]) -> None:
        """Note revisions after their commit, and wait until they are on the disk."""
        for subject, revision in revisions.items():
            self._learn(subject, revision)
        if self._path is not None and revisions:
            lines = [self._line(kind, subject, revision) for (kind, subject), revision in revisions.items()]
            await asyncio.to_thread(self._append, "".join(lines).encode())

    def _append(self, lines: bytes) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _line(self, kind: str, subject: str, revision: int) -> str:
        text = f"{kind} {subject or '-'} {revision}"
        return f"{text} {self._code(text)}\n"

    def _take(self, line: str) -> None:
        text, _, code = line.rpartition(" ")
        parts = text.split(" ")
        if (
            len(parts) != 3
            or not parts[2].isdecimal()
            or not hmac.compare_digest(code.encode(), self._code(text).encode())
        ):
            log.error("anchor_unreadable")
            return
        kind, subject, revision = parts
        self._learn((kind, "" if subject == "-" else subject), int(revision))

    def _learn(self, subject: Subject, revision: int) -> None:
        known = self._known.setdefault(subject, [])
        if not known or known[-1][1] < revision:
            self._count += 1
            known.append((self._count, revision))
            del known[:-_REMEMBERED]

    def _code(self, text: str) -> str:
        return hmac.new(self._key, b"lockstep anchor v1\n" + text.encode(), hashlib.sha256).hexdigest()
