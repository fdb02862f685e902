"""What is believed of the clock."""

import contextlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

from fulfillment import engine
from fulfillment.engine import budget
from fulfillment.recovery import clock_jumps
from orders.clock_watch import ClockWatch
from tests.proofs.simulation.mutations.replacement import edited, replacing


@contextmanager
def jumps_not_noticed() -> Iterator[None]:
    """The database's clock is believed, whatever it says."""
    saw, calm_s = ClockWatch.saw, vars(ClockWatch)["calm_s"]
    setattr(ClockWatch, "saw", lambda watch, asked, now: 0.0)  # noqa: B010
    setattr(ClockWatch, "calm_s", math.inf)  # noqa: B010
    try:
        yield
    finally:
        setattr(ClockWatch, "saw", saw)  # noqa: B010
        setattr(ClockWatch, "calm_s", calm_s)  # noqa: B010


def deadlines_not_moved() -> contextlib.AbstractContextManager[None]:
    """A jump is noticed, and what is open is due; nothing else of it is moved."""
    due = f"UPDATE fulfillment_saga SET {clock_jumps._due_as_ever('wake_at')} WHERE id = ANY(%(sagas)s)"
    return replacing(clock_jumps, SAGAS=due, RECORDS="SELECT 1", PAST_ATTEMPTS="SELECT 1")


def lost_time_counts() -> contextlib.AbstractContextManager[None]:
    """Time in which nobody looked, or that a jump unseen by any sweep made of nothing, is the provider's."""
    return replacing(budget, _give_back_since=lambda saga, since: None)


def takes_over_by_the_clock() -> contextlib.AbstractContextManager[None]:
    """A lease is over when the database's clock says so."""
    inspect_saga = engine.inspect_saga
    return replacing(engine, inspect_saga=lambda saga, poison_after, calm_s: inspect_saga(saga, poison_after, None))


@contextmanager
def look_up_by_the_clock() -> Iterator[None]:
    """That nothing is found counts once the lag is over by the database's clock."""
    was = vars(engine.Claim)["seen_to_pass"]
    setattr(engine.Claim, "seen_to_pass", lambda claim, quiet_s: quiet_s)  # noqa: B010
    try:
        yield
    finally:
        setattr(engine.Claim, "seen_to_pass", was)  # noqa: B010


def swept_until_now() -> contextlib.AbstractContextManager[None]:
    """What the sweep has said of the clock counts as seen until now, and not until it said so."""
    return edited("start", "extract(epoch FROM shop_now() - sweep.watched_until)::float", "0::float")
