"""Low-water marks: from where a queue's index must be read, so that what is done already costs nothing.

Whoever reads "everything that is due" from the beginning of an index passes all entries of rows that were due once. PostgreSQL removes those entries by itself,
unless somebody holds an old snapshot open: then they stay, and each read passes all of them. So a loop that has read up to an instant goes on from there, with
an overlap for whoever commits late; and in each round it reads one slice of what lies behind, in case that somebody has committed later than that.

Source of the shape: a queue table of 36,000 rows under one forgotten REPEATABLE READ transaction took 37 ms a read instead of 0.04 (docs/proof.md).
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

Found = TypeVar("Found")

A_PAGE = 100
A_SLICE_TAKES_S = 0.001  # so long, about: the next one is as much wider, or narrower
OVERLAP = timedelta(seconds=1)  # whoever commits later than this is found in a slice
NARROWEST, WIDEST = timedelta(seconds=2), timedelta(days=1)  # wider than a round is long, or the slices would never catch up with the mark
A_LAP = 300  # rounds at most until all that lies behind was read: on a busy machine each slice takes long, and whoever has committed late still waits in one


class LowWater:
    """One reader's mark on one index. It survives no restart: whoever begins reads everything, once."""

    def __init__(self) -> None:
        self._begun_at: datetime | None = None
        self._read_to: datetime | None = None
        self._slice_from: datetime | None = None
        self._width = 8 * NARROWEST

    @property
    def since(self) -> datetime | None:
        """Read what is due after this; None: from the beginning."""
        return self._read_to and self._read_to - OVERLAP

    def reached(self, instant: datetime) -> None:
        """Whatever is due up to ``instant`` was inspected. Whoever stops in the middle of a round does not say this."""
        self._read_to = instant
        self._begun_at = self._begun_at or instant

    def passed(self, instant: datetime) -> None:
        """A full page ends at ``instant``, and more is due: the next page begins there, and does not pass the entries of this one. What somebody held on it lies
        behind now, and is found when the backlog is worked off.
        """
        self._read_to = instant

    def start_over(self) -> None:
        """Nothing is known about what was read: the clock has jumped, or somebody else did the work, or more lies behind than a slice shows."""
        self._begun_at = self._read_to = self._slice_from = None

    def behind(self, read: Callable[[datetime | None, datetime], list[Found]]) -> list[Found]:
        """What ``read(after, up_to)`` finds in the next slice of what lies behind, the first of them being all from before we began; nothing before the first
        whole round. More than ``A_PAGE``: the next round reads everything.
        """
        if self.since is None or self._begun_at is None:
            return []
        width = max(self._width, (self.since - self._begun_at) / A_LAP)
        up_to = min(self._slice_from + width if self._slice_from else self._begun_at - OVERLAP, self.since)
        begun = time.monotonic()
        found = read(self._slice_from, up_to)
        self._adapt(time.monotonic() - begun)
        self._slice_from = None if up_to >= self.since else up_to
        if len(found) >= A_PAGE:
            self.start_over()
        return found

    def _adapt(self, took_s: float) -> None:
        width = self._width * 2 if took_s < A_SLICE_TAKES_S else self._width / 2
        self._width = min(max(width, NARROWEST), WIDEST)
