"""The watch on the database's clock: a jump is distinguished from a slow answer and from a pause."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orders.clock_watch import ClockWatch

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Clock:
    """A database's clock that goes as the machine's does, unless it is set; it may be slow to answer."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.answers_after_s = 0.0
        self._begun = time.monotonic()

    def __call__(self) -> datetime:
        instant = NOON + timedelta(seconds=time.monotonic() - self._begun + self.ahead_s)
        time.sleep(self.answers_after_s)
        return instant


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> ClockWatch:
    watch = ClockWatch(tolerance_s=0.1)
    assert watch.jumped_s(clock) == 0.0
    return watch


@pytest.mark.parametrize("set_by_s", [3600.0, -3600.0, 0.5, -0.5])
def test_a_clock_that_was_set_is_noticed_once(watch: ClockWatch, clock: Clock, set_by_s: float) -> None:
    clock.ahead_s = set_by_s

    assert watch.jumped_s(clock) == pytest.approx(set_by_s, abs=0.1)
    assert watch.calm_s < 0.1
    assert watch.jumped_s(clock) == 0.0


@pytest.mark.parametrize("slow", [lambda clock: setattr(clock, "answers_after_s", 0.4), lambda clock: time.sleep(0.4)])
def test_a_slow_answer_and_a_pause_are_no_jumps(watch: ClockWatch, clock: Clock, slow: Callable[[Clock], None]) -> None:
    """Only what no moment between question and answer explains is one."""
    slow(clock)

    assert watch.jumped_s(clock) == 0.0
    clock.answers_after_s = 0.0
    assert watch.jumped_s(clock) == 0.0
    assert watch.calm_s >= 0.4


def test_what_was_written_since_the_last_sight_of_the_clock_may_bear_either(watch: ClockWatch, clock: Clock) -> None:
    time.sleep(0.2)
    clock.ahead_s = 60.0

    watch.jumped_s(clock)

    assert 0.2 <= watch.unsure_s < 0.4
