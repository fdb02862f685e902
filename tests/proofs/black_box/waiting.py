"""Waiting for something outside: a question is asked until its answer is true, or for too long."""

import time
from collections.abc import Callable
from typing import TypeVar

SOON_S, RARELY_S = 0.05, 0.25  # between two questions, at first and later
Found = TypeVar("Found")


class NothingCame(AssertionError):
    """What was waited for did not happen in time; the message says what was seen last."""


def wait_for(question: Callable[[], Found], within_s: float = 20, every_s: float | None = None) -> Found:
    """The first truthy answer. Without ``every_s`` it asks less often the longer it waits, because each question costs the shop an answer.

    Raises NothingCame with the last one after ``within_s`` seconds.
    """
    begun = time.monotonic()
    while not (answer := question()):
        waited_s = time.monotonic() - begun
        if waited_s > within_s:
            raise NothingCame(f"nothing after {within_s:g} s: {answer!r}")
        time.sleep(every_s or min(max(SOON_S, waited_s / 10), RARELY_S))
    return answer
