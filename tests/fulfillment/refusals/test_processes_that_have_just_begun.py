"""Promise: an order does not wait once more for each process that has just begun. What the sweep has seen pass counts for all of them."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings

from fulfillment import recovery
from fulfillment.engine import tries
from fulfillment.models import SagaState, SweepHeartbeat
from orders import clock_watch
from orders.clock_watch import ClockWatch
from tests.fulfillment.driving import found, record, work
from tests.fulfillment.refusals.conftest import EDGE, LAG, LEASE, Refusing, retried, sweep_when_due
from tests.shop_clock import ShopClock

BEAT = recovery.HEARTBEAT_EVERY.total_seconds()
ANOTHER_PROCESSES_LAPS = 5


class Machine:
    """Its monotonic clock goes as the database's does, unless somebody sets the database's. The sweep runs on it, and writes its heartbeat when it is told to."""

    def __init__(self, clock: ShopClock) -> None:
        self.clock, self.ahead_s = clock, 0.0

    @property
    def monotonic_s(self) -> float:
        return self.clock.now.timestamp() - self.ahead_s

    def begin_a_sweep(self) -> None:
        self.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        recovery.record_heartbeat(self.watch)

    def set_the_clock(self, by_s: float) -> None:
        self.ahead_s += by_s
        self.clock.passes(by_s)

    def beats(self) -> None:
        recovery.record_heartbeat(self.watch)


@pytest.fixture
def machine(clock: ShopClock, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Its monotonic clock is what all watches of this test read."""
    found: list[Machine] = []
    time = SimpleNamespace(monotonic=lambda: found[0].monotonic_s)
    for module in (clock_watch, tries):
        monkeypatch.setitem(vars(module), "time", time)
    monkeypatch.setattr(tries, "watch", tries.watch)
    found.append(Machine(clock))
    found[0].begin_a_sweep()
    return found[0]


def try_in_a_new_process(saga: int) -> str:
    """The code of what has become of it; empty: it was given back."""
    tries.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
    return str(getattr(work(saga, compensating=True), "code", ""))


@pytest.fixture
def saga(refusing: Refusing) -> int:
    """A person has let a refused refund be tried again."""
    saga = refusing("sandbox_watch")
    retried(saga)
    return saga


def test_it_waits_once_and_not_once_for_each_process(saga: int, clock: ShopClock, machine: Machine) -> None:
    """My money comes back after the longest time for which the first try may be on its way, whichever process is asked then."""
    begun, answers = clock.now, []
    for _ in range(ANOTHER_PROCESSES_LAPS):
        sweep_when_due(saga, clock)
        clock.passes(EDGE)
        machine.beats()
        answers.append(try_in_a_new_process(saga))
        if found(saga).state == SagaState.COMPENSATED:
            break

    assert answers == ["lag", ""]
    assert (clock.now - begun).total_seconds() == pytest.approx(LEASE + LAG, abs=1)


@pytest.mark.parametrize(("after_s", "is_over"), [(0, False), (EDGE, True)], ids=["within the lag", "past it"])
def test_the_sweep_counts_only_what_it_has_itself_seen(
    saga: int, clock: ShopClock, machine: Machine, after_s: float, is_over: bool
) -> None:
    """It began when the first try was long over. It cannot know: the clock may have been set before it began."""
    clock.passes(3600)
    machine.begin_a_sweep()
    clock.passes(LEASE + LAG + after_s)
    machine.beats()
    recovery.inspect_saga(saga)

    assert (try_in_a_new_process(saga) == "") is is_over


@pytest.mark.parametrize(("before_s", "is_over"), [(BEAT, False), (0, True)], ids=["before the lag was over", "after it"])
def test_what_came_after_its_heartbeat_is_not_counted(
    saga: int, clock: ShopClock, machine: Machine, before_s: float, is_over: bool
) -> None:
    """Nobody has seen it: the clock may have been set just now."""
    clock.passes(LEASE + LAG + EDGE - before_s)
    machine.beats()
    machine.set_the_clock(3600)
    recovery.inspect_saga(saga)

    assert (try_in_a_new_process(saga) == "") is is_over


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_a_heartbeat_that_meets_a_jump_says_nothing_and_the_next_one_begins_anew(clock: ShopClock, machine: Machine, by_s: float) -> None:
    clock.passes(1000)
    machine.beats()
    before = SweepHeartbeat.objects.get()
    machine.set_the_clock(by_s)

    with pytest.raises(recovery.ClockHasJumped):
        machine.beats()
    assert SweepHeartbeat.objects.values().get() == {name: getattr(before, name) for name in SweepHeartbeat.objects.values().get()}
    clock.passes(7)
    machine.beats()

    after = SweepHeartbeat.objects.get()
    assert after.watched_from is not None and after.watched_until is not None
    assert after.watched_until - after.watched_from == timedelta(seconds=7)


def test_a_heartbeat_of_the_future_proves_nothing(saga: int, clock: ShopClock, machine: Machine) -> None:
    """It was written before the clock was set back, and what was asked since has the new clock."""
    clock.passes(LEASE + LAG + EDGE)
    machine.beats()
    machine.set_the_clock(-1)
    recovery.inspect_saga(saga)

    assert record(saga).state == "compensation_scheduled"
    assert try_in_a_new_process(saga) == "lag"


def test_code_from_before_leaves_what_newer_code_has_seen(clock: ShopClock, machine: Machine) -> None:
    """In a rolling deploy the sweep of old code notes only that it is at work."""
    clock.passes(100)
    machine.beats()
    clock.passes(100)

    recovery.record_heartbeat()

    heartbeat = SweepHeartbeat.objects.get()
    assert heartbeat.watched_until is not None
    assert heartbeat.at - heartbeat.watched_until == timedelta(seconds=100)
