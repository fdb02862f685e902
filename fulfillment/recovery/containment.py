"""Containment: whatever goes wrong with one saga is that saga's trouble. It never ends the round, and it never fills the log.

Only what says that the database itself cannot work is raised: by its SQLSTATE and not by its class, because a damaged row is a ``DatabaseError`` too.
"""

import logging
import random
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from django.conf import settings

from fulfillment.recovery import quarantine
from orders.clock import doubled
from orders.database import is_our_trouble, is_unusable, lost_a_race, sqlstate, was_not_granted
from orders.lowwater import LowWater
from orders.watch import ClockWatch

log = logging.getLogger(__name__)

REMEMBERED = 10_000  # of each; what is forgotten is looked at sooner, or told once more
LOOKED_AT_AGAIN = 100  # in one round
PATIENT = 5  # times in a row that a saga may be held by somebody else before it goes into quarantine
LOST_WITH_IT = 3  # times in a row that the connection may be lost while a saga is looked at before the saga goes into quarantine
CONNECTION_LOST = "connection_lost"
Key = TypeVar("Key")
Value = TypeVar("Value")


class ClockHasJumped(Exception):
    """Nothing that depends on the clock may be decided now: the round is over, and what is open is moved first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:+.1f} s")
        self.seconds = seconds


class HeldBySomebody(Exception):
    """The saga is due, and somebody else holds its row: nothing was done."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A saga to be looked at. ``again``: it is in quarantine."""

    saga: int
    order: int | None
    again: bool = False


@dataclass
class Memory:
    """What one sweep remembers of its rounds, bounded: it survives no restart, and nothing depends on it but time and the size of the log.

    ``aside``: saga → (failures in a row, until when it is left alone, in monotonic seconds). ``lost``: saga → connections lost in a row while it was looked at.
    ``traced``: places whose traceback was logged. ``contained``: failures since somebody last asked. ``mark``: up to when it has looked at what is due.
    ``one_by_one``: a page could not be put off as one in this round. ``watch``: on the database's clock; None: nobody watches, and the clock is believed.
    """

    watch: ClockWatch | None = None
    mark: LowWater = field(default_factory=LowWater)
    aside: OrderedDict[int, tuple[int, float]] = field(default_factory=OrderedDict)
    lost: OrderedDict[int, int] = field(default_factory=OrderedDict)
    traced: OrderedDict[tuple[str, int], bool] = field(default_factory=OrderedDict)
    contained: int = 0
    one_by_one: bool = False

    def leaves_alone(self, saga_id: int) -> bool:
        return saga_id in self.aside and time.monotonic() < self.aside[saga_id][1]

    def to_look_again(self) -> list[int]:
        """What was left alone for long enough, first come first served."""
        return [saga_id for saga_id in self.aside if not self.leaves_alone(saga_id)][:LOOKED_AT_AGAIN]

    def leave_alone(self, saga_id: int) -> int:
        """Longer each time; returns how many times in a row."""
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
        """How many looks have failed since this was asked last."""
        counted, self.contained = self.contained, 0
        return counted

    def is_new(self, place: tuple[str, int]) -> bool:
        known = place in self.traced
        _remember(self.traced, place, True)
        return not known


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)


@contextmanager
def contained(due: Due, memory: Memory) -> Iterator[None]:
    """What the block does with this saga. Raises only what says that the database cannot work, or that its clock has jumped."""
    try:
        yield
    except ClockHasJumped:
        raise
    except Exception as error:
        if is_unusable(error):
            memory.connection_lost(due.saga)
            raise
        memory.contained += 1
        if isinstance(error, HeldBySomebody) or lost_a_race(error) or was_not_granted(error):
            _not_now(due, memory)
        else:
            _could_not(due, memory, error)
    else:
        memory.went_well(due.saga)


def ends_the_connection(due: Due, memory: Memory) -> bool:
    """A saga that takes the connection, or the server, with it each time that it is looked at is not looked at once more: the others could never be."""
    if memory.lost.get(due.saga, 0) < LOST_WITH_IT:
        return False
    memory.lost.pop(due.saga)
    _hold(due, memory, CONNECTION_LOST)
    return True


def _not_now(due: Due, memory: Memory) -> None:
    """Somebody else holds its rows: it stays due, and is not waited for in each round. If nobody ever lets go, a person is told."""
    times = 0 if due.again else memory.leave_alone(due.saga)
    if times == PATIENT - 1:
        log.warning("Saga %s is held by somebody else, again and again; it stays due", due.saga)
    if due.again or times >= PATIENT:
        _hold(due, memory, quarantine.HELD_BY_SOMEBODY)


def _could_not(due: Due, memory: Memory, error: Exception) -> None:
    """Its traceback is logged once for each place at which something breaks; the quarantine counts the rest."""
    code = sqlstate(error) or type(error).__name__
    if memory.is_new((code, _line_of(error))):
        log.error("The sweep could not work on saga %s; others that fail here are counted, not told", due.saga, exc_info=error)
    _hold(due, memory, code)


def _line_of(error: Exception) -> int:
    """Where it was raised."""
    *_, (_, line) = traceback.walk_tb(error.__traceback__)
    return line


def _hold(due: Due, memory: Memory, code: str) -> None:
    """In quarantine; where that cannot be written, in the memory of this process."""
    try:
        order = quarantine.order_of(due.saga) if due.order is None else due.order
        if quarantine.hold(due.saga, order, code, random.uniform(0.8, 1.2)):
            quarantine.tell(due.saga, order, code)
        memory.went_well(due.saga)
    except Exception as error:
        if is_our_trouble(error) and not was_not_granted(error):
            raise  # nothing can be written at all: the database's trouble, and not this saga's
        if memory.leave_alone(due.saga) == 1:
            failed = sqlstate(error) or type(error).__name__
            log.error("Saga %s of order %s: no look succeeds (%s), and that cannot be written down (%s)", due.saga, due.order, code, failed)
