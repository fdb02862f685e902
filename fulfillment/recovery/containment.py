"""Containment: whatever goes wrong with one saga stays the trouble of that saga. It never ends the round of the sweep, and never fills the log.

Only an error which says that the database itself cannot work is raised. Its SQLSTATE decides and not its class, because a damaged row is a ``DatabaseError`` too.
"""

import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fulfillment.recovery import quarantine
from fulfillment.recovery.sweep_memory import Memory
from orders.database import is_our_trouble, is_timeout, is_unusable, lost_a_race, sqlstate

log = logging.getLogger(__name__)

PATIENT = 5  # times in a row that a saga may be held by somebody else before it goes into quarantine
LOST_WITH_IT = 3  # times in a row that the connection may be lost while a saga is inspected before the saga goes into quarantine
CONNECTION_LOST = "connection_lost"


class ClockHasJumped(Exception):
    """Nothing that depends on the clock may be decided now. The round is over, and the instants of open sagas are moved first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:+.1f} s")
        self.seconds = seconds


class RowsLocked(Exception):
    """The saga is due, and somebody else holds its row. Nothing was done."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A saga to be inspected. ``order`` None: not known yet. ``again``: it is in quarantine."""

    saga: int
    order: int | None
    again: bool = False


@contextmanager
def contained(due: Due, memory: Memory) -> Iterator[None]:
    """Whatever the block does with this saga is contained. Raises only what says that the database cannot work, or that its clock has jumped."""
    try:
        yield
    except ClockHasJumped:
        raise
    except Exception as error:
        if is_unusable(error):
            memory.connection_lost(due.saga)
            raise
        memory.contained += 1
        if isinstance(error, RowsLocked) or lost_a_race(error) or is_timeout(error):
            _not_now(due, memory)
        else:
            _could_not(due, memory, error)
    else:
        memory.went_well(due.saga)


def ends_the_connection(due: Due, memory: Memory) -> bool:
    """Whether this saga has ended the connection, or the server, at each of its last inspections. Then it goes into quarantine: else the others never get theirs."""
    if memory.lost.get(due.saga, 0) < LOST_WITH_IT:
        return False
    memory.lost.pop(due.saga)
    _put_into_quarantine(due, memory, CONNECTION_LOST)
    return True


def _not_now(due: Due, memory: Memory) -> None:
    """Somebody else holds its rows: it stays due, and not every round waits for it. If the rows stay held, it goes into quarantine, and a person is notified."""
    times = 0 if due.again else memory.leave_alone(due.saga)
    if times == PATIENT - 1:
        log.warning("Saga %s is held by somebody else, again and again; it stays due", due.saga)
    if due.again or times >= PATIENT:
        _put_into_quarantine(due, memory, quarantine.ROWS_LOCKED)


def _could_not(due: Due, memory: Memory, error: Exception) -> None:
    """It goes into quarantine, which counts. A traceback is logged only once for each place at which something breaks."""
    code = sqlstate(error) or type(error).__name__
    if memory.is_new((code, _line_of(error))):
        log.error("The sweep could not work on saga %s; others that fail here are counted, not logged one by one", due.saga, exc_info=error)
    _put_into_quarantine(due, memory, code)


def _line_of(error: Exception) -> int:
    """The line where it was raised."""
    *_, (_, line) = traceback.walk_tb(error.__traceback__)
    return line


def _put_into_quarantine(due: Due, memory: Memory, code: str) -> None:
    """Where that cannot be written, the memory of this process leaves it alone for a while."""
    try:
        order = quarantine.order_of(due.saga) if due.order is None else due.order
        if quarantine.add(due.saga, order, code, random.uniform(0.8, 1.2)):
            quarantine.open_incident_of(due.saga, order, code)
        memory.went_well(due.saga)
    except Exception as error:
        if is_our_trouble(error) and not is_timeout(error):
            raise  # nothing can be written at all: the database's trouble, and not this saga's
        if memory.leave_alone(due.saga) == 1:
            failed = sqlstate(error) or type(error).__name__
            log.error(
                "Saga %s of order %s: no inspection succeeds (%s), and that cannot be written down (%s)", due.saga, due.order, code, failed
            )
