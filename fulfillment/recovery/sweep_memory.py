"""The memory of one sweep, from round to round: it is bounded, it survives no restart, and only time and the size of the log depend on it."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.conf import settings

from orders.clock import doubled
from orders.clock_watch import ClockWatch
from orders.lowwater import LowWater

REMEMBERED = 10_000  # of each kind; what is forgotten is inspected sooner, or logged once more
INSPECTED_AGAIN = 100  # in one round
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass
class Memory:
    """What one sweep remembers of its rounds.

    ``aside``: saga → (failures in a row, until when it is left alone, in monotonic seconds). ``lost``: saga → connections lost in a row while it was inspected.
    ``traced``: places whose traceback was logged. ``contained``: failures since somebody last asked. ``mark``: up to when it has inspected what is due.
    ``one_by_one``: a page could not be worked off as one in this round. ``was_refused``: the broker did not take what was published last, so nothing is published
    by the page. ``proved``: queue → what was published before is lost, and was made due. ``watch``: on the database's clock; None: nobody watches, and the clock is
    believed.
    """

    watch: ClockWatch | None = None
    mark: LowWater = field(default_factory=LowWater)
    aside: OrderedDict[int, tuple[int, float]] = field(default_factory=OrderedDict)
    lost: OrderedDict[int, int] = field(default_factory=OrderedDict)
    traced: OrderedDict[tuple[str, int], bool] = field(default_factory=OrderedDict)
    contained: int = 0
    one_by_one: bool = False
    was_refused: bool = False
    proved: dict[str, datetime] = field(default_factory=dict)

    def leaves_alone(self, saga_id: int) -> bool:
        return saga_id in self.aside and time.monotonic() < self.aside[saga_id][1]

    def to_inspect_again(self) -> list[int]:
        """What was left alone for long enough, the longest waiting first."""
        return [saga_id for saga_id in self.aside if not self.leaves_alone(saga_id)][:INSPECTED_AGAIN]

    def leave_alone(self, saga_id: int) -> int:
        """Leave it alone, for longer each time. Returns how many times in a row."""
        times = self.aside.get(saga_id, (0, 0.0))[0] + 1
        wait_s = doubled(settings.BACKOFF_S, times - 1, settings.BACKOFF_CAP_S)
        _remember(self.aside, saga_id, (times, time.monotonic() + wait_s))
        return times

    def connection_lost(self, saga_id: int) -> None:
        _remember(self.lost, saga_id, self.lost.get(saga_id, 0) + 1)

    def went_well(self, saga_id: int) -> None:
        self.aside.pop(saga_id, None)
        self.lost.pop(saga_id, None)

    def take_count(self) -> int:
        """How many inspections have failed since this was last asked."""
        counted, self.contained = self.contained, 0
        return counted

    def is_new(self, place: tuple[str, int]) -> bool:
        """Whether nothing has failed at this place before: (code, line)."""
        known = place in self.traced
        _remember(self.traced, place, True)
        return not known


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
