"""Low-water marks: what was read is not read again, and what came late is found all the same."""

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from orders.lowwater import A_LAP, A_PAGE, NARROWEST, LowWater

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_whoever_begins_reads_everything_and_goes_on_with_an_overlap() -> None:
    """The first round reads from the beginning; the next one from where that ended, less the overlap."""
    mark = LowWater()
    assert mark.since is None

    mark.reached(NOON)

    assert mark.since == NOON - SECOND


def test_a_round_that_stopped_in_its_middle_is_read_again() -> None:
    """Only a whole round moves the mark."""
    mark = LowWater()
    mark.reached(NOON)

    assert mark.since == NOON - SECOND
    mark.start_over()
    assert mark.since is None


def test_a_page_of_a_backlog_goes_on_where_the_last_one_ended_and_what_lies_behind_waits() -> None:
    """Once the backlog is worked off, all that lies behind is read in one slice."""
    mark, reading = LowWater(), Reading()
    mark.passed(NOON)
    assert (mark.since, mark.behind(reading)) == (NOON - SECOND, [])

    mark.reached(NOON + SECOND)
    mark.behind(reading)

    assert reading.slices == [(None, NOON)]


class Reading:
    """Notes which slices were read, and finds nothing in them."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.slices: list[tuple[datetime | None, datetime]] = []
        self.takes_s = takes_s

    def __call__(self, after: datetime | None, up_to: datetime) -> list[str]:
        time.sleep(self.takes_s)
        self.slices.append((after, up_to))
        return []


@pytest.fixture
def mark() -> LowWater:
    """One that has begun at noon, and is a hundred seconds further."""
    mark = LowWater()
    mark.reached(NOON)
    mark.reached(NOON + 100 * SECOND)
    return mark


def test_what_lies_behind_is_read_slice_by_slice_without_a_gap_and_again_from_the_beginning(mark: LowWater) -> None:
    """The first slice is all from before we began, each other one begins where the last has ended, and the last one ends at the mark."""
    reading = Reading()

    while not reading.slices or reading.slices[-1][1] != mark.since:
        mark.behind(reading)
    lap = list(reading.slices)
    mark.behind(reading)

    assert lap[0] == (None, NOON - SECOND)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(lap))
    assert lap[-1][1] == NOON + 99 * SECOND
    assert reading.slices[-1] == lap[0]


def test_a_slice_that_takes_long_is_followed_by_a_narrower_one(mark: LowWater) -> None:
    """The time of a slice is bounded by its width, whatever stands in it."""
    reading = Reading(takes_s=0.003)

    for _ in range(4):
        mark.behind(reading)

    widths = [up_to - after for after, up_to in reading.slices if after]
    assert widths == [4 * NARROWEST, 2 * NARROWEST, NARROWEST]


def test_however_busy_the_machine_is_everything_behind_is_read_within_a_bound() -> None:
    """Every slice takes long, so each is to be narrower: whoever has committed late is found all the same, after an hour as after a minute."""
    mark = LowWater()
    mark.reached(NOON)
    rounds, reading = 0, Reading(takes_s=0.0015)

    while not reading.slices or reading.slices[-1][1] != mark.since:
        rounds += 1
        mark.reached(NOON + timedelta(hours=1) + rounds * SECOND)  # time goes on meanwhile
        mark.behind(reading)

    assert rounds <= 1.2 * A_LAP


def test_more_than_a_page_behind_the_mark_is_read_whole_in_the_next_round(mark: LowWater) -> None:
    """Twenty thousand that appear with an instant long ago are not met a hundred at a time."""
    found = mark.behind(lambda after, up_to: ["late"] * A_PAGE)

    assert len(found) == A_PAGE
    assert mark.since is None
