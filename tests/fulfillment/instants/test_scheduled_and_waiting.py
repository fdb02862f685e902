"""Promise: every instant that the engine writes when it schedules, starts and waits is the one that the rules name, read back from the rows after the transition."""

import random
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.errors import Busy, Rejected, StepError, Throttled
from orders import queue_probes
from orders.models import Order
from tests.fulfillment.driving import found, paid, record, refused, start
from tests.fulfillment.instants.conftest import (
    BACKOFF,
    BACKOFF_CAP,
    DOWN,
    LEASE,
    PATIENCE,
    PATIENCE_CAP,
    SAGA_DEADLINE,
    SILENCE,
    fail,
    inspected_when_due,
    out_of_stock,
)
from tests.shop_clock import ShopClock

# --- opened, scheduled, started --------------------------------------------------------------------------------------------


def test_an_open_saga_waits_one_patience_and_has_its_deadline(saga: int, clock: ShopClock) -> None:
    it, first, second = found(saga), record(saga), record(saga, "inventory")

    assert [clock.left(at) for at in (it.wake_at, it.launched_at, it.deadline_at, it.opened_at)] == [PATIENCE, 0, SAGA_DEADLINE, 0]
    assert (clock.left(first.scheduled_at), first.started_at, first.asked_until) == (0, None, None)
    assert (second.scheduled_at, it.closed_at) == (None, None)


def test_a_start_lasts_one_lease(saga: int, clock: ShopClock) -> None:
    """Whoever looks, asks or takes over reads the same end of it."""
    scheduled_at = record(saga).scheduled_at
    clock.passes(4)

    start(saga)

    it, step = found(saga), record(saga)
    assert [clock.left(at) for at in (it.wake_at, step.asked_until, step.started_at, step.first_started_at)] == [LEASE, LEASE, 0, 0]
    assert (step.scheduled_at, step.compensation_asked_until) == (scheduled_at, None)


def test_a_second_try_has_a_lease_of_its_own_and_the_deadline_of_the_first(saga: int, clock: ShopClock) -> None:
    fail(saga, SILENCE)
    first = record(saga)
    inspected_when_due(saga, clock)
    clock.passes(2)

    start(saga)

    step = record(saga)
    assert (step.scheduled_at, step.first_started_at) == (first.scheduled_at, first.first_started_at)
    assert (clock.left(step.asked_until), clock.left(step.started_at)) == (LEASE, 0)


def test_a_compensation_that_starts_has_its_own_lease_and_leaves_that_of_the_step(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    refused(saga)
    before = record(saga)
    clock.passes(50)

    start(saga, compensating=True)

    step = record(saga)
    assert [clock.left(at) for at in (found(saga).wake_at, step.compensation_asked_until, step.started_at)] == [LEASE, LEASE, 0]
    assert (step.asked_until, step.first_started_at, step.compensation_scheduled_at) == (
        before.asked_until, before.first_started_at, before.compensation_scheduled_at
    )  # fmt: skip


def test_what_is_scheduled_next_is_scheduled_now_and_waits_one_patience(saga: int, clock: ShopClock) -> None:
    claim = start(saga)
    clock.passes(7)

    engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})

    it, done, following = found(saga), record(saga), record(saga, "inventory")
    assert [clock.left(at) for at in (done.outcome_at, following.scheduled_at, it.launched_at, it.wake_at)] == [0, 0, 0, PATIENCE]
    assert clock.left(it.deadline_at) == SAGA_DEADLINE - 7, "progress moves no deadline"


def test_a_compensation_is_scheduled_when_the_saga_turns_back(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    paid(saga)
    with pytest.raises(Rejected):
        engine.run_local(saga, 1, "inventory", compensating=False)
    assert clock.left(found(saga).wake_at) == PATIENCE, "a rejection waits for its errback"
    clock.passes(PATIENCE)

    assert recovery.inspect_saga(saga) is not None

    it = found(saga)
    assert [clock.left(at) for at in (record(saga).compensation_scheduled_at, it.launched_at, it.wake_at)] == [0, 0, PATIENCE]


# --- what waits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edge", "times"), [(min, 0.8), (max, 1.2)], ids=["earliest", "latest"])
@pytest.mark.parametrize("error", [DOWN, SILENCE], ids=["unavailable", "in doubt"])
def test_a_try_that_failed_backs_off_doubling_capped_and_within_a_fifth(
    saga: int, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, error: StepError, edge: Any, times: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: edge(low, high))
    waits = []
    for _ in range(settings.STEP_TRIES - 1):
        fail(saga, error)
        waits.append(clock.left(found(saga).wake_at))
        inspected_when_due(saga, clock)

    assert waits == [pytest.approx(times * min(BACKOFF * 2**tries, BACKOFF_CAP)) for tries in range(settings.STEP_TRIES - 1)]
    assert waits[-1] == pytest.approx(times * BACKOFF_CAP), "the cap is reached before the tries are spent"


def test_a_compensation_backs_off_by_its_own_tries(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    refused(saga)
    waits = []
    for _ in range(4):
        fail(saga, DOWN, compensating=True)
        waits.append(clock.left(found(saga).wake_at))
        inspected_when_due(saga, clock)

    assert waits == [BACKOFF, 2 * BACKOFF, 4 * BACKOFF, 8 * BACKOFF]


def test_an_answer_that_spends_no_try_backs_off_all_the_same(saga: int, clock: ShopClock) -> None:
    waits = []
    for _ in range(8):
        fail(saga, Busy("working", code="in_progress"))
        waits.append(clock.left(found(saga).wake_at))
        inspected_when_due(saga, clock)

    assert waits == [min(BACKOFF * 2**times, BACKOFF_CAP) for times in range(8)]
    assert record(saga).tries == 0


@pytest.mark.parametrize(("asked_s", "waits_s"), [(0.1, BACKOFF), (40.0, 40.0), (99_999.0, PATIENCE_CAP)])
def test_a_provider_that_asks_for_patience_gets_what_it_asks_for_within_the_cap(
    saga: int, clock: ShopClock, asked_s: float, waits_s: float
) -> None:
    fail(saga, Throttled("slow down", code="throttled", retry_after_s=asked_s))

    assert clock.left(found(saga).wake_at) == waits_s


def test_what_is_spent_is_due_at_once(saga: int, clock: ShopClock) -> None:
    for _ in range(settings.STEP_TRIES - 1):
        fail(saga, DOWN)
        inspected_when_due(saga, clock)

    fail(saga, DOWN)

    assert clock.left(found(saga).wake_at) == 0


def test_a_cancel_makes_who_waits_due_and_whom_a_provider_serves_not(saga: int, order: Order, clock: ShopClock) -> None:
    claim = start(saga)
    clock.passes(3)
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    it = found(saga)
    assert (clock.left(it.wake_at), clock.left(it.cancel_requested_at)) == (LEASE - 3, 0)

    engine.record_failure(claim, SILENCE)

    assert clock.left(found(saga).wake_at) == 0


def test_a_message_that_is_lost_again_and_again_is_published_with_patience_doubling(saga: int, clock: ShopClock) -> None:
    waits = []
    for _ in range(7):
        clock.until(found(saga).wake_at, settings.TASK_HARD_LIMIT_S)
        assert recovery.inspect_saga(saga) is None, "nobody knows yet: it is asked"
        queue_probes.probe_came_out("saga", dict(recovery.probes.due())["saga"])
        assert inspected_when_due(saga, clock) is not None
        assert clock.left(found(saga).launched_at) == 0
        waits.append(clock.left(found(saga).wake_at))

    assert waits == [min(PATIENCE * 2**times, PATIENCE_CAP) for times in range(1, 8)]


def test_what_may_still_wait_in_its_queue_is_put_off_by_the_same_patience_or_half_of_its_wait(saga: int, clock: ShopClock) -> None:
    launched_at, waits = found(saga).launched_at, []

    for _ in range(5):
        assert inspected_when_due(saga, clock) is None
        waits.append(clock.left(found(saga).wake_at))
    assert waits == [PATIENCE, PATIENCE, 1.5 * PATIENCE, 2.25 * PATIENCE, 3.375 * PATIENCE]
    assert (found(saga).launched_at, found(saga).relaunches) == (launched_at, 0)


def test_what_the_broker_did_not_take_waits_one_patience_and_counts_for_nothing(saga: int, clock: ShopClock) -> None:
    fail(saga, DOWN)
    launch = inspected_when_due(saga, clock)
    assert launch is not None

    recovery.not_published(launch)

    it = found(saga)
    assert (clock.left(it.wake_at), it.launched_at, it.relaunches) == (PATIENCE, None, 0)
