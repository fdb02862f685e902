"""A watch on the database's clock: it may be set, or a replica whose clock differs may take over; this machine's monotonic clock cannot be set.

Every instant that the shop stores comes from the database's clock. A jump of it makes each lease, wait and deadline look longer ago, or further away, than it is.
"""

import time
from collections.abc import Callable
from datetime import datetime

from orders.clock import shop_now


class ClockWatch:
    """One process's own. Each reading is compared with the one before it.

    The database's instant was read at some moment between the question and its answer: only what no such moment explains is a jump, so that neither a slow
    database nor a process that stood still is taken for one.
    """

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_s = tolerance_s
        self._last: tuple[float, datetime, float] | None = None
        self._calm_since = self._believed_until = time.monotonic()

    @property
    def calm_s(self) -> float:
        """For how long this process has seen the clock go as it should: what counts as past since before that may not have passed."""
        return time.monotonic() - self._calm_since if self._last else 0.0

    @property
    def calm_until_read_s(self) -> float:
        """The same, but until the last reading was asked for: what has happened since nobody has seen."""
        return max(0.0, self._last[0] - self._calm_since) if self._last else 0.0

    def jumped_s(self, ask: Callable[[], datetime] = shop_now) -> float:
        """By how many seconds the clock has jumped since the last reading; 0.0: it has not."""
        return self.saw(time.monotonic(), ask())

    def saw(self, asked: float, now: datetime) -> float:
        """A reading by whoever has just read ``now`` and had asked at ``asked``, by the monotonic clock."""
        answered = time.monotonic()
        last, self._last = self._last, (asked, now, answered)
        if last is None:
            self._believed_until, self._calm_since = asked, answered
            return 0.0
        elapsed_s = (now - last[1]).total_seconds()
        at_least_s, at_most_s = asked - last[2], answered - last[0]
        jumped_s = elapsed_s - min(max(elapsed_s, at_least_s), at_most_s)
        if abs(jumped_s) <= self._tolerance_s:
            return 0.0
        self._believed_until, self._calm_since = last[0], answered
        return jumped_s

    @property
    def unsure_s(self) -> float:
        """How long ago the clock was last seen before its jump: what was written since may bear instants of either clock."""
        return time.monotonic() - self._believed_until
