"""How many blocks are read at once: more while answers are small and quick, half of it when they are not. Pure."""

_FIRST = 256
_FEW, _MANY = 2_000, 10_000
"""Logs of a look: below the first the window grows, above the second it shrinks (they are held in memory)."""
_TRIED_AGAIN = 100
"""Scans after which a limit is tried again: the node that set it may have been replaced, or its words misread."""
_QUICK, _SLOW = 1.0, 3.0
"""Seconds of a look, writing included; a leader must not be silent for longer than ten."""


class ScanWindow:
    """The width of the next scan of one follower, in blocks."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: blocks that the nodes of the chain allow at once, as far as it is known.
        """
        self._allowed = max(1, most)
        self._most = self._allowed
        self._since_refusal = 0
        self.blocks = min(self._most, _FIRST)

    def answered(self, blocks: int, logs: int, seconds: float) -> None:
        """A scan of so many blocks brought so many logs and took so long."""
        self._since_refusal += 1
        if self._most < self._allowed and self._since_refusal >= _TRIED_AGAIN:
            self._most, self._since_refusal = min(2 * self._most, self._allowed), 0
        if logs > _MANY or seconds > _SLOW:
            self._halve()
        elif blocks >= self.blocks and logs < _FEW and seconds < _QUICK:
            self.blocks = min(2 * self.blocks, self._most)

    def refused(self, *, is_limit: bool) -> bool:
        """A scan was too much for the nodes; returns whether a smaller one can be tried.

        Args:
            is_limit: of blocks, whatever they hold, so that there is no sense in asking for as many again soon.
        """
        if self.blocks == 1:
            return False
        self._halve()
        if is_limit:
            self._most, self._since_refusal = self.blocks, 0
        return True

    def _halve(self) -> None:
        self.blocks = max(1, self.blocks // 2)
