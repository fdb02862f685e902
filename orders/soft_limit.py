"""The soft time limit of a task interrupts a call to somebody else, and nothing else.

Celery sends SIGUSR1 to a pool process whose task is late, wherever that task stands. Raised inside a COMMIT, the exception would leave a connection that nobody can
use, and an outcome that nobody knows. So here the signal is only noted, and raised where a call says that it may be interrupted: at once, or when the call begins.
What we do on our own rows is bounded by the limits of the database server, and by Celery's hard limit.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from orders.connections import start_clean


class SoftTimeLimitExceeded(Exception):
    """The task's time is over, and the call to somebody else was given up: what became of it is not known."""


class _Strike:
    """One for the process: signals have one too."""

    def __init__(self) -> None:
        self.is_due, self.may_interrupt = False, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.is_due = True
        self.raise_if_due()

    def raise_if_due(self) -> None:
        """Once: whoever is interrupted has time to clean up."""
        if self.is_due and self.may_interrupt:
            self.is_due, self.may_interrupt = False, False
            raise SoftTimeLimitExceeded


_strike = _Strike()


def begin_task() -> None:
    """A task begins in this process: a signal that was meant for the one before is forgotten. In the main thread only, as all signals."""
    signal.signal(signal.SIGUSR1, _strike)
    _strike.is_due, _strike.may_interrupt = False, False


@contextmanager
def interruptible() -> Iterator[None]:
    """A call to somebody else, outside any transaction. Raises SoftTimeLimitExceeded; the connection that the call may have used is clean again then."""
    _strike.may_interrupt = True
    try:
        _strike.raise_if_due()
        yield
    except SoftTimeLimitExceeded:
        start_clean()
        raise
    finally:
        _strike.may_interrupt = False
